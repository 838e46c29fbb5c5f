//! Brokers that refuse, are away, or go.

use std::{path::Path, time::Duration};

use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use quorate_clock::Instant;
use quorate_resources::Kind;
use quorate_supervisor::{ConnectorState, ConnectorStatus};
use serde_json::json;

use super::world::*;

/// RabbitMQ notices after two to three heartbeats of 1 s.
const VANISHED: Duration = Duration::from_secs(3);

/// A pause that grew with the time it has lasted would be longer by then.
const LATE: Duration = Duration::from_millis(400);

// guarantee: FAILOVER-9
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_exclusive_consumer_waits_and_is_granted() {
    let (broker, queue) = (broker().await, unique("exclusive"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let other = client.connection().create_channel().await.unwrap();
    other
        .basic_qos(1, BasicQosOptions::default())
        .await
        .unwrap();
    let options = BasicConsumeOptions {
        exclusive: true,
        ..Default::default()
    };
    let consumer = other
        .basic_consume(
            queue.as_str().into(),
            "other".into(),
            options,
            Default::default(),
        )
        .await
        .unwrap();
    let member = SimulatedMember::start(&group_with_channel(broker, &queue), 1, 2000);
    member.lead(2);
    let seen = member
        .when(&queue, "it is told", |status| {
            says(status, "another consumer has the queue")
        })
        .await;
    assert_eq!(seen.state, ConnectorState::Starting);
    assert_eq!(client.count(&queue).await.1, 1);
    // As long as a broker may hold the connection of a host that has vanished.
    tokio::time::sleep(VANISHED).await;
    let refused = refusals(&broker.dir().join("log"), &queue);
    other.close(200, "OK".into()).await.unwrap();
    drop(consumer);
    let since = Instant::now();
    let seen = member.active(&queue).await;
    println!(
        "granted {:?} after the other consumer had gone, refused {refused} times",
        since.elapsed()
    );
    assert_eq!(seen.last_error, None);
    // It asks whether the queue is free and seldom fails to take it, so it can ask often.
    assert!(since.elapsed() < LATE, "{:?}", since.elapsed());
    assert!((1..=6).contains(&refused), "refused {refused} times");
}

/// How often the broker's log tells that the queue was refused.
fn refusals(logs: &Path, queue: &str) -> usize {
    let refused = |line: &&str| line.contains(queue) && line.contains("exclusive use");
    let files = std::fs::read_dir(logs).unwrap().flatten();
    let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
    texts.map(|text| text.lines().filter(refused).count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_error_names_remedy_and_clears_when_fixed() {
    let (broker, queue) = (broker().await, unique("troubles"));
    let client = broker.client().await;
    let group = group_with_channel(broker, &queue);
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    let failed = |status: &ConnectorStatus, what: &str| {
        status.state == ConnectorState::Failed && says(status, what)
    };
    let told = async |what: &str| {
        member
            .when(&queue, what, |status| failed(status, what))
            .await
    };

    told("there is no queue").await;
    client.declare(&queue).await;
    member.active(&queue).await;

    client.delete(&queue).await;
    told("queue").await;
    client.declare(&queue).await;
    member.active(&queue).await;

    let change = |field: &str, value: serde_json::Value| {
        let mut changed = connection(broker.port());
        changed[field] = value;
        group.put(Kind::AmqpConnection, changed);
    };
    change("password", json!("wrong"));
    told("refused the user \"guest\"").await;
    change("vhost", json!("nowhere"));
    told("into the vhost \"nowhere\"").await;
    let nobody = quorate_testkit::ports::free();
    change("port", json!(nobody));
    told("can't reach the broker").await;
    change("host", json!("no-such-host.invalid"));
    told("can't reach the broker no-such-host.invalid").await;
    change("vhost", json!("/"));
    let seen = member.active(&queue).await;
    assert_eq!(seen.last_error, None);
    client.publish(&queue, bodies(1)).await;
    member
        .when(&queue, "handled", |status| status.counts.handled == 1)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_broker_is_reported() {
    // Takes connections, never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let group = SimulatedGroup::new();
    group.put(
        Kind::Service,
        json!({"name": "store", "upstream": "http://127.0.0.1:9/"}),
    );
    group.put(Kind::AmqpConnection, connection(port));
    group.put(Kind::AmqpChannel, channel("silent"));
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member
        .when("silent", "it is told", |status| {
            says(status, "did not answer within 10 s")
        })
        .await;
}

/// Returns how often messages were handled again.
async fn handled_through_a_restart(
    broker: &mut RabbitBroker,
    queue: String,
    down: fn(&mut RabbitBroker),
) -> usize {
    let client = broker.client().await;
    let member = consuming_member(broker, &queue, 2000).await;
    member
        .group
        .behave(|_| (Duration::from_millis(20), status(200)));
    client.publish(&queue, bodies(500)).await;
    let some = |status: &ConnectorStatus| status.counts.handled >= 100;
    let before = member.when(&queue, "some handled", some).await;
    down(broker);
    let failed = |status: &ConnectorStatus| status.state == ConnectorState::Failed;
    member.when(&queue, "it is told", failed).await;
    broker.up().await;
    let up = Instant::now();
    let after = member.active(&queue).await;
    println!("consuming {:?} after the broker was back", up.elapsed());
    assert_eq!((after.pid, after.epoch), (before.pid, before.epoch));
    eventually("all were handled", async || {
        (member.group.calls_by_body().len() == 500).then_some(())
    })
    .await;
    drained(&broker.client().await, &member, &queue).await;
    let calls = member.group.calls.lock().len();
    member.handle.shutdown(Duration::from_secs(5)).await;
    calls - 500
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_costs_no_message() {
    let mut broker = RabbitBroker::start().await;
    // Both are declared before the restart in order: a broker that is killed soon after
    // may have forgotten a queue itself.
    let queues = [unique("restart"), unique("restart")];
    let client = broker.client().await;
    for queue in &queues {
        client.declare(queue).await;
    }
    let [first, second] = queues;
    let duplicates = handled_through_a_restart(&mut broker, first, RabbitBroker::stop).await;
    println!("{duplicates} duplicates after a restart in order");
    assert!(duplicates <= 20, "more than prefetch + in flight");
    // A broker that is killed forgets acks that it had not written yet: what it hands out
    // again for that reason is not ours to bound.
    let duplicates = handled_through_a_restart(&mut broker, second, RabbitBroker::kill).await;
    println!("{duplicates} duplicates after kill -9");
}
