//! An AMQP outgoing, on a real RabbitMQ.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::task::JoinHandle;

use super::{
    callers::Callers,
    round::{FAULTS, befall},
};
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    process::signal,
    rabbitmq::{BrokerClient, RabbitBroker},
};

/// At each fault.
const UNDER_WAY: u64 = 4;

/// Takes what comes into a queue until it is finished.
struct Taker {
    over: Arc<AtomicBool>,
    task: JoinHandle<BTreeMap<String, usize>>,
}

impl Taker {
    fn start(client: BrokerClient, queue: &'static str) -> Taker {
        let over = Arc::new(AtomicBool::new(false));
        let ending = over.clone();
        let task = tokio::spawn(async move {
            let mut there = BTreeMap::new();
            loop {
                // Asked first: what came before it is seen by the look that follows.
                let last = ending.load(Ordering::SeqCst);
                while let Some(message) = client.take(queue).await {
                    let body = String::from_utf8(message.delivery.data).expect("text");
                    *there.entry(body).or_default() += 1;
                }
                if last {
                    return there;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Taker { over, task }
    }

    async fn finish(self) -> BTreeMap<String, usize> {
        self.over.store(true, Ordering::SeqCst);
        self.task.await.expect("a taker")
    }
}

/// Waits until some messages wait for the broker's word.
async fn under_way(cluster: &TestCluster, server: usize) {
    eventually("messages under way", SOON, || async {
        let status = cluster.connector(server, "invoices").await?;
        let some = status["in_flight"].as_u64() >= Some(UNDER_WAY);
        some.then_some(()).ok_or(status.to_string())
    })
    .await;
}

/// Nothing is sent a second time by itself, so what is confirmed is there exactly once.
// guarantee: SEND-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amqp_callers_get_true_outcomes_under_server_faults() {
    let mut cluster = TestCluster::three().await;
    let rabbit = RabbitBroker::start().await;
    let broker = rabbit.client().await;
    broker.declare("invoices").await;
    let connection = json!({
        "name": "rabbit", "host": "127.0.0.1", "port": rabbit.port(),
        "username": "guest", "password": "guest",
    });
    cluster.put(0, "amqp_connection", connection).await;
    let outgoing = json!({
        "name": "invoices", "connection": "rabbit", "exchange": "", "routing_key": "invoices",
    });
    cluster.put(0, "amqp_outgoing", outgoing).await;
    cluster.connector_in(0, "invoices", "active").await;
    let callers = Callers::start(&cluster, "amqp_outgoing", "invoices");
    let taker = Taker::start(rabbit.client().await, "invoices");
    let broker_process = rabbit.pid().expect("it runs");
    callers.confirm(100).await;
    for fault in FAULTS {
        befall(
            &mut cluster,
            fault,
            &["invoices"],
            &[&callers],
            // The broker says nothing until the connector server is gone: what is under way
            // then comes into the queue, and nobody hears of it.
            async |cluster, server| {
                signal(broker_process, Signal::SIGSTOP);
                under_way(cluster, server).await;
            },
            async |_, _| {
                signal(broker_process, Signal::SIGCONT);
                callers.confirm(50).await;
            },
        )
        .await;
        callers.confirm(50).await;
    }
    let told = callers.finish().await;
    eventually("an empty queue", SOON, || async {
        match broker.count("invoices").await.0 {
            0 => Ok(()),
            left => Err(left.to_string()),
        }
    })
    .await;
    let sent = told.against(
        "AMQP outgoing, 2 SIGSTOP and 1 kill -9",
        &taker.finish().await,
    );
    let unknown = told.unknown.len();
    assert!(unknown >= FAULTS.len() * UNDER_WAY as usize, "{unknown}");
    sent.is_as_told();
}
