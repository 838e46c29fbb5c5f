//! What the tests with RabbitMQ add to the simulated group.

use std::sync::Arc;

use quorate_resources::Kind;
pub use quorate_simulated_group::*;
use quorate_supervisor::{ConnectorState, ConnectorStatus};
pub use quorate_testkit::{
    process::signal,
    programs::QUORATE,
    rabbitmq::{BrokerClient, RabbitBroker},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The broker that most tests share; each has queues of its own.
pub async fn broker() -> &'static RabbitBroker {
    static BROKER: OnceCell<RabbitBroker> = OnceCell::const_new();
    BROKER.get_or_init(RabbitBroker::start).await
}

/// A group with a channel from a queue of this name on this broker to `store`.
pub fn group_with_channel(broker: &RabbitBroker, queue: &str) -> Arc<SimulatedGroup> {
    let group = SimulatedGroup::with_services();
    group.put(Kind::AmqpConnection, connection(broker.port()));
    group.put(Kind::AmqpChannel, channel(queue));
    group
}

pub fn connection(port: u16) -> Value {
    json!({"name": "broker", "host": "127.0.0.1", "port": port, "username": "guest", "password": "guest"})
}

/// Behind the lease alone.
pub fn leased(port: u16) -> Value {
    let mut connection = connection(port);
    connection["fence"] = json!("lease");
    connection
}

/// The channel is named as its queue.
pub fn channel(queue: &str) -> Value {
    json!({"name": queue, "connection": "broker", "queue": queue, "service": "store",
           "on_failure": {"retries": 2, "backoff_ms": 20, "backoff_max_ms": 100}})
}

/// A member that leads in term 2 with a channel from this queue, and consumes.
pub async fn consuming_member(
    broker: &RabbitBroker,
    queue: &str,
    failover_ms: u64,
) -> SimulatedMember {
    let member = SimulatedMember::start(&group_with_channel(broker, queue), 1, failover_ms);
    member.lead(2);
    member.active(queue).await;
    member
}

/// A channel that begins while a member reigns, from a queue that is no fence: it is refused
/// with that reason, and how to have it nevertheless. Gives the reason, too.
pub async fn refused_behind_exclusive(
    broker: &RabbitBroker,
    queue: &str,
) -> (Arc<SimulatedGroup>, SimulatedMember, String) {
    let group = SimulatedGroup::with_services();
    group.put(Kind::AmqpConnection, connection(broker.port()));
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    let acting = member.handle.reign();
    eventually("it acts", async || acting.borrow().acting.then_some(())).await;
    group.put(Kind::AmqpChannel, channel(queue));
    let refused = member
        .when(queue, "it is refused", |status| {
            status.state == ConnectorState::Failed && says(status, "fence: lease")
        })
        .await;
    assert_eq!(refused.counts.handled, 0);
    assert!(group.calls.lock().is_empty());
    (group, member, refused.last_error.unwrap())
}

/// Behind the lease it is consumed, all of it that is left.
pub async fn handled_behind_the_lease(
    group: &SimulatedGroup,
    member: &SimulatedMember,
    (broker, client): (&RabbitBroker, &BrokerClient),
    (queue, left): (&str, u64),
) {
    group.put(Kind::AmqpConnection, leased(broker.port()));
    member
        .when(queue, "all handled", |status| status.counts.handled == left)
        .await;
    drained(client, member, queue).await;
}

/// Whether it tells of an error with these words.
pub fn says(status: &ConnectorStatus, what: &str) -> bool {
    status
        .last_error
        .as_deref()
        .is_some_and(|error| error.contains(what))
}

/// Waits until the queue is empty and nothing of it is in flight.
pub async fn drained(client: &BrokerClient, member: &SimulatedMember, queue: &str) {
    eventually("the queue is empty", async || {
        (client.count(queue).await.0 == 0).then_some(())
    })
    .await;
    member
        .when(queue, "nothing in flight", |status| {
            status.counts.in_flight == 0
        })
        .await;
}
