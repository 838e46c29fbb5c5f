//! One trial of Quorate: from a fault of the connector server to the first message that a
//! service handled through the next one, and to the first write that it acknowledged.

mod broker;
mod publisher;
mod service;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use quorate_clock::wall_time;
use quorate_testkit::{cluster::TestCluster, eventually::within, http};
use reqwest::{Client, Method};
use serde_json::{Value, json};

pub use broker::Broker;
use publisher::Publisher;
use service::Service;

use crate::{
    fault::Fault,
    hosts::{Hosts, SIZE},
    processors::Processors,
    trial::{Measured, any_moment, ms},
    writes::{Door, Writer, Writes},
};

/// The longest that a takeover may take.
const LIMIT: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_secs(30);
/// By then the broker has written to its log what it has done: it gathers lines for 2 s.
const WRITTEN: Duration = Duration::from_secs(3);
/// Messages that a channel may hold unacked: the default.
const PREFETCH: u64 = 10;

/// How a connection is fenced.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, clap::ValueEnum)]
pub enum Fence {
    /// By the broker's exclusive consumer.
    Exclusive,
    /// By the lease.
    Lease,
    /// By the exclusive consumer, and the old connection is closed over `management_url`.
    Management,
}

impl Fence {
    /// As the tables show it.
    pub fn name(self) -> &'static str {
        match self {
            Fence::Exclusive => "exclusive",
            Fence::Lease => "lease",
            Fence::Management => "exclusive + management_url",
        }
    }
}

/// A cluster with as many channels for each fence; those of one fence are active.
pub struct Quorate {
    hosts: Hosts,
    broker: Arc<Broker>,
    service: Service,
    cluster: TestCluster,
    client: Client,
    channels: BTreeMap<Fence, Vec<String>>,
    active: Option<Fence>,
}

