//! One message through each connector.

use std::{collections::BTreeMap, time::Duration};

use futures_util::StreamExt;
use quorate_clock::{Instant, rng};
use quorate_testkit::{cluster::TestCluster, http};
use rand::Rng;
use reqwest::Method;

use super::{mix::Connector, peers::Peers};

/// Between two looks at what has come.
const LOOK: Duration = Duration::from_millis(5);
/// A message to a ZeroMQ channel that nobody reads yet is sent again after this time.
const AGAIN: Duration = Duration::from_millis(250);
/// Sends at a time.
const SENDS: usize = 32;
/// How long one send may take.
const WITHIN_MS: &str = "8000";

/// When one message had gone through each connector.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// After the beginning, by connector.
    pub came: BTreeMap<Connector, Duration>,
    /// Those of which none came.
    pub missing: Vec<Connector>,
}

impl Round {
    pub fn first(&self) -> Duration {
        self.came.values().min().copied().unwrap_or_default()
    }

    pub fn last(&self) -> Duration {
        self.came.values().max().copied().unwrap_or_default()
    }

    /// The last of each kind.
    pub fn last_by_kind(&self) -> BTreeMap<&'static str, Duration> {
        let mut last = BTreeMap::<_, Duration>::new();
        for (connector, time) in &self.came {
            let of_kind = last.entry(connector.kind).or_default();
            *of_kind = (*time).max(*of_kind);
        }
        last
    }
}

/// Sends one through each and waits until all have come; times count from `begun`.
/// `members` are asked to send by the outgoings, in turn.
pub async fn round(
    peers: &Peers,
    cluster: &TestCluster,
    members: &[usize],
    connectors: &[Connector],
    begun: Instant,
    limit: Duration,
) -> Round {
    let from = peers.sink.calls_len();
    let mark = format!("{:08x}", rng().random::<u32>());
    let body = |connector: &Connector| format!("{} {mark}", connector.name);
    let of_kind = |kind: &'static str| connectors.iter().filter(move |it| it.kind == kind);
    let queues: Vec<_> = of_kind("amqp_channel")
        .map(|it| (it.name.clone(), body(it)))
        .collect();
    let puts: Vec<_> = of_kind("ibm_mq_channel").collect();
    let outgoings = connectors.iter().filter(|it| it.is_outgoing());
    let sends = outgoings.enumerate().map(|(n, it)| {
        let member = &cluster.members[members[n % members.len()]];
        let path = format!("/v1/outgoing/{}/{}/send", it.kind, it.name);
        send(member.admin_url(&path), body(it), begun + limit)
    });
    let sends: Vec<_> = sends.collect();
    let mut sending = futures_util::stream::iter(sends).buffer_unordered(SENDS);
    let noting = async {
        let mut round = Round::default();
        let mut waiting: Vec<_> = connectors.iter().collect();
        let mut looked = from;
        let mut pushed: Option<Instant> = None;
        while !waiting.is_empty() && begun.elapsed() < limit {
            if pushed.is_none_or(|at| at.elapsed() >= AGAIN) {
                pushed = Some(Instant::now());
                for it in waiting.iter().filter(|it| it.kind == "zmq_channel") {
                    peers.push(&it.name, &body(it));
                }
            }
            let calls = peers.sink.calls_from(looked);
            looked += calls.len();
            let mut called = BTreeMap::<&str, Instant>::new();
            for call in &calls {
                called.entry(&call.id).or_insert(call.begun);
            }
            waiting.retain(|it| {
                let came = match it.is_outgoing() {
                    true => peers.came(&body(it)),
                    false => called.get(body(it).as_str()).copied(),
                };
                if let Some(at) = came {
                    let time = at.saturating_duration_since(begun);
                    round.came.insert((*it).clone(), time);
                }
                came.is_none()
            });
            tokio::time::sleep(LOOK).await;
        }
        round.missing = waiting.into_iter().cloned().collect();
        round
    };
    let sending = async { while sending.next().await.is_some() {} };
    for it in puts {
        peers.queue_manager.put(&it.queue(), &body(it));
    }
    let (round, (), ()) = tokio::join!(noting, sending, peers.publish(&queues));
    round
}

/// Has a message sent; tries again what was refused, as a caller would.
async fn send(url: String, body: String, until: Instant) {
    while Instant::now() < until {
        let headers = [("quorate-within-ms", WITHIN_MS)];
        let sent = tokio::time::timeout_at(
            until,
            http::call(Method::POST, &url, &headers, body.clone()),
        );
        match sent.await {
            Ok(Ok(answer)) if answer.status().is_success() => return,
            _ => tokio::time::sleep(AGAIN).await,
        }
    }
}
