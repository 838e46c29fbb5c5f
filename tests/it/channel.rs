//! An AMQP channel through everything that may happen to it, on a real RabbitMQ.

use std::{collections::BTreeSet, time::Duration};

use nix::sys::signal::Signal;
use quorate_clock::Instant;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    process::{died, signal},
    rabbitmq::{BrokerClient, RabbitBroker},
    traffic::consumers::ConsumerMonitor,
    upstream::UpstreamServer,
};
use serde_json::{Value, json};

const PREFETCH: usize = 10;

/// A cluster, a broker, a service, and the channel between them.
struct Bed {
    cluster: TestCluster,
    rabbit: RabbitBroker,
    broker: BrokerClient,
    upstream: UpstreamServer,
}

impl Bed {
    async fn start(on_failure: Value) -> Bed {
        Bed::start_on(TestCluster::three().await, on_failure).await
    }

    async fn start_on(cluster: TestCluster, on_failure: Value) -> Bed {
        let rabbit = RabbitBroker::start().await;
        let broker = rabbit.client().await;
        broker.declare("orders").await;
        broker.declare("orders.dead").await;
        let upstream = UpstreamServer::start().await;
        let service = json!({"name": "orders", "upstream": upstream.url(), "timeout_ms": 5000});
        cluster.put(0, "service", service).await;
        let connection = json!({
            "name": "rabbit", "host": "127.0.0.1", "port": rabbit.port(),
            "username": "guest", "password": "guest",
        });
        cluster.put(1, "amqp_connection", connection).await;
        let bed = Bed {
            cluster,
            rabbit,
            broker,
            upstream,
        };
        bed.cluster
            .put(2, "amqp_channel", bed.channel(PREFETCH, on_failure))
            .await;
        bed.cluster.connector_in(1, "orders", "active").await;
        bed
    }

    fn channel(&self, prefetch: usize, on_failure: Value) -> Value {
        json!({
            "name": "orders", "connection": "rabbit", "queue": "orders", "service": "orders",
            "prefetch": prefetch, "on_failure": on_failure,
        })
    }

    async fn publish(&self, from: usize, count: usize) {
        let bodies = (from..from + count).map(body);
        self.broker.publish("orders", bodies).await;
    }

    async fn handled(&self, count: usize) {
        eventually(
            &format!("{count} messages handled"),
            Duration::from_secs(60),
            || async {
                let now = self.upstream.handled();
                (now >= count).then_some(()).ok_or(format!("{now}"))
            },
        )
        .await;
    }

    /// Everything published was handled, and the queue is empty: nothing is unacked either.
    async fn assert_all_handled(&self, count: usize) {
        self.handled(count).await;
        let calls = self.upstream.calls();
        let handled: BTreeSet<_> = calls.keys().cloned().collect();
        let published: BTreeSet<_> = (0..count).map(body).collect();
        assert_eq!(handled, published);
        eventually("an empty queue", SOON, || async {
            match self.broker.count("orders").await.0 {
                0 => Ok(()),
                left => Err(format!("{left} left")),
            }
        })
        .await;
    }
}

/// Waits until two members stand by, connected.
async fn two_stand_by(cluster: &TestCluster, at: usize) {
    eventually("two members that stand by", SOON, || async {
        let status = cluster.connector(at, "orders").await?;
        let ready = status["ready_standbys"] == 2;
        ready.then_some(()).ok_or(status.to_string())
    })
    .await;
}

fn body(n: usize) -> String {
    format!("order-{n:05}")
}

fn patient() -> Value {
    json!({"retries": 100, "backoff_ms": 50, "backoff_max_ms": 200, "dead_letter": "orders.dead"})
}

