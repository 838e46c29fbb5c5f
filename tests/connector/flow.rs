//! Messages that go well, and changes while they do.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use quorate_clock::Instant;
use quorate_resources::Kind;
use quorate_supervisor::ConnectorState;
use serde_json::json;

use super::world::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_messages_are_handled_once_each() {
    let (broker, queue) = (broker().await, unique("thousand"));
    let client = broker.client().await;
    client.declare(&queue).await;
    client.publish(&queue, bodies(1000)).await;
    let start = Instant::now();
    let member = consuming_member(broker, &queue, 2000).await;
    let status = member
        .when(&queue, "1000 handled", |status| {
            status.counts.handled == 1000
        })
        .await;
    println!(
        "1000 messages through the connector in {:?}, process start included",
        start.elapsed()
    );
    drained(&client, &member, &queue).await;
    assert_eq!(member.group.calls_by_body().len(), 1000);
    assert_eq!(member.group.calls.lock().len(), 1000, "duplicates");
    assert_eq!(
        (status.counts.failed, status.counts.retried, status.state),
        (0, 0, ConnectorState::Active)
    );
    assert!(status.last_message_at.is_some() && status.epoch.is_some() && status.pid.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_sees_the_message_and_its_coordinates() {
    let (broker, queue) = (broker().await, unique("headers"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 2000).await;
    let mut headers = FieldTable::default();
    headers.insert("Tenant".into(), AMQPValue::LongString("blue".into()));
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_message_id("m-1".into())
        .with_content_type("text/plain".into());
    client
        .publish_with(&queue, ["hello".to_owned()], properties)
        .await;
    member
        .when(&queue, "handled", |status| status.counts.handled == 1)
        .await;
    let call = member.group.calls.lock()[0].clone();
    let header = |name: &str| {
        call.headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(call.body, "hello");
    assert_eq!(header("content-type").unwrap(), "text/plain");
    assert_eq!(header("quorate-channel").unwrap(), queue);
    assert_eq!(header("quorate-epoch").unwrap(), call.epoch.to_string());
    assert_eq!(header("quorate-message-id").unwrap(), "m-1");
    assert_eq!(header("quorate-attempt").unwrap(), "1");
    assert_eq!(header("quorate-header-tenant").unwrap(), "blue");
    let cid = header("x-zato-cid").unwrap();
    assert!(cid.len() == 40 && cid.starts_with('K'), "{cid}");
}

// guarantee: MESSAGE-2
#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_prefetch_are_in_flight() {
    let (broker, queue) = (broker().await, unique("prefetch"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let group = group_with_channel(broker, &queue);
    let mut channel = channel(&queue);
    channel["prefetch"] = json!(3);
    group.put(Kind::AmqpChannel, channel);
    group.behave(|_| (Duration::from_secs(3600), status(200)));
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    client.publish(&queue, bodies(10)).await;
    member
        .when(&queue, "three in flight", |status| {
            status.counts.in_flight == 3
        })
        .await;
    eventually("seven are ready", async || {
        (client.count(&queue).await.0 == 7).then_some(())
    })
    .await;
    assert_eq!(group.calls.lock().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_under_load_lose_and_repeat_nothing() {
    let (broker, queue) = (broker().await, unique("reconfigure"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 2000).await;
    let group = &member.group;
    group.behave(|_| (Duration::from_millis(5), status(200)));
    let pid = member.status(&queue).unwrap().pid;
    client.publish(&queue, bodies(1500)).await;

    for (n, prefetch) in [7, 20, 3, 15].into_iter().enumerate() {
        let handled = 150 * (n as u64 + 1);
        member
            .when(&queue, "some are handled", |status| {
                status.counts.handled >= handled
            })
            .await;
        let mut changed = channel(&queue);
        changed["prefetch"] = json!(prefetch);
        changed["consumer_tag_prefix"] = json!(format!("tag{n}"));
        group.put(Kind::AmqpChannel, changed);
    }
    // Another heartbeat is another connection.
    let mut reconnected = connection(broker.port());
    reconnected["heartbeat_s"] = json!(5);
    group.put(Kind::AmqpConnection, reconnected);
    // Another service is asked from the next message on.
    let mut changed = channel(&queue);
    changed["service"] = json!("other");
    let asked_at = Instant::now();
    group.put(Kind::AmqpChannel, changed);
    let first = eventually("the other service is asked", async || {
        group
            .calls
            .lock()
            .iter()
            .find(|call| call.service == "other")
            .cloned()
    })
    .await;
    assert!(
        first.at - asked_at < Duration::from_secs(1),
        "{:?}",
        first.at - asked_at
    );

    let status = member
        .when(&queue, "all are handled", |status| {
            status.counts.handled == 1500
        })
        .await;
    drained(&client, &member, &queue).await;
    assert_eq!(group.calls_by_body().len(), 1500, "messages were lost");
    assert_eq!(
        group.calls.lock().len(),
        1500,
        "in-flight messages were not finished first"
    );
    assert_eq!(status.pid, pid, "it was the same process all the while");
}

#[tokio::test(flavor = "multi_thread")]
async fn active_field_stops_and_starts_channel() {
    let (broker, queue) = (broker().await, unique("pause"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 2000).await;
    let group = &member.group;
    let finish = std::sync::Arc::new(AtomicBool::new(false));
    group.behave({
        let finish = finish.clone();
        move |_| {
            (
                if finish.swap(true, Ordering::SeqCst) {
                    Duration::ZERO
                } else {
                    Duration::from_millis(300)
                },
                status(200),
            )
        }
    });
    client.publish(&queue, bodies(1)).await;
    eventually("one is in flight", async || {
        (group.calls.lock().len() == 1).then_some(())
    })
    .await;
    let pid = member.status(&queue).unwrap().pid.unwrap();

    let mut inactive = channel(&queue);
    inactive["active"] = json!(false);
    let asked_at = Instant::now();
    group.put(Kind::AmqpChannel, inactive);
    eventually("no consumer", async || {
        (client.count(&queue).await.1 == 0).then_some(())
    })
    .await;
    assert!(
        asked_at.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked_at.elapsed()
    );
    member
        .when(&queue, "paused", |status| {
            status.state == ConnectorState::Paused
        })
        .await;
    assert!(!is_alive(pid));
    assert_eq!(
        client.count(&queue).await.0,
        0,
        "what was in flight was finished"
    );

    client.publish(&queue, bodies(1)).await;
    group.put(Kind::AmqpChannel, channel(&queue));
    member
        .when(&queue, "handled again", |status| status.counts.handled == 1)
        .await;

    group.delete(Kind::AmqpChannel, &queue);
    eventually("it is off the board", async || {
        member.status(&queue).is_none().then_some(())
    })
    .await;
    assert_eq!(client.count(&queue).await.1, 0);
}
