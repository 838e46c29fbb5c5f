//! Messages whose service fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use lapin::{BasicProperties, types::AMQPValue};
use quorate_resources::Kind;
use quorate_service::api::{Reply, ServiceError};
use serde_json::json;

use super::world::*;

const NOW: Duration = Duration::ZERO;

#[tokio::test(flavor = "multi_thread")]
async fn transient_service_failure_costs_retries_not_messages() {
    let (broker, queue) = (broker().await, unique("retry"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 2000).await;
    member
        .group
        .behave(|call| (NOW, status(if call.attempt < 3 { 503 } else { 200 })));
    client.publish(&queue, bodies(20)).await;
    let seen = member
        .when(&queue, "all handled", |status| status.counts.handled == 20)
        .await;
    assert_eq!((seen.counts.failed, seen.counts.retried), (0, 40));
    let calls = member.group.calls.lock().clone();
    assert_eq!(calls.len(), 60);
    let cids = |attempt| -> std::collections::BTreeSet<_> {
        calls
            .iter()
            .filter(|call| call.attempt == attempt)
            .map(|call| call.headers["x-zato-cid"].clone())
            .collect()
    };
    assert!(
        cids(1).len() == 20 && cids(1) == cids(3),
        "all tries of a message have one CID"
    );
    drained(&client, &member, &queue).await;
    member
        .when(&queue, "the error is over", |status| {
            status.last_error.is_none()
        })
        .await;
}

// guarantee: MESSAGE-8
#[tokio::test(flavor = "multi_thread")]
async fn permanent_failure_is_dead_lettered_with_reason() {
    let (broker, queue) = (broker().await, unique("dead"));
    let dead = format!("{queue}-dead");
    let client = broker.client().await;
    client.declare(&queue).await;
    client.declare(&dead).await;
    let member = consuming_member(broker, &queue, 2000).await;
    let mut with_dead_letter = channel(&queue);
    with_dead_letter["on_failure"]["dead_letter"] = json!(dead);
    member.group.put(Kind::AmqpChannel, with_dead_letter);
    member
        .group
        .behave(|call| (NOW, status(if call.body == "poison" { 500 } else { 200 })));
    let properties = BasicProperties::default()
        .with_message_id("m-7".into())
        .with_content_type("text/plain".into());
    client
        .publish_with(
            &queue,
            [
                "fine".to_owned(),
                "poison".to_owned(),
                "fine too".to_owned(),
            ],
            properties,
        )
        .await;

    let seen = member
        .when(&queue, "one is given up", |status| {
            status.counts.failed == 1 && status.counts.handled == 2
        })
        .await;
    assert_eq!(seen.counts.retried, 2);
    let letter = client.take(&dead).await.unwrap();
    assert_eq!(letter.data, b"poison");
    assert_eq!(
        letter.properties.message_id().as_ref().unwrap().as_str(),
        "m-7"
    );
    assert_eq!(letter.properties.delivery_mode(), &Some(2));
    let headers = letter.properties.headers().clone().unwrap();
    let text = |name: &str| match &headers.inner()[name] {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(
        text("x-quorate-reason"),
        "store answered 500 Internal Server Error: said the service"
    );
    assert_eq!(text("x-quorate-channel"), queue);
    assert_eq!(
        headers.inner()["x-quorate-attempts"],
        AMQPValue::LongUInt(3)
    );
    assert!(
        member
            .group
            .calls
            .lock()
            .iter()
            .any(|call| call.headers["x-zato-cid"] == text("x-quorate-cid").as_str())
    );
    assert!(client.take(&dead).await.is_none(), "only one was given up");
    drained(&client, &member, &queue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_own_dead_letter_exchange_is_the_fallback() {
    let (broker, queue) = (broker().await, unique("reject"));
    let dead = format!("{queue}-dlx");
    let client = broker.client().await;
    client.declare(&dead).await;
    client
        .declare_with(
            &queue,
            &[
                ("x-dead-letter-exchange", ""),
                ("x-dead-letter-routing-key", &dead),
            ],
        )
        .await;
    let member = consuming_member(broker, &queue, 2000).await;
    member
        .group
        .behave(|_| (NOW, Err(ServiceError::TimedOut(10))));
    client.publish(&queue, bodies(5)).await;
    member
        .when(&queue, "all given up", |status| status.counts.failed == 5)
        .await;
    eventually("the broker has them", async || {
        (client.count(&dead).await.0 == 5).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_dead_letter_queue_keeps_message_and_reports() {
    let (broker, queue) = (broker().await, unique("nodead"));
    let dead = format!("{queue}-dead");
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 2000).await;
    let mut with_dead_letter = channel(&queue);
    with_dead_letter["on_failure"] = json!({"retries": 0, "dead_letter": dead});
    member.group.put(Kind::AmqpChannel, with_dead_letter);
    member
        .group
        .behave(|call| (NOW, status(if call.body == "0" { 500 } else { 200 })));
    client.publish(&queue, bodies(3)).await;
    let seen = member
        .when(&queue, "the others are handled", |status| {
            status.counts.handled == 2
                && status
                    .last_error
                    .as_deref()
                    .is_some_and(|error| error.contains("dead-letter"))
        })
        .await;
    assert_eq!((seen.counts.failed, seen.counts.in_flight), (0, 1));
    assert!(seen.last_error.unwrap().contains(&dead));
    client.declare(&dead).await;
    member
        .when(&queue, "it is given up after all", |status| {
            status.counts.failed == 1
        })
        .await;
    assert_eq!(client.take(&dead).await.unwrap().data, b"0");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_live_service_member_is_no_message_failure() {
    let (broker, queue) = (broker().await, unique("notrun"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 2000).await;
    let there = Arc::new(AtomicBool::new(false));
    member.group.behave({
        let there = there.clone();
        move |_| match there.load(Ordering::Relaxed) {
            true => (NOW, status(200)),
            false => (
                NOW,
                Err(ServiceError::NotRun("no live member carries it".into())),
            ),
        }
    });
    client.publish(&queue, bodies(4)).await;
    // Many more tries than the policy allows for failures.
    eventually("many tries", async || {
        (member.group.calls.lock().len() > 4 * 5).then_some(())
    })
    .await;
    let seen = member.status(&queue).unwrap();
    assert_eq!((seen.counts.failed, seen.counts.retried), (0, 0));
    assert!(
        seen.last_error
            .unwrap()
            .contains("no member could run store")
    );
    there.store(true, Ordering::Relaxed);
    member
        .when(&queue, "all handled", |status| status.counts.handled == 4)
        .await;
    assert!(
        member
            .group
            .calls
            .lock()
            .iter()
            .all(|call| call.attempt == 1)
    );
}

// guarantee: MESSAGE-7
#[tokio::test(flavor = "multi_thread")]
async fn service_fenced_message_requeues_without_counting_failure() {
    let (broker, queue) = (broker().await, unique("fenced"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 2000).await;
    let accept = Arc::new(AtomicBool::new(false));
    member.group.behave({
        let accept = accept.clone();
        move |_| {
            let mut headers = HeaderMap::new();
            headers.insert("quorate-fenced", "true".parse().unwrap());
            let fenced = Reply {
                status: http::StatusCode::CONFLICT,
                headers,
                body: Default::default(),
            };
            (
                NOW,
                if accept.load(Ordering::Relaxed) {
                    status(200)
                } else {
                    Ok(fenced)
                },
            )
        }
    });
    client.publish(&queue, bodies(2)).await;
    eventually("asked again", async || {
        (member.group.calls.lock().len() > 8).then_some(())
    })
    .await;
    let seen = member.status(&queue).unwrap();
    assert_eq!(
        (seen.counts.failed, seen.counts.retried, seen.counts.handled),
        (0, 0, 0)
    );
    accept.store(true, Ordering::Relaxed);
    member
        .when(&queue, "handled", |status| status.counts.handled == 2)
        .await;
    assert!(
        member
            .group
            .calls
            .lock()
            .iter()
            .all(|call| call.attempt == 1)
    );
}