impl Quorate {
    /// Starts a cluster and configures it. Refused settings are an error that says so.
    pub async fn boot(
        hosts: &Hosts,
        broker: &Arc<Broker>,
        failover_ms: u64,
        channels: usize,
        fences: &[Fence],
    ) -> Result<Quorate, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let cluster_name = format!("c{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let cluster = match hosts.net() {
            Some(net) => TestCluster::start_in(net, failover_ms, "").await,
            None => TestCluster::start(SIZE, failover_ms, "").await,
        };
        let service = Service::start(hosts.outside()).await;
        let name = |fence: Fence, n| format!("{cluster_name}-{fence:?}-{n}").to_lowercase();
        let channels = fences
            .iter()
            .map(|fence| (*fence, (0..channels).map(|n| name(*fence, n)).collect()));
        let mut quorate = Quorate {
            hosts: hosts.clone(),
            broker: broker.clone(),
            service,
            cluster,
            client: Client::builder().build().map_err(|e| e.to_string())?,
            channels: channels.collect(),
            active: None,
        };
        quorate.configure().await?;
        Ok(quorate)
    }

    async fn configure(&mut self) -> Result<(), String> {
        let alone = self.channels.len() == 1;
        let upstream = json!({"name": "sink", "upstream": self.service.url(), "timeout_ms": 2000});
        self.put("service", upstream).await?;
        for (fence, channels) in &self.channels {
            self.put("amqp_connection", self.connection(*fence)).await?;
            for channel in channels {
                self.broker.client.declare(channel).await;
                self.put("amqp_channel", self.channel(*fence, channel, alone))
                    .await?;
            }
        }
        if alone {
            self.active = self.channels.keys().next().copied();
        }
        Ok(())
    }

    fn connection(&self, fence: Fence) -> Value {
        let rabbit = &self.broker.rabbit;
        let mut connection = json!({
            "name": format!("{fence:?}").to_lowercase(),
            "host": rabbit.address().to_string(), "port": rabbit.port(),
            "username": "guest", "password": "guest", "fence": "exclusive",
        });
        match fence {
            Fence::Exclusive => {}
            Fence::Lease => connection["fence"] = "lease".into(),
            Fence::Management => {
                let url = rabbit.management_url().expect("it has a management face");
                connection["management_url"] = url.into();
            }
        }
        connection
    }

    fn channel(&self, fence: Fence, name: &str, active: bool) -> Value {
        json!({
            "name": name, "connection": format!("{fence:?}").to_lowercase(), "queue": name,
            "service": "sink", "prefetch": PREFETCH, "active": active,
            "on_failure": {"retries": 100, "backoff_ms": 50, "backoff_max_ms": 200},
        })
    }

    async fn put(&self, kind: &str, resource: Value) -> Result<u64, String> {
        let name = resource["name"].as_str().unwrap_or_default();
        let url = self.cluster.members[0].admin_url(&format!("/v1/config/{kind}/{name}"));
        Ok(http::put(&url, resource.to_string()).await?)
    }

    /// Has the channels of this fence, and no others, consume and stand by.
    async fn activate(&mut self, fence: Fence) -> Result<(), String> {
        let before = self.active.replace(fence);
        if before == Some(fence) {
            return Ok(());
        }
        for (other, active) in [(before, false), (Some(fence), true)] {
            let Some(other) = other else { continue };
            for name in &self.channels[&other] {
                self.put("amqp_channel", self.channel(other, name, active))
                    .await?;
            }
        }
        Ok(())
    }

    /// Waits until the cluster is whole and the active channels consume at the leader and
    /// stand by elsewhere; gives the leader and its epoch.
    async fn whole(&self, fence: Fence, names: &[String]) -> Result<(usize, u64), String> {
        self.cluster.voters(SIZE).await;
        let (leader, epoch) = self.cluster.serving(0).await;
        let url = self.cluster.members[leader].admin_url("/v1/connectors");
        within("active connectors with standbys", SOON, || async {
            let told = http::get_json(&url).await?;
            let list = told["connectors"].as_array().cloned().unwrap_or_default();
            let there = |name: &&String| {
                list.iter()
                    .any(|row| row["name"] == **name && stands(row, epoch))
            };
            match names.iter().find(|name| !there(name)) {
                None => Ok(()),
                Some(missing) => Err(format!("{missing} doesn't stand in {told}")),
            }
        })
        .await?;
        if fence == Fence::Management {
            for name in names {
                let pid = self.cluster.connector(leader, name).await?["pid"].as_u64();
                let pid = pid.ok_or("an active connector without a process")?;
                let known = || self.broker.knows(name, pid);
                within("a connection that can be closed", SOON, known).await?;
            }
        }
        Ok((leader, epoch))
    }

    /// One trial.
    pub async fn trial(&mut self, fence: Fence, fault: Fault) -> Result<Measured, String> {
        // The member that was struck last may be the one that is asked.
        self.cluster.voters(SIZE).await;
        self.activate(fence).await?;
        let names = self.channels[&fence].clone();
        let (leader, epoch) = self.whole(fence, &names).await?;
        self.service.forget();
        let survivors: Vec<_> = (0..SIZE).filter(|n| *n != leader).collect();
        let writes = Writes::start(survivors.iter().map(|n| self.door(*n)).collect());
        let publisher = Publisher::start(self.broker.client.clone(), names.clone()).await;
        writes.flow().await?;
        within("messages before the fault", SOON, || async {
            let waiting = names
                .iter()
                .filter(|name| self.service.reign(name, epoch).is_none());
            let waiting = waiting.count();
            (waiting == 0)
                .then_some(())
                .ok_or(format!("{waiting} channels without any"))
        })
        .await?;
        any_moment().await;

        let pid = self.cluster.members[leader].pid();
        let processors = Processors::now();
        let wall = wall_time();
        let struck = fault.strike(&self.hosts, leader, pid);
        let striking = struck.elapsed();
        if names.len() > 1 {
            publisher.one_to_each();
        }
        let handled = self.service.all_later(&names, epoch, LIMIT).await;
        let busy = processors.busy_since();
        let later = names
            .iter()
            .filter_map(|name| self.service.later(name, epoch));
        let write = match later.map(|(epoch, _)| epoch).min() {
            // The reign begins with the entry whose index is its epoch.
            Some(next) => {
                writes
                    .first(struck, LIMIT, |revision| revision > next)
                    .await
            }
            None => Err("no reign".into()),
        };
        let effect = fault.took_effect(&self.hosts, leader, pid);
        let server = within("the next connector server", LIMIT, || {
            self.cluster.connector_server(survivors[0])
        })
        .await;
        drop(publisher);
        drop(writes);
        let release = match (fault, fence) {
            // Its goal is counted from there.
            (Fault::Group, Fence::Exclusive) => {
                let told = || async { self.broker.first_release(wall).ok_or(String::new()) };
                within("the broker's release", WRITTEN, told).await.ok()
            }
            _ => self.broker.first_release(wall),
        };
        self.restore(leader, fault).await?;
        handled?;
        effect?;
        let (server, _) = server?;
        if server == leader {
            return Err("the connector server is the same as before".into());
        }

        let reigns = || {
            names
                .iter()
                .filter_map(|name| Some((name, self.service.later(name, epoch)?.1)))
        };
        let firsts: Vec<_> = reigns().map(|(_, reign)| reign.first).collect();
        let (first, last) = (
            firsts.iter().min().ok_or("no message")?,
            firsts.iter().max().ok_or("no message")?,
        );
        let gaps = reigns().filter_map(|(name, reign)| {
            Some(
                reign
                    .first
                    .saturating_duration_since(self.service.reign(name, epoch)?.last),
            )
        });
        let (duplicates, stale) = self.service.faults();
        let mut measured = Measured::from([
            ("message".to_owned(), ms(*first - struck)),
            ("gap".to_owned(), ms(gaps.min().unwrap_or_default())),
            ("write".to_owned(), ms(write?)),
            ("duplicates".to_owned(), duplicates as f64),
            ("stale".to_owned(), stale as f64),
        ]);
        if fault == Fault::Partition {
            measured.insert("cut".to_owned(), ms(striking));
        }
        if names.len() > 1 {
            measured.insert("last_message".to_owned(), ms(*last - struck));
            measured.insert("busy".to_owned(), busy);
        }
        if let Some(release) = release {
            measured.insert("release".to_owned(), ms(release));
        }
        Ok(measured)
    }

    async fn restore(&mut self, leader: usize, fault: Fault) -> Result<(), String> {
        let member = &mut self.cluster.members[leader];
        match fault {
            Fault::Kill => member.kill(),
            Fault::Term => {
                let status =
                    tokio::task::block_in_place(|| member.wait_exit(Duration::from_secs(12)));
                if !status.success() {
                    return Err(format!("it ended with {status} after SIGTERM"));
                }
            }
            Fault::Stop | Fault::Group | Fault::Partition => fault.heal(&self.hosts, member.pid()),
        }
        if fault.ends_the_process() {
            member.start(&[]);
        }
        Ok(())
    }

    fn door(&self, host: usize) -> Door {
        let url = self.cluster.members[host].admin_url("/v1/kv/bench");
        let client = self.client.clone();
        Arc::new(move || {
            Box::new(Put {
                client: client.clone(),
                url: url.clone(),
            })
        })
    }
}

/// Whether a connector consumes under this epoch and both others are connected.
fn stands(row: &Value, epoch: u64) -> bool {
    let standbys = row["standbys"].as_array().map_or(&[][..], Vec::as_slice);
    let warm = standbys.iter().filter(|it| it["state"] == "standby");
    row["state"] == "active" && row["epoch"] == epoch && warm.count() == SIZE - 1
}

struct Put {
    client: Client,
    url: String,
}

#[async_trait]
impl Writer for Put {
    async fn write(&mut self) -> Result<u64, String> {
        let request = self.client.request(Method::PUT, &self.url).body("x");
        Ok(http::revision_of(request).await?)
    }
}
