//! What is measured: a cluster, or the bare program beside it.

use std::process::Stdio;

use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    ports,
    process::{ChildProcess, bound},
    rabbitmq::RabbitBroker,
};
use serde_json::{Value, json};

use super::{super::footprint, stretch::Work};

/// Whose messages they are.
pub enum Subject {
    /// Members, of which the first is asked.
    Quorate {
        name: &'static str,
        cluster: TestCluster,
    },
    /// The program that has only lapin.
    Bare {
        running: Option<ChildProcess>,
        port: u16,
    },
}

impl Subject {
    /// A cluster of this size, with a service at `url`.
    pub async fn cluster(
        name: &'static str,
        (size, failover_ms): (usize, u64),
        rabbit: &RabbitBroker,
        url: &str,
    ) -> Subject {
        let cluster = TestCluster::start(size, failover_ms, "").await;
        cluster.serving(0).await;
        cluster
            .put(0, "service", json!({"name": "sink", "upstream": url}))
            .await;
        let connection = json!({
            "name": "rabbit", "host": "127.0.0.1", "port": rabbit.port(),
            "username": "guest", "password": "guest",
        });
        cluster.put(0, "amqp_connection", connection).await;
        Subject::Quorate { name, cluster }
    }

    pub fn bare() -> Subject {
        Subject::Bare {
            running: None,
            port: ports::free(),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Subject::Quorate { name, .. } => name,
            Subject::Bare { .. } => "bare lapin",
        }
    }

    /// The queue that it consumes, or that its messages come to.
    pub fn queue(&self, work: Work) -> String {
        let whose = self.name().replace(' ', "-");
        format!("{}-{whose}", work.word())
    }

    /// The URL that has a message sent.
    pub async fn door(&self) -> String {
        match self {
            Subject::Bare { port, .. } => format!("http://127.0.0.1:{port}/"),
            Subject::Quorate { cluster, .. } => {
                let (server, _) = cluster.serving(0).await;
                cluster.members[server].admin_url("/v1/outgoing/amqp_outgoing/out/send")
            }
        }
    }

    /// Begins, with as many messages at a time.
    pub async fn begin(&mut self, work: Work, at_a_time: u16, rabbit: &RabbitBroker, url: &str) {
        let queue = self.queue(work);
        match self {
            Subject::Quorate { cluster, .. } => {
                let (kind, resource) = resource(work, &queue, at_a_time, true);
                cluster.put(0, kind, resource).await;
                let name = work.connector();
                cluster.connector_in(0, name, "active").await;
            }
            Subject::Bare { running, port } => {
                let program = std::env::current_exe().expect("this program");
                let mut command = bound(program);
                command.args(["bare", work.bare(), &rabbit.uri(), &queue]);
                match work {
                    Work::In => command.args([url, &at_a_time.to_string()]),
                    Work::Out => command.arg(port.to_string()),
                };
                command.stdin(Stdio::null());
                *running = Some(ChildProcess::spawn(command).expect("a process"));
                if work == Work::Out {
                    let there = || async {
                        tokio::net::TcpStream::connect(("127.0.0.1", *port))
                            .await
                            .map(drop)
                    };
                    eventually("the bare publisher", SOON, there).await;
                }
            }
        }
    }

    /// Ends.
    pub async fn end(&mut self, work: Work) {
        let queue = self.queue(work);
        match self {
            Subject::Quorate { cluster, .. } => {
                let (kind, resource) = resource(work, &queue, 1, false);
                cluster.put(0, kind, resource).await;
                cluster.connector_in(0, work.connector(), "paused").await;
            }
            Subject::Bare { running, .. } => *running = None,
        }
    }

    /// Its processes now.
    pub fn pids(&self) -> Vec<u32> {
        match self {
            Subject::Quorate { cluster, .. } => {
                let members = cluster.members.iter().map(|it| it.pid());
                members
                    .flat_map(|pid| [vec![pid], footprint::children(pid)].concat())
                    .collect()
            }
            Subject::Bare { running, .. } => running.iter().map(ChildProcess::pid).collect(),
        }
    }
}

fn resource(work: Work, queue: &str, prefetch: u16, active: bool) -> (&'static str, Value) {
    let name = work.connector();
    match work {
        Work::In => (
            "amqp_channel",
            json!({
                "name": name, "connection": "rabbit", "queue": queue, "service": "sink",
                "prefetch": prefetch, "active": active,
            }),
        ),
        Work::Out => (
            "amqp_outgoing",
            json!({
                "name": name, "connection": "rabbit", "exchange": "", "routing_key": queue,
                "active": active,
            }),
        ),
    }
}
