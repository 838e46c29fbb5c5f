//! Queues with a single active consumer, and what is kept from its work for ever.

use std::time::Duration;

use lapin::{
    options::{BasicConsumeOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use quorate_clock::Instant;
use quorate_supervisor::ConnectorState;

use super::world::*;

async fn declare(client: &BrokerClient, queue: &str, kind: &str) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
    let channel = client.connection().create_channel().await.unwrap();
    channel
        .queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments)
        .await
        .unwrap();
}

/// The broker refuses any exclusive consumer of one, in the words for a queue that somebody
/// else consumes.
#[tokio::test(flavor = "multi_thread")]
async fn single_active_queue_is_consumed_only_behind_lease() {
    let broker = broker().await;
    let client = broker.client().await;
    for kind in ["classic", "quorum"] {
        let queue = unique("single-active");
        declare(&client, &queue, kind).await;
        client.publish(&queue, bodies(5)).await;
        let began = Instant::now();
        let (group, member, said) = refused_behind_exclusive(broker, &queue).await;
        println!("{kind}: after {:?}: {said}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(15));
        if kind == "classic" {
            assert!(said.contains("single active consumer"), "{said}");
        }
        let left = client.count(&queue).await.0;
        handled_behind_the_lease(&group, &member, (broker, &client), (&queue, left.into())).await;
    }
}

/// Waiting for another consumer to go is for takeovers, which are over soon.
#[tokio::test(flavor = "multi_thread")]
async fn long_wait_for_another_consumer_becomes_failure() {
    let (broker, queue) = (broker().await, unique("kept-out"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let another = client.connection().create_channel().await.unwrap();
    let options = BasicConsumeOptions {
        exclusive: true,
        ..Default::default()
    };
    let _consumer = another
        .basic_consume(
            queue.as_str().into(),
            "another".into(),
            options,
            FieldTable::default(),
        )
        .await
        .unwrap();
    let member = SimulatedMember::start(&group_with_channel(broker, &queue), 1, 2000);
    member.lead(2);
    member
        .when(&queue, "it waits", |status| {
            status.state == ConnectorState::Starting && says(status, "another consumer has")
        })
        .await;
    let failed = member
        .when(&queue, "it has failed", |status| {
            status.state == ConnectorState::Failed
        })
        .await;
    assert!(says(&failed, "another consumer has"), "{failed:?}");
    // What the broker counts and says, as it says it.
    assert!(says(&failed, "counts 1"), "{failed:?}");
    assert!(says(&failed, "in exclusive use"), "{failed:?}");
    another.close(200, "OK".into()).await.unwrap();
    member.active(&queue).await;
}
