//! Bed of takeovers: three members, a broker, a service, a channel behind each fence, and messages.

use std::{net::Ipv4Addr, time::Duration};

use quorate_clock::Instant;
use serde_json::{Value, json};

use super::fenced::Fenced;
use crate::{
    cluster::{SOON, TestCluster},
    eventually::{NotYet, eventually},
    http,
    rabbitmq::{BrokerClient, RabbitBroker},
    traffic::{consumers::ConsumerMonitor, sink::MessageSink, source::MessageSource},
};

/// The fences; each names a channel and its queue.
pub const FENCES: [&str; 2] = ["exclusive", "lease"];
/// Of each channel.
pub const PREFETCH: usize = 10;

/// How long a call of the service takes.
const WORK: Duration = Duration::from_millis(3);
/// Between two messages to a queue.
const PAUSE: Duration = Duration::from_millis(10);

/// Who reigns, and by which processes.
#[derive(Clone, Debug)]
pub struct ObservedReign {
    /// The member's index.
    pub server: usize,
    /// The epoch.
    pub epoch: u64,
    /// Of the channels, in the order of [`FENCES`].
    pub processes: Vec<u32>,
}

/// Everything that a run of takeovers needs. Ends in the order written here.
pub struct TakeoverBed {
    /// The members.
    pub cluster: TestCluster,
    /// The service.
    pub sink: MessageSink,
    /// The source of messages.
    pub source: MessageSource,
    /// The watches of the queues' consumers, by fence.
    pub consumers: Vec<ConsumerMonitor>,
    /// A connection to the broker.
    pub broker: BrokerClient,
    /// The messages that were refused.
    pub fenced: Fenced,
    _rabbit: RabbitBroker,
}

impl TakeoverBed {
    /// A cluster with this promise, busy.
    pub async fn start(failover_ms: u64) -> TakeoverBed {
        let rabbit = RabbitBroker::start().await;
        let broker = rabbit.client().await;
        let sink = MessageSink::start_at(Ipv4Addr::LOCALHOST, WORK).await;
        let cluster = TestCluster::start(3, failover_ms, "").await;
        let service = json!({"name": "sink", "upstream": sink.url(), "timeout_ms": 5000});
        cluster.put(0, "service", service).await;
        let mut consumers = Vec::new();
        for fence in FENCES {
            broker.declare(fence).await;
            let connection = json!({
                "name": fence, "host": "127.0.0.1", "port": rabbit.port(),
                "username": "guest", "password": "guest", "fence": fence,
            });
            cluster.put(0, "amqp_connection", connection).await;
            cluster.put(0, "amqp_channel", channel(fence, true)).await;
            consumers.push(ConsumerMonitor::watch(&rabbit, fence).await);
        }
        let source = MessageSource::start(&rabbit, &FENCES, PAUSE).await;
        let bed = TakeoverBed {
            cluster,
            sink,
            source,
            consumers,
            broker,
            fenced: Fenced::default(),
            _rabbit: rabbit,
        };
        bed.settled().await;
        bed
    }

    /// Waits until every member is a voter that has caught up, one of them reigns, and
    /// both its channels consume under its epoch.
    pub async fn settled(&self) -> ObservedReign {
        self.cluster.voters(3).await;
        eventually("both channels active under one reign", SOON, || async {
            let leader = self.cluster.leader().await;
            let (server, epoch) = self.cluster.connector_server(leader).await?;
            let mut processes = Vec::new();
            for fence in FENCES {
                let status = self.active(server, fence).await?;
                let pid = status["pid"].as_u64().filter(|_| status["epoch"] == epoch);
                let pid = pid.ok_or_else(|| format!("not under epoch {epoch}: {status}"))?;
                processes.push(pid as u32);
            }
            Ok::<_, NotYet>(ObservedReign {
                server,
                epoch,
                processes,
            })
        })
        .await
    }

    /// The status of a channel that is active on member `server`.
    async fn active(&self, server: usize, fence: &str) -> Result<Value, NotYet> {
        let member = &self.cluster.members[server];
        let answer = http::get_json(&member.admin_url("/v1/connectors")).await?;
        let list = answer["connectors"].as_array().into_iter().flatten();
        let mut active = list.filter(|status| {
            status["name"] == fence
                && status["state"] == "active"
                && status["member"] == member.name.as_str()
        });
        let found = active.next().cloned();
        let missing = || format!("{fence} is not active on {}: {answer}", member.name);
        Ok(found.ok_or_else(missing)?)
    }

    /// How the reign of `epoch` explains its beginning, if it does within a moment.
    pub async fn story(&self, epoch: u64) -> Option<Value> {
        let deadline = Instant::now() + Duration::from_secs(2);
        let url = self.cluster.members[0].admin_url("/v1/cluster/takeovers");
        loop {
            if let Ok(answer) = http::get_json(&url).await {
                let mut told = answer["takeovers"].as_array().into_iter().flatten();
                if let Some(story) = told.find(|story| story["epoch"] == epoch) {
                    return Some(story.clone());
                }
            }
            if Instant::now() > deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until each queue has one consumer again.
    pub async fn one_consumer_each(&self) {
        for (fence, consumers) in FENCES.iter().zip(&self.consumers) {
            eventually(&format!("one consumer of {fence}"), SOON, || async {
                match consumers.now() {
                    1 => Ok(()),
                    other => Err(format!("{other}")),
                }
            })
            .await;
        }
    }

    /// For how long since `from` each queue had more than one consumer.
    pub fn overlaps_since(&self, from: Instant) -> Vec<Duration> {
        let overlaps = self.consumers.iter().map(|c| c.overlap_since(from));
        overlaps.collect()
    }

    /// Takes both channels out of use and waits until the queues are left by everybody and
    /// hold nothing, so that no message hangs unacked. Gives what is left of that.
    pub async fn rest(&self) -> Option<String> {
        for fence in FENCES {
            let put = self.cluster.put(0, "amqp_channel", channel(fence, false));
            put.await;
        }
        let deadline = Instant::now() + SOON;
        for fence in FENCES {
            loop {
                let left = self.broker.count(fence).await;
                if left == (0, 0) {
                    break;
                }
                if Instant::now() > deadline {
                    let (messages, consumers) = left;
                    return Some(format!(
                        "{fence}: {messages} messages and {consumers} consumers are left"
                    ));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        None
    }
}

fn channel(fence: &str, active: bool) -> Value {
    json!({
        "name": fence, "connection": fence, "queue": fence, "service": "sink",
        "prefetch": PREFETCH, "active": active,
        "on_failure": {"retries": 100, "backoff_ms": 50, "backoff_max_ms": 200},
    })
}