/// The promise is 4 s, so a takeover that waits for a timer, or for a process to start and
/// connect, is late here: the death is seen, and what stands by is connected.
#[tokio::test]
async fn killed_connector_server_is_succeeded_within_moments() {
    let cluster = TestCluster::start(3, 4000, "").await;
    let mut bed = Bed::start_on(cluster, patient()).await;
    bed.upstream.delay(Duration::from_millis(2));
    bed.publish(0, 3000).await;
    let (server, epoch) = bed.cluster.serving(0).await;
    two_stand_by(&bed.cluster, server).await;
    bed.handled(300).await;
    let killed = Instant::now();
    bed.cluster.members[server].kill();
    while bed.upstream.newest_epoch() <= epoch {
        assert!(killed.elapsed() < SOON, "nobody took over");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = killed.elapsed();
    println!("handled under the next epoch {took:?} after kill -9");
    assert!(took < Duration::from_millis(400), "{took:?}");
    bed.assert_all_handled(3000).await;
    assert!(bed.upstream.duplicates() <= PREFETCH);
}

// guarantee: MESSAGE-1, MESSAGE-2
#[tokio::test]
async fn thousand_messages_survive_kill_of_connector_server() {
    let mut bed = Bed::start(patient()).await;
    let watch = ConsumerMonitor::watch(&bed.rabbit, "orders").await;
    let (server, epoch) = bed.cluster.serving(0).await;
    bed.upstream.delay(Duration::from_millis(20));
    bed.publish(0, 1000).await;
    bed.handled(200).await;
    bed.cluster.members[server].kill();
    bed.assert_all_handled(1000).await;

    let (most, asked) = (watch.most(), watch.finish().await);
    assert!(most <= 1, "{most} consumers at once");
    assert!(asked > 100, "the broker was asked only {asked} times");
    let duplicates = bed.upstream.duplicates();
    println!(
        "1000 messages, connector server killed: {duplicates} duplicates, broker asked {asked} times"
    );
    assert!(duplicates <= PREFETCH, "{duplicates} duplicates");
    let next = bed.cluster.leader_but(Some(server)).await;
    let (holder, later) = bed.cluster.serving(next).await;
    assert_eq!(holder, next);
    assert!(later > epoch, "{later} after {epoch}");

    // The epochs that the service saw: the old one, then the new one, no other.
    let calls = bed.upstream.calls();
    let epochs: BTreeSet<_> = calls.values().flatten().map(|seen| seen.epoch).collect();
    assert_eq!(epochs, BTreeSet::from([epoch, later]));
    let headers = &calls[&body(0)][0].headers;
    assert_eq!(headers["quorate-channel"], "orders");
    assert!(headers.contains_key("x-zato-cid") && headers.contains_key("quorate-message-id"));

    bed.cluster.members[server].start(&[]);
    bed.cluster.voters(3).await;
    bed.upstream.delay(Duration::ZERO);
    bed.publish(1000, 100).await;
    bed.assert_all_handled(1100).await;

    // Nothing hangs unacked: without a consumer it would be back in the queue.
    let mut paused = bed.channel(PREFETCH, patient());
    paused["active"] = json!(false);
    bed.cluster.put(0, "amqp_channel", paused).await;
    eventually("no consumer", SOON, || async {
        match bed.broker.count("orders").await {
            (0, 0) => Ok(()),
            other => Err(format!("{other:?} messages and consumers")),
        }
    })
    .await;
}

#[tokio::test]
async fn sigterm_of_connector_server_loses_and_repeats_nothing() {
    let mut bed = Bed::start(patient()).await;
    let watch = ConsumerMonitor::watch(&bed.rabbit, "orders").await;
    bed.upstream.delay(Duration::from_millis(10));
    bed.publish(0, 600).await;
    for round in 1..=2 {
        bed.handled(round * 150).await;
        let (server, _) = bed.cluster.serving(0).await;
        assert!(bed.cluster.members[server].stop().success());
        bed.cluster.leader_but(Some(server)).await;
        bed.cluster.members[server].start(&[]);
        bed.cluster.voters(3).await;
    }
    bed.assert_all_handled(600).await;
    assert_eq!(bed.upstream.duplicates(), 0);
    assert!(watch.most() <= 1);
}

// guarantee: MESSAGE-3
#[tokio::test]
async fn woken_connector_server_handles_nothing_under_old_epoch() {
    let bed = Bed::start(patient()).await;
    let watch = ConsumerMonitor::watch(&bed.rabbit, "orders").await;
    let (server, old) = bed.cluster.serving(0).await;
    bed.upstream.delay(Duration::from_millis(20));
    bed.publish(0, 400).await;
    bed.handled(100).await;
    bed.cluster.members[server].signal(Signal::SIGSTOP);
    let next = bed.cluster.leader_but(Some(server)).await;
    eventually("a new epoch", SOON, || async {
        let (holder, epoch) = bed.cluster.connector_server(next).await?;
        (holder == next && epoch > old)
            .then_some(())
            .ok_or(format!("{holder} {epoch}"))
    })
    .await;
    let before: usize = of_epoch(&bed, old);
    bed.cluster.members[server].signal(Signal::SIGCONT);
    bed.assert_all_handled(400).await;
    bed.cluster.voters(3).await;
    // What the old process had handed on before it was stopped may have ended since:
    // at most its prefetch, and none of it new.
    let after = of_epoch(&bed, old);
    assert!(
        after <= before + PREFETCH,
        "{after} calls of epoch {old}, {before} before"
    );
    assert!(
        bed.upstream.duplicates() <= PREFETCH,
        "{}",
        bed.upstream.duplicates()
    );
    assert!(watch.most() <= 1);
}

fn of_epoch(bed: &Bed, epoch: u64) -> usize {
    let calls = bed.upstream.calls();
    calls
        .values()
        .flatten()
        .filter(|seen| seen.epoch == epoch)
        .count()
}

#[tokio::test]
async fn transient_failure_loses_nothing_permanent_is_dead_lettered() {
    let bed = Bed::start(patient()).await;
    bed.upstream.answer(500);
    bed.publish(0, 50).await;
    eventually("tries that fail", SOON, || async {
        let status = bed.cluster.connector(0, "orders").await?;
        (status["retried"].as_u64() > Some(20))
            .then_some(())
            .ok_or(status.to_string())
    })
    .await;
    bed.upstream.answer(200);
    bed.assert_all_handled(50).await;
    let calls = bed.upstream.calls();
    assert!(
        calls.values().flatten().any(|seen| seen.attempt > 1),
        "attempts are counted"
    );
    assert_eq!(bed.broker.count("orders.dead").await.0, 0);

    let impatient =
        json!({"retries": 2, "backoff_ms": 10, "backoff_max_ms": 20, "dead_letter": "orders.dead"});
    bed.cluster
        .put(0, "amqp_channel", bed.channel(PREFETCH, impatient))
        .await;
    bed.cluster.connector_in(0, "orders", "active").await;
    bed.upstream.answer(422);
    bed.publish(50, 30).await;
    eventually("dead letters", SOON, || async {
        match bed.broker.count("orders.dead").await.0 {
            30 => Ok(()),
            other => Err(format!("{other} of 30")),
        }
    })
    .await;
    assert_eq!(bed.broker.count("orders").await.0, 0);
    assert_eq!(bed.upstream.handled(), 50);
}

// guarantee: MESSAGE-1
#[tokio::test]
async fn broker_restart_loses_nothing() {
    let mut bed = Bed::start(patient()).await;
    bed.upstream.delay(Duration::from_millis(10));
    bed.publish(0, 300).await;
    bed.handled(100).await;
    bed.rabbit.stop();
    eventually("the channel to say why", SOON, || async {
        let status = bed.cluster.connector(0, "orders").await?;
        let told = status["state"] != "active" && status["last_error"].is_string();
        told.then_some(()).ok_or(status.to_string())
    })
    .await;
    bed.rabbit.up().await;
    bed.broker = bed.rabbit.client().await;
    bed.assert_all_handled(300).await;
    let status = bed.cluster.connector_in(0, "orders", "active").await;
    assert!(status["last_error"].is_null(), "{status}");
}

#[tokio::test]
async fn channel_reconfigured_under_load_loses_and_repeats_nothing() {
    let bed = Bed::start(patient()).await;
    let other = UpstreamServer::start().await;
    bed.upstream.delay(Duration::from_millis(5));
    bed.publish(0, 800).await;
    for (round, prefetch) in [3, 20, 5, 10].into_iter().enumerate() {
        bed.handled((round + 1) * 60).await;
        bed.cluster
            .put(round % 3, "amqp_channel", bed.channel(prefetch, patient()))
            .await;
    }
    let service = json!({"name": "orders", "upstream": other.url()});
    bed.cluster.put(0, "service", service).await;
    eventually(
        "the other service to be used",
        Duration::from_secs(5),
        || async { (other.handled() > 0).then_some(()).ok_or("not yet") },
    )
    .await;
    eventually("all handled", Duration::from_secs(60), || async {
        let sum = bed.upstream.handled() + other.handled();
        (sum >= 800).then_some(()).ok_or(sum.to_string())
    })
    .await;
    let mut all: Vec<_> = bed
        .upstream
        .calls()
        .into_iter()
        .chain(other.calls())
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let bodies: Vec<_> = all.iter().map(|(body, _)| body.clone()).collect();
    let wanted: Vec<_> = (0..800).map(body).collect();
    assert_eq!(bodies, wanted, "each once, over both services");
    assert_eq!(bed.upstream.duplicates() + other.duplicates(), 0);

    // A deleted channel consumes nothing within a second.
    let url = bed.cluster.members[0].admin_url("/v1/config/amqp_channel/orders");
    quorate_testkit::http::call(reqwest::Method::DELETE, url, &[], "")
        .await
        .expect("an answer");
    eventually("no consumer", Duration::from_secs(1), || async {
        match bed.broker.count("orders").await.1 {
            0 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
}

#[tokio::test]
async fn hung_process_is_replaced_and_orphan_ends() {
    let mut bed = Bed::start(patient()).await;
    let (server, _) = bed.cluster.serving(0).await;
    let first = bed.cluster.connector_in(0, "orders", "active").await;
    let hung = process(&first);
    signal(hung, Signal::SIGSTOP);
    bed.publish(0, 50).await;
    bed.assert_all_handled(50).await;
    let second = bed.cluster.connector_in(0, "orders", "active").await;
    assert_ne!(process(&second), hung);
    gone(hung).await;
    let orphan = process(&second);
    bed.cluster.members[server].kill();
    gone(orphan).await;
}

fn process(status: &Value) -> u32 {
    status["pid"].as_u64().expect("a pid") as u32
}

async fn gone(pid: u32) {
    let died = died(pid, Instant::now());
    let died = tokio::time::timeout(Duration::from_secs(2), died).await;
    died.expect("the end of a process");
}
