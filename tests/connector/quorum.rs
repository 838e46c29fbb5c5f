//! Quorum queues.

use std::time::Duration;

use quorate_resources::Kind;
use quorate_supervisor::ConnectorState;
use serde_json::json;

use super::world::*;

const QUORUM: &[(&str, &str)] = &[("x-queue-type", "quorum")];

/// RabbitMQ grants any number of exclusive consumers of a quorum queue.
// guarantee: MESSAGE-13
#[tokio::test(flavor = "multi_thread")]
async fn quorum_queue_is_refused_as_exclusive_fence() {
    let (broker, queue) = (broker().await, unique("no-fence"));
    let client = broker.client().await;
    client.declare_with(&queue, QUORUM).await;
    client.publish(&queue, bodies(5)).await;
    let (group, member, said) = refused_behind_exclusive(broker, &queue).await;
    assert!(
        said.contains("does not keep a second consumer off"),
        "{said}"
    );
    // It does not ask again: each time would count as a delivery, and too many of them drop
    // a message.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(client.count(&queue).await, (5, 0));
    let first = client.take(&queue).await.unwrap();
    let count = &first.properties.headers().as_ref().unwrap().inner()["x-delivery-count"];
    assert!(format!("{count:?}").contains("(1)"), "{count:?}");

    handled_behind_the_lease(&group, &member, (broker, &client), (&queue, 4)).await;
}

/// A takeover has no time to ask, so it is asked a moment later.
#[tokio::test(flavor = "multi_thread")]
async fn quorum_queue_is_refused_shortly_after_takeover() {
    let (broker, queue) = (broker().await, unique("no-fence"));
    let client = broker.client().await;
    client.declare_with(&queue, QUORUM).await;
    let member = SimulatedMember::start(&group_with_channel(broker, &queue), 1, 2000);
    member
        .when(&queue, "standby", |it| it.state == ConnectorState::Standby)
        .await;
    member.lead(2);
    member
        .when(&queue, "it is refused", |status| {
            status.state == ConnectorState::Failed
                && says(status, "does not keep a second consumer off")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quorum_queue_dead_letters_to_quorum_queue() {
    let (broker, queue) = (broker().await, unique("quorum"));
    let dead = format!("{queue}-dead");
    let client = broker.client().await;
    client.declare_with(&queue, QUORUM).await;
    client.declare_with(&dead, QUORUM).await;
    let group = group_with_channel(broker, &queue);
    group.put(Kind::AmqpConnection, leased(broker.port()));
    let mut with_dead_letter = channel(&queue);
    with_dead_letter["on_failure"]["dead_letter"] = json!(dead);
    group.put(Kind::AmqpChannel, with_dead_letter);
    group.behave(|call| {
        let code = if call.body == "3" { 500 } else { 200 };
        (Duration::ZERO, status(code))
    });
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member.active(&queue).await;
    client.publish(&queue, bodies(10)).await;
    member
        .when(&queue, "all done", |status| {
            (status.counts.handled, status.counts.failed) == (9, 1)
        })
        .await;
    drained(&client, &member, &queue).await;
    let letter = client.take(&dead).await.unwrap();
    assert_eq!(letter.data, b"3");
    let headers = letter.properties.headers().clone().unwrap();
    for name in ["reason", "attempts", "cid", "channel"] {
        assert!(headers.contains_key(&format!("x-quorate-{name}")), "{name}");
    }
}
