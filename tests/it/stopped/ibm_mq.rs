//! A channel and an outgoing of IBM MQ, *against the stand-in*: what is shown is how Quorate
//! behaves, not how IBM MQ does.

use std::{net::Ipv4Addr, time::Duration};

use quorate_clock::Instant;
use serde_json::json;

use super::{
    callers::Callers,
    handled::handled,
    queue_manager::{IN, OUT, QueueManager},
    round::{FAULTS, befall, settled},
};
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    takeovers::ServerFault,
    traffic::{sink::MessageSink, verdict},
};

const ALL: [&str; 2] = ["orders", "invoices"];

/// A cluster with a channel and an outgoing, under load.
struct Bed {
    manager: QueueManager,
    cluster: TestCluster,
    sink: MessageSink,
}

impl Bed {
    async fn start() -> Bed {
        let manager = QueueManager::start();
        let sink = MessageSink::start_at(Ipv4Addr::LOCALHOST, Duration::from_millis(2)).await;
        let cluster = TestCluster::three().await;
        let service = json!({"name": "sink", "upstream": sink.url(), "timeout_ms": 5000});
        cluster.put(0, "service", service).await;
        cluster
            .put(0, "ibm_mq_connection", manager.connection())
            .await;
        let channel = json!({
            "name": "orders", "connection": "manager", "queue": IN, "service": "sink",
            "jms": false,
        });
        cluster.put(0, "ibm_mq_channel", channel).await;
        let outgoing = json!({
            "name": "invoices", "connection": "manager", "queue": OUT, "jms": false,
            "delivery_mode": 2,
        });
        cluster.put(0, "ibm_mq_outgoing", outgoing).await;
        settled(&cluster, &ALL).await;
        Bed {
            manager,
            cluster,
            sink,
        }
    }

    /// Waits until so many more messages came by the channel.
    async fn more(&self, more: usize) {
        more_calls(&self.sink, more).await;
    }

    /// Waits until everything that was put was handled and committed.
    async fn drained(&self) {
        eventually("an empty queue", SOON, || async {
            match self.manager.depth() {
                0 => Ok(()),
                left => Err(left.to_string()),
            }
        })
        .await;
    }
}

async fn more_calls(sink: &MessageSink, more: usize) {
    let from = sink.calls_len();
    eventually("more calls", SOON, || async {
        let now = sink.calls_len() - from;
        (now >= more).then_some(()).ok_or(now.to_string())
    })
    .await;
}

// guarantee: MESSAGE-3, MESSAGE-5, SEND-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ibm_mq_keeps_guarantees_under_server_faults() {
    let mut bed = Bed::start().await;
    let (source, taker, watch) = (
        bed.manager.source(),
        bed.manager.taker(),
        bed.manager.watch(),
    );
    let callers = Callers::start(&bed.cluster, "ibm_mq_outgoing", "invoices");
    tokio::join!(bed.more(50), callers.confirm(50));
    let mut rounds = Vec::new();
    for fault in FAULTS {
        let sink = bed.sink.clone();
        let meanwhile = async |cluster: &TestCluster, next| {
            callers.confirm(50).await;
            // The queue is held by the connection of a stopped process. A queue manager
            // would drop it after its heartbeats; the stand-in has none.
            if fault == ServerFault::StopProcesses {
                eventually("told who holds the queue", SOON, || async {
                    let status = cluster.connector(next, "orders").await?;
                    let error = status["last_error"].as_str().unwrap_or_default();
                    error
                        .contains("2042")
                        .then_some(())
                        .ok_or(status.to_string())
                })
                .await;
            } else {
                more_calls(&sink, 50).await;
            }
        };
        let (cluster, first) = (&mut bed.cluster, async |_: &TestCluster, _| {});
        let round = befall(cluster, fault, &ALL, &[&callers], first, meanwhile).await;
        rounds.push(round);
        tokio::join!(bed.more(50), callers.confirm(50));
    }
    let (put, unknown) = source.finish().await;
    assert!(unknown.is_empty(), "{unknown:?}");
    bed.drained().await;
    let handled = handled(&bed.sink, "orders", &put, &rounds);
    assert!(handled.lost.is_empty(), "lost {:?}", handled.lost);
    assert!(
        handled.repeated <= rounds.len(),
        "{} again",
        handled.repeated
    );
    assert_eq!(handled.out_of_order, 0);
    let (most, looks) = watch.finish().await;
    println!("never more than {most} reader in {looks} looks");
    assert_eq!(most, 1);
    let told = callers.finish().await;
    let sent = told.against("IBM MQ outgoing (stand-in)", &taker.finish().await);
    sent.is_as_told();
}

/// Messages are taken off the outgoing's queue only at the end: an answer to a take could be
/// lost as well.
// guarantee: MESSAGE-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ibm_mq_survives_queue_manager_kills_without_loss() {
    const KILLS: usize = 3;
    let mut bed = Bed::start().await;
    let source = bed.manager.source();
    let callers = Callers::start(&bed.cluster, "ibm_mq_outgoing", "invoices");
    tokio::join!(bed.more(50), callers.confirm(50));
    for n in 1..=KILLS {
        let killed = Instant::now();
        bed.manager.kill();
        eventually("the channel to tell of it", SOON, || async {
            let status = bed.cluster.connector(0, "orders").await?;
            let told = status["state"] != "active" && status["last_error"].is_string();
            told.then_some(()).ok_or(status.to_string())
        })
        .await;
        bed.manager.up();
        tokio::join!(bed.more(100), callers.confirm(100));
        println!(
            "kill {n}: both are at work again {:?} after it",
            killed.elapsed()
        );
    }
    let (mut put, unknown) = source.finish().await;
    bed.drained().await;
    settled(&bed.cluster, &ALL).await;
    // What was put without a word of it may be there as well.
    let calls = bed.sink.calls();
    let there = |body: &&String| calls.iter().any(|call| call.id == **body);
    put.extend(unknown.iter().filter(there).cloned());
    let handled = handled(&bed.sink, "orders", &put, &[]);
    assert!(handled.lost.is_empty(), "lost {:?}", handled.lost);
    assert!(handled.repeated <= KILLS, "{} again", handled.repeated);
    assert_eq!(handled.out_of_order, 0);
    assert!(verdict::overlaps(&calls).is_empty());
    let told = callers.finish().await;
    let there = bed.manager.taker().finish().await;
    let sent = told.against(
        "IBM MQ outgoing (stand-in), its queue manager killed",
        &there,
    );
    sent.is_as_told();
}
