//! What a broker or its operator does to a connection that works.

use std::time::Duration;

use quorate_resources::Kind;
use quorate_supervisor::{ConnectorState, ConnectorStatus};
use serde_json::json;

use super::world::*;

/// Memory alarms, a vhost that goes and comes, a user whose password changes.
#[tokio::test(flavor = "multi_thread")]
async fn broker_conditions_are_reported_until_resolved() {
    let broker = RabbitBroker::start().await;
    broker.ctl(&["add_vhost", "shop"]).await;
    broker.ctl(&["add_user", "orders", "first"]).await;
    let permit = ["set_permissions", "-p", "shop", "orders", ".*", ".*", ".*"];
    broker.ctl(&permit).await;
    broker
        .ctl(&["set_permissions", "-p", "shop", "guest", ".*", ".*", ".*"])
        .await;
    let shop = broker.uri().replace("%2f", "shop");

    let queue = unique("conditions");
    let dead = format!("{queue}-dead");
    let client = BrokerClient::connect(&shop).await;
    client.declare(&queue).await;
    client.declare(&dead).await;
    let group = group_with_channel(&broker, &queue);
    let connect = |password: &str| {
        let mut connection = connection(broker.port());
        connection["vhost"] = json!("shop");
        connection["username"] = json!("orders");
        connection["password"] = json!(password);
        group.put(Kind::AmqpConnection, connection);
    };
    connect("first");
    let mut with_dead_letter = channel(&queue);
    with_dead_letter["on_failure"] = json!({"retries": 0, "dead_letter": dead});
    group.put(Kind::AmqpChannel, with_dead_letter.clone());
    group.behave(|call| {
        let code = if call.body == "poison" { 500 } else { 200 };
        (Duration::ZERO, status(code))
    });
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member.active(&queue).await;

    // Blocked: the broker takes no more messages, so none is dead-lettered once it has said
    // so; others go on being handled.
    let active_channel = |active: bool| {
        let mut channel = with_dead_letter.clone();
        channel["active"] = json!(active);
        group.put(Kind::AmqpChannel, channel);
    };
    client.publish(&queue, ["poison".to_owned()]).await;
    member
        .when(&queue, "one is buried", |status| status.counts.failed == 1)
        .await;
    active_channel(false);
    member
        .when(&queue, "paused", |status| {
            status.state == ConnectorState::Paused
        })
        .await;
    let poison = || "poison".to_owned();
    client
        .publish(
            &queue,
            [poison(), poison(), poison()].into_iter().chain(bodies(20)),
        )
        .await;
    broker.ctl(&["set_vm_memory_high_watermark", "0"]).await;
    active_channel(true);
    let seen = member
        .when(&queue, "blocked", |status| {
            says(status, "has blocked the connection") && status.counts.handled == 20
        })
        .await;
    println!("{seen:?}");
    assert_eq!(seen.state, ConnectorState::Active);
    assert!(seen.counts.in_flight > 0);
    broker.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    member
        .when(&queue, "buried after all", |status| {
            status.counts.in_flight == 0 && status.last_error.is_none()
        })
        .await;
    drained(&client, &member, &queue).await;

    let active = member.active(&queue).await;

    // The password changes: the connection that is there stays, another is refused.
    broker.ctl(&["change_password", "orders", "second"]).await;
    broker
        .ctl(&["close_all_user_connections", "orders", "as a test"])
        .await;
    let refused = |status: &ConnectorStatus| says(status, "refused the user \"orders\"");
    member.when(&queue, "refused", refused).await;
    connect("second");
    member.active(&queue).await;

    // The permission to read goes and comes.
    broker
        .ctl(&["set_permissions", "-p", "shop", "orders", ".*", ".*", ""])
        .await;
    broker
        .ctl(&["close_all_user_connections", "orders", "as a test"])
        .await;
    member
        .when(&queue, "may not read", |status| {
            says(status, "may not read the queue")
        })
        .await;
    broker.ctl(&permit).await;
    member.active(&queue).await;

    // The vhost goes and comes.
    broker.ctl(&["delete_vhost", "shop"]).await;
    member
        .when(&queue, "no vhost", |status| {
            status.state == ConnectorState::Failed && says(status, "into the vhost \"shop\"")
        })
        .await;
    broker.ctl(&["add_vhost", "shop"]).await;
    broker.ctl(&permit).await;
    broker
        .ctl(&["set_permissions", "-p", "shop", "guest", ".*", ".*", ".*"])
        .await;
    member
        .when(&queue, "no queue", |status| {
            says(status, "there is no queue")
        })
        .await;
    let client = BrokerClient::connect(&shop).await;
    client.declare(&queue).await;
    let seen = member.active(&queue).await;
    assert_eq!((seen.pid, seen.last_error), (active.pid, None));
    let handled = seen.counts.handled;
    client.publish(&queue, bodies(5)).await;
    member
        .when(&queue, "handled", |status| {
            status.counts.handled == handled + 5
        })
        .await;
}
