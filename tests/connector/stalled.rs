//! A connector that is connected and gets nothing done while messages wait.

use std::time::Duration;

use lapin::{
    options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use quorate_clock::Instant;
use quorate_resources::Kind;
use quorate_supervisor::ConnectorStatus;
use serde_json::json;

use super::{load::*, world::*};

/// One call may take a second then, and a connector is patient for five.
const TIMEOUT_MS: u64 = 1000;

fn store() -> serde_json::Value {
    json!({"name": "store", "upstream": "http://127.0.0.1:9/", "timeout_ms": TIMEOUT_MS})
}

fn stalled_s(status: &ConnectorStatus) -> Option<u64> {
    status.clone().as_of(Instant::now()).stalled_s
}

// guarantee: MESSAGE-17
#[tokio::test(flavor = "multi_thread")]
async fn hanging_service_is_reported_until_answering_again() {
    let (broker, queue) = (broker().await, unique("hangs"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let group = group_with_channel(broker, &queue);
    group.put(Kind::Service, store());
    let handled = Handled::default();
    handled.serve(&group, |_, n| {
        (Duration::from_secs(if n < 10 { 9 } else { 0 }), 200)
    });
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member.active(&queue).await;
    client.publish(&queue, bodies(30)).await;
    member
        .when(&queue, "in flight", |status| status.counts.in_flight == 10)
        .await;
    let since = Instant::now();
    let told = member
        .when(&queue, "stalled", |status| stalled_s(status).is_some())
        .await;
    let after = since.elapsed();
    println!("told after {after:?}: {:?}", stalled_s(&told));
    assert!(after >= Duration::from_millis(4500), "too soon: {after:?}");
    assert!(after <= Duration::from_millis(8000), "too late: {after:?}");
    member
        .when(&queue, "settling again", |status| {
            stalled_s(status).is_none() && status.counts.handled == 30
        })
        .await;
}

// guarantee: MESSAGE-17
#[tokio::test(flavor = "multi_thread")]
async fn continually_failing_service_is_reported_stalled() {
    let (broker, queue) = (broker().await, unique("fails"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let group = group_with_channel(broker, &queue);
    group.put(Kind::Service, store());
    let mut patient = channel(&queue);
    patient["on_failure"]["retries"] = json!(100);
    group.put(Kind::AmqpChannel, patient);
    let handled = Handled::default();
    handled.serve(&group, |_, _| (Duration::ZERO, 500));
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    client.publish(&queue, bodies(3)).await;
    let told = member
        .when(&queue, "stalled", |status| stalled_s(status).is_some())
        .await;
    assert!(told.last_error.unwrap().contains("store answered 500"));
    handled.serve(&group, |_, _| (Duration::ZERO, 200));
    member
        .when(&queue, "settled", |status| {
            stalled_s(status).is_none() && status.counts.handled == 3
        })
        .await;
}

/// The broker lets only one of a queue's consumers have messages, and that is another one,
/// which does nothing.
// guarantee: MESSAGE-17
#[tokio::test(flavor = "multi_thread")]
async fn withholding_broker_is_reported_stalled() {
    let (broker, queue) = (broker().await, unique("withheld"));
    let client = broker.client().await;
    let other = client.connection().create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    let name = || queue.as_str().into();
    other
        .queue_declare(name(), QueueDeclareOptions::durable(), arguments)
        .await
        .unwrap();
    other
        .basic_qos(1, BasicQosOptions::default())
        .await
        .unwrap();
    let _idle = other
        .basic_consume(
            name(),
            "idle".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let group = group_with_channel(broker, &queue);
    group.put(Kind::Service, store());
    group.put(Kind::AmqpConnection, leased(broker.port()));
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member.active(&queue).await;
    client.publish(&queue, bodies(5)).await;
    let told = member
        .when(&queue, "stalled", |status| stalled_s(status).is_some())
        .await;
    println!("{told:?}");
    assert_eq!((told.counts.in_flight, told.counts.waiting), (0, Some(4)));
    other.close(200, "OK".into()).await.unwrap();
    member
        .when(&queue, "settled", |status| {
            stalled_s(status).is_none() && status.counts.handled == 5
        })
        .await;
}

// guarantee: MESSAGE-17
#[tokio::test(flavor = "multi_thread")]
async fn slow_and_steady_is_not_stalled() {
    let (broker, queue) = (broker().await, unique("steady"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let group = group_with_channel(broker, &queue);
    group.put(Kind::Service, store());
    let mut one = channel(&queue);
    one["prefetch"] = json!(1);
    group.put(Kind::AmqpChannel, one);
    let handled = Handled::default();
    let takes = Duration::from_millis(TIMEOUT_MS - 100);
    handled.serve(&group, move |_, _| (takes, 200));
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    client.publish(&queue, bodies(10)).await;
    let began = Instant::now();
    let never = |status: &ConnectorStatus| {
        assert_eq!(stalled_s(status), None, "{status:?}");
        status.counts.handled == 10
    };
    member.when(&queue, "all handled", never).await;
    assert!(
        began.elapsed() > Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
}
