//! Workloads of messages from RabbitMQ to services, through connectors.
//!
//! Queue: every message that was confirmed is handled at least once, and acknowledged only
//! after that. Mutex: channels that the lease alone fences, one whose service looks at
//! epochs and one whose doesn't, and one that the broker fences; no call of an older epoch
//! begins once one of a newer has. Streams: as the queue, from a stream, which says by itself
//! nothing of what was handled. Tries: as the queue, and what has failed goes on to be tried
//! where it was.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_testkit::error_chain::chain;
use rand::seq::IndexedRandom;
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    amqp::{self, PublishedMessages},
    contract::Workload,
    error::WorkloadError,
    http::put,
    service_sink::ServiceSink,
};
use crate::{
    cancel::CancelToken,
    cluster::{api, error::ClusterError},
    run_context::RunContext,
};

const KIND: &str = "amqp_channel";
const STREAM: &str = "stream";
/// Pause in ms before a message of the tries is tried again. Between two tries there is time to
/// write down the first of them, which is done once a second.
pub const TRY_AGAIN_MS: u64 = 2_500;
/// Time limit for everything that is left to be handled, once all is healed.
const DRAINED_WITHIN: Duration = Duration::from_secs(40);
/// Time after which a stream that has handed out its last message hands out none of those before it
/// any more, but for what is in flight.
const STREAM_DRAINED_WITHIN: Duration = Duration::from_secs(8);
/// Time limit for a message in flight in the end to be handled or to come back.
const COMES_BACK_WITHIN: Duration = Duration::from_secs(3);

/// Workload of messages that connectors hand to services.
pub struct MessagesWorkload {
    channels: &'static [&'static str],
    /// The fence of each channel; the rng decides where nothing stands.
    fences: &'static [&'static str],
    /// The ms that a service takes, at least and at most.
    work_ms: [u64; 2],
    /// The channels whose service looks at epochs.
    checked: &'static [&'static str],
    /// The channels whose processes stand by warm, whatever the rng says.
    warm: &'static [&'static str],
    /// The number of publishers for each queue, each at the run's rate.
    publishers: u64,
    /// The type of the queues.
    kind: &'static str,
    /// The number of times that every tenth message fails before it is taken.
    failing: u64,
    published: Arc<PublishedMessages>,
    sink: Mutex<Option<ServiceSink>>,
}

impl MessagesWorkload {
    /// Makes the workload in which nothing is lost.
    pub fn queue() -> MessagesWorkload {
        MessagesWorkload {
            channels: &["orders"],
            fences: &[],
            // Long enough that something is in flight whenever something dies.
            work_ms: [20, 60],
            checked: &[],
            warm: &[],
            publishers: 1,
            kind: "classic",
            failing: 0,
            published: Arc::default(),
            sink: Mutex::default(),
        }
    }

    /// Nothing is lost of a stream.
    pub fn streams() -> MessagesWorkload {
        MessagesWorkload {
            channels: &["events"],
            fences: &["lease"],
            kind: STREAM,
            ..MessagesWorkload::queue()
        }
    }

    /// Tries are not forgotten.
    pub fn tries() -> MessagesWorkload {
        MessagesWorkload {
            channels: &["stubborn"],
            failing: 4,
            ..MessagesWorkload::queue()
        }
    }

    /// One connector at a time handles messages.
    pub fn mutex() -> MessagesWorkload {
        MessagesWorkload {
            channels: &["checked", "naive", "naive-exclusive"],
            fences: &["lease", "lease", "exclusive"],
            work_ms: [3, 3],
            checked: &["checked"],
            warm: &["naive"],
            // An overlap is seen only if there are calls in it.
            publishers: 3,
            kind: "classic",
            failing: 0,
            published: Arc::default(),
            sink: Mutex::default(),
        }
    }

