//! How often a message is tried, across sessions.

use std::{sync::Arc, time::Duration};

use lapin::types::AMQPValue;
use nix::sys::signal::Signal;
use quorate_clock::Instant;
use quorate_resources::Kind;
use quorate_supervisor::ConnectorState;
use serde_json::json;

use super::world::*;

fn attempts(group: &SimulatedGroup) -> Vec<u32> {
    group.calls.lock().iter().map(|call| call.attempt).collect()
}

/// Of each takeover and each kill a message would otherwise get all its tries again.
// guarantee: MESSAGE-9
#[tokio::test(flavor = "multi_thread")]
async fn tries_go_on_after_takeovers_and_kills() {
    let (broker, queue) = (broker().await, unique("tries"));
    let dead = format!("{queue}-dead");
    let client = broker.client().await;
    client.declare(&queue).await;
    client.declare(&dead).await;
    let group = group_with_channel(broker, &queue);
    let mut poor = channel(&queue);
    // Longer than it takes to end a session.
    poor["on_failure"] =
        json!({"retries": 4, "backoff_ms": 3000, "backoff_max_ms": 3000, "dead_letter": dead});
    group.put(Kind::AmqpChannel, poor);
    group.behave(|_| (Duration::ZERO, status(500)));
    let one = SimulatedMember::start(&group, 1, 500);
    let two = SimulatedMember::start(&group, 2, 500);
    one.lead(2);
    one.active(&queue).await;
    client.publish(&queue, bodies(1)).await;
    let tried = async |times: usize| {
        eventually("it is tried", async || {
            (group.calls.lock().len() >= times).then_some(())
        })
        .await;
        // What it has come to is written a moment later.
        eventually("its tries are kept", async || {
            let state = group.state();
            let kept = state.progress().get(Kind::AmqpChannel, &queue);
            (!kept.is_empty()).then_some(())
        })
        .await;
    };
    tried(1).await;
    one.step_down(3);
    two.lead(3);
    tried(2).await;
    // At least a second after the first, so it is written by then.
    let kept = group.state().progress().get(Kind::AmqpChannel, &queue);
    eventually("the second try is kept", async || {
        (group.state().progress().get(Kind::AmqpChannel, &queue) != kept
            || attempts(&group) == [1, 2])
        .then_some(())
    })
    .await;
    let pid = two.active(&queue).await.pid.unwrap();
    signal(pid, Signal::SIGKILL);
    eventually("it is dead-lettered", async || {
        (client.count(&dead).await.0 == 1).then_some(())
    })
    .await;
    println!("attempts: {:?}", attempts(&group));
    let attempts = attempts(&group);
    assert_eq!(attempts[..2], [1, 2]);
    assert_eq!(*attempts.last().unwrap(), 5);
    // Each once, but for one that was not written before the process was killed.
    assert!(attempts.len() <= 6, "{attempts:?}");
    eventually("nothing is kept of it", async || {
        let state = group.state();
        let kept = state.progress().get(Kind::AmqpChannel, &queue);
        kept.is_empty().then_some(())
    })
    .await;
}

/// A broker of its own that takes all back when one message was not acknowledged for 3 s, and
/// a member that consumes from a queue of it.
struct Impatient {
    group: Arc<SimulatedGroup>,
    member: SimulatedMember,
    client: BrokerClient,
    queue: String,
    dead: String,
    _broker: RabbitBroker,
}

impl Impatient {
    async fn start(what: &str, retries: u32, backoff_ms: u64) -> Impatient {
        let broker = RabbitBroker::start().await;
        let patience = "application:set_env(rabbit, consumer_timeout, 3000), application:set_env(rabbit, channel_tick_interval, 500).";
        broker.ctl(&["eval", patience]).await;
        let queue = unique(what);
        let dead = format!("{queue}-dead");
        let client = broker.client().await;
        client.declare(&queue).await;
        client.declare(&dead).await;
        let group = group_with_channel(&broker, &queue);
        let mut poor = channel(&queue);
        poor["on_failure"] = json!({"retries": retries, "backoff_ms": backoff_ms,
                                    "backoff_max_ms": backoff_ms, "dead_letter": dead});
        group.put(Kind::AmqpChannel, poor);
        let member = SimulatedMember::start(&group, 1, 2000);
        member.lead(2);
        member.active(&queue).await;
        Impatient {
            group,
            member,
            client,
            queue,
            dead,
            _broker: broker,
        }
    }

    async fn dead_lettered(&self) {
        eventually("it is dead-lettered", async || {
            (self.client.count(&self.dead).await.0 == 1).then_some(())
        })
        .await;
    }
}

// guarantee: MESSAGE-9
#[tokio::test(flavor = "multi_thread")]
async fn waits_beyond_consumer_timeout_are_reported_and_end() {
    let bed = Impatient::start("patience", 2, 60_000).await;
    let Impatient {
        group,
        member,
        client,
        queue,
        ..
    } = &bed;
    group.behave(|_| (Duration::ZERO, status(500)));
    let began = Instant::now();
    client.publish(queue, bodies(1)).await;
    member
        .when(queue, "it is told", |status| {
            status.state == ConnectorState::Active && says(status, "consumer_timeout")
        })
        .await;
    bed.dead_lettered().await;
    println!(
        "after {:?}: attempts {:?}",
        began.elapsed(),
        attempts(group)
    );
    assert_eq!(attempts(group), [1, 2, 3]);
    // What works again says so.
    group.behave(|_| (Duration::ZERO, status(200)));
    client.publish(queue, ["fine".to_owned()]).await;
    member
        .when(queue, "the error is over", |status| {
            status.last_error.is_none()
        })
        .await;
}

/// A call that outlasts the broker's patience would otherwise begin with its first try for
/// ever.
// guarantee: MESSAGE-9
#[tokio::test(flavor = "multi_thread")]
async fn call_beyond_consumer_timeout_counts_as_try() {
    let bed = Impatient::start("overlong", 1, 20).await;
    bed.group.behave(|_| (Duration::from_secs(30), status(200)));
    bed.client.publish(&bed.queue, bodies(1)).await;
    bed.dead_lettered().await;
    let letter = bed.client.take(&bed.dead).await.unwrap();
    let headers = letter.properties.headers().clone().unwrap();
    let AMQPValue::LongString(reason) = &headers.inner()["x-quorate-reason"] else {
        panic!()
    };
    let reason = String::from_utf8_lossy(reason.as_bytes()).into_owned();
    assert!(reason.contains("consumer_timeout"), "{reason}");
}

/// Many messages are the same in all that they have.
#[tokio::test(flavor = "multi_thread")]
async fn identical_message_has_its_own_tries() {
    let (broker, queue) = (broker().await, unique("alike"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let group = group_with_channel(broker, &queue);
    let mut poor = channel(&queue);
    // There is no such queue, so the first one stays.
    poor["on_failure"] = json!({"retries": 1, "backoff_ms": 20, "backoff_max_ms": 20,
                                "dead_letter": format!("{queue}-dead")});
    group.put(Kind::AmqpChannel, poor);
    group.behave(|_| (Duration::ZERO, status(500)));
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member.active(&queue).await;
    client.publish(&queue, ["alike".to_owned()]).await;
    member
        .when(&queue, "it is given up", |status| {
            says(status, "no dead-letter queue")
        })
        .await;
    group.behave(|_| (Duration::ZERO, status(200)));
    client.publish(&queue, ["alike".to_owned()]).await;
    member
        .when(&queue, "the other one is handled", |status| {
            status.counts.handled == 1
        })
        .await;
    assert_eq!(attempts(&group), [1, 2, 1]);
}