    async fn declare(&self, context: &RunContext, sink: &ServiceSink) -> Result<(), WorkloadError> {
        let broker = context.broker.as_ref().ok_or(WorkloadError::NoBroker)?;
        let mut rng = context.plan.rng(1_000);
        let drawn = *["exclusive", "lease"].choose(&mut rng).unwrap_or(&"lease");
        let standby = *["warm", "cold"].choose(&mut rng).unwrap_or(&"warm");
        // Never so few that more is published than can be handled.
        let drawn_prefetch = *[4, 10, 50].choose(&mut rng).unwrap_or(&10);
        // What waits for another try holds up nothing.
        let (prefetch, backoff_ms, backoff_max_ms) = match self.failing {
            0 => (drawn_prefetch, 50, 200),
            _ => (1000, TRY_AGAIN_MS, TRY_AGAIN_MS),
        };
        amqp::declare(&broker.uri, self.channels, self.kind).await?;
        let (host, port) = broker.address;
        for fence in ["exclusive", "lease"] {
            let connection = json!({
                "host": host.to_string(), "port": port, "username": "guest",
                "password": "guest", "fence": fence,
            });
            put(context, "amqp_connection", fence, &connection).await?;
        }
        let service = json!({"upstream": sink.url(KIND), "timeout_ms": 2000});
        put(context, "service", "sink", &service).await?;
        for (n, name) in self.channels.iter().enumerate() {
            let fence = self.fences.get(n).copied().unwrap_or(drawn);
            let standby = if self.warm.contains(name) {
                "warm"
            } else {
                standby
            };
            let channel = json!({
                "connection": fence, "queue": name, "service": "sink",
                "prefetch": prefetch, "standby": standby,
                "on_failure": {
                    "retries": 100, "backoff_ms": backoff_ms, "backoff_max_ms": backoff_max_ms,
                },
            });
            put(context, KIND, name, &channel).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Workload for MessagesWorkload {
    async fn prepare(&self, context: &Arc<RunContext>) -> Result<(), WorkloadError> {
        let sink = ServiceSink::start(context, self.checked, self.work_ms, self.failing).await?;
        self.declare(context, &sink).await?;
        *self.sink.lock() = Some(sink);
        let url = context.cluster.members[0].admin("/v1/connectors");
        let active = api::until("active connectors", Duration::from_secs(30), || async {
            let told = api::get(&url).await?;
            let list = told["connectors"].as_array().cloned().unwrap_or_default();
            let active = list.iter().filter(|it| it["state"] == "active").count();
            (active >= self.channels.len())
                .then_some(())
                .ok_or_else(|| ClusterError::NotYet(told.to_string()))
        });
        Ok(active.await?)
    }

    async fn work(&self, context: &Arc<RunContext>, cancel: &CancelToken) {
        let each = self.channels.len() as f64 / (context.plan.rate as f64 / 2.0).max(1.0);
        let mut tasks = JoinSet::new();
        let queues = self.channels.iter().cycle();
        let count = self.publishers * self.channels.len() as u64;
        for (number, name) in (0..count).zip(queues) {
            tasks.spawn(amqp::publish(
                context.clone(),
                self.published.clone(),
                (*name).to_owned(),
                number,
                Duration::from_secs_f64(each),
                cancel.clone(),
            ));
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                context.note_trouble(format!("a publisher died: {error}"));
            }
        }
    }

    async fn finish(&self, _: &Arc<RunContext>) -> Result<(), WorkloadError> {
        let sink = self.sink.lock().clone().ok_or(WorkloadError::NoSink)?;
        let confirmed = self.published.confirmed();
        let deadline = Instant::now() + DRAINED_WITHIN;
        let mut through: Option<Instant> = None;
        while sink.waits_for(&confirmed) > 0 && Instant::now() < deadline {
            if self.kind == STREAM && sink.after_the_last(&confirmed).is_empty() {
                let since = *through.get_or_insert_with(Instant::now);
                if since.elapsed() > STREAM_DRAINED_WITHIN {
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn connectors(&self) -> usize {
        self.channels.len()
    }

    async fn left(&self, context: &Arc<RunContext>) -> Option<Vec<String>> {
        let broker = context.broker.as_ref()?;
        let sink = self.sink.lock().clone()?;
        let confirmed = self.published.confirmed();
        if self.kind == STREAM {
            // It keeps everything, and hands it out in order: what comes after all that was
            // handled is still to come, and nothing else is.
            return Some(sink.after_the_last(&confirmed));
        }
        let deadline = Instant::now() + COMES_BACK_WITHIN;
        let mut left = Vec::new();
        loop {
            match amqp::take_all(&broker.uri, self.channels).await {
                Ok(taken) => left.extend(taken),
                Err(error) => {
                    context
                        .note_trouble(format!("the queues can't be looked at: {}", chain(&error)));
                    return None;
                }
            }
            // What is in flight now is in no queue: it is handled yet, or comes back.
            let taken: BTreeSet<String> = left.iter().cloned().collect();
            let gone = confirmed.difference(&taken).cloned().collect();
            if sink.waits_for(&gone) == 0 || Instant::now() > deadline {
                return Some(left);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
