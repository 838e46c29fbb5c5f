//! Processes that stand by on the members that don't run the connectors.

use std::time::Duration;

use nix::sys::signal::Signal;
use quorate_clock::Instant;
use quorate_resources::Kind;
use quorate_supervisor::{ConnectorState, ConnectorStatus};
use quorate_testkit::process::send;
use quorate_types::Role;
use serde_json::json;

use super::world::*;

fn standby(status: &ConnectorStatus) -> bool {
    status.state == ConnectorState::Standby
}

/// Ready for the second of two members: a queue, and a connector server in term 2.
async fn two(queue: &str, failover_ms: u64) -> (SimulatedMember, SimulatedMember) {
    let broker = broker().await;
    broker.client().await.declare(queue).await;
    let group = group_with_channel(broker, queue);
    let first = SimulatedMember::start(&group, 1, failover_ms);
    let second = SimulatedMember::start(&group, 2, failover_ms);
    first.lead(2);
    first.active(queue).await;
    second.when(queue, "standby", standby).await;
    (first, second)
}

/// Dies with everything that it runs, as its process does.
async fn die(member: SimulatedMember, queue: &str) {
    let pid = member.status(queue).unwrap().pid.unwrap();
    drop(member);
    send(Signal::SIGKILL, &[pid]);
}

// guarantee: FAILOVER-11
#[tokio::test(flavor = "multi_thread")]
async fn standby_is_connected_idle_and_activates_in_place() {
    let queue = unique("warm");
    let (first, second) = two(&queue, 1000).await;
    let client = broker().await.client().await;
    assert_eq!(client.count(&queue).await.1, 1);
    let before = second.status(&queue).unwrap();
    assert_eq!((before.member.as_str(), before.epoch), ("member-2", None));
    second.group.behave(|_| (Duration::ZERO, status(200)));
    die(first, &queue).await;
    second.lead(3);
    let at = Instant::now();
    client.publish(&queue, bodies(1)).await;
    let after = second
        .when(&queue, "handled", |status| status.counts.handled == 1)
        .await;
    println!("handled {:?} after the election", at.elapsed());
    assert_eq!(after.pid, before.pid);
    assert!(after.epoch.is_some() && after.state == ConnectorState::Active);
    assert!(at.elapsed() < Duration::from_millis(1500));
}

/// Many messages while the member is elected and its takeover isn't committed: they wait
/// in the process, and are handled under the new epoch and no other.
// guarantee: FAILOVER-11, FENCE-11
#[tokio::test(flavor = "multi_thread")]
async fn prepared_process_hands_on_nothing_before_reign() {
    let queue = unique("prepared");
    let (first, second) = two(&queue, 2000).await;
    let client = broker().await.client().await;
    let old = first.status(&queue).unwrap().epoch;
    first.handle.shutdown(Duration::from_secs(1)).await;
    client.publish(&queue, bodies(30)).await;
    second.elect(3, Instant::now());
    eventually("it holds the queue, with messages", async || {
        (client.count(&queue).await == (20, 1)).then_some(())
    })
    .await;
    // It holds them: it doesn't let go and begin anew.
    for _ in 0..60 {
        assert_eq!(client.count(&queue).await, (20, 1));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(second.group.calls.lock().len(), 0);
    assert_ne!(second.status(&queue).unwrap().state, ConnectorState::Active);
    second.confirmed();
    drained(&client, &second, &queue).await;
    eventually("all were handled", async || {
        (second.group.calls_by_body().len() == 30).then_some(())
    })
    .await;
    let reign = *second.group.state().reign();
    assert!(Some(reign.epoch) > old);
    let calls = second.group.calls.lock().clone();
    assert!(
        calls
            .iter()
            .all(|call| call.epoch == reign.epoch && call.attempt == 1)
    );
    assert_eq!(calls.len(), 30, "none was handed out twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn preparation_ends_with_election_loss_or_timeout() {
    let queue = unique("given-up");
    let (first, second) = two(&queue, 1000).await;
    let client = broker().await.client().await;
    first.handle.shutdown(Duration::from_secs(1)).await;
    client.publish(&queue, bodies(3)).await;
    let holds = async || (client.count(&queue).await == (0, 1)).then_some(());
    let free = async || (client.count(&queue).await == (3, 0)).then_some(());
    // Another one is elected after all.
    second.elect(3, Instant::now());
    eventually("it holds the queue", holds).await;
    second.step_down(4);
    eventually("it gave the queue up", free).await;
    // Nothing is heard of the takeover.
    second.elect(5, Instant::now());
    eventually("it holds the queue", holds).await;
    let since = Instant::now();
    eventually("it gave the queue up", free).await;
    println!("given up after {:?}", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(3));
    assert_eq!(second.group.calls.lock().len(), 0);
    // It comes late.
    second.confirmed();
    drained(&client, &second, &queue).await;
}

/// Each refusal closes the broker's channel; in the end it is let in.
// guarantee: FAILOVER-9, FENCE-6
#[tokio::test(flavor = "multi_thread")]
async fn prepared_process_waits_for_old_consumer() {
    let queue = unique("refused");
    let (first, second) = two(&queue, 2000).await;
    let client = broker().await.client().await;
    second.elect(3, Instant::now());
    second
        .when(&queue, "refused", |status| {
            status
                .last_error
                .as_ref()
                .is_some_and(|error| error.contains("another consumer has the queue"))
        })
        .await;
    assert_eq!(client.count(&queue).await.1, 1);
    second.confirmed();
    die(first, &queue).await;
    let at = Instant::now();
    second.active(&queue).await;
    println!("consuming {:?} after the old one was killed", at.elapsed());
    client.publish(&queue, bodies(1)).await;
    drained(&client, &second, &queue).await;
    assert_eq!(second.group.calls.lock().len(), 1);
}

// guarantee: FAILOVER-10
#[tokio::test(flavor = "multi_thread")]
async fn released_process_is_parked_and_reused_next_reign() {
    let queue = unique("parked");
    let (first, second) = two(&queue, 2000).await;
    let client = broker().await.client().await;
    let (one, two) = (
        first.status(&queue).unwrap(),
        second.status(&queue).unwrap(),
    );
    let at = Instant::now();
    let _parted = first.handle.release(Duration::from_secs(5)).await;
    println!("released in {:?}", at.elapsed());
    assert_eq!(client.count(&queue).await.1, 0);
    assert!(first.group.state().reign().released);
    assert!(is_alive(one.pid.unwrap()));
    first.step_down(3);
    second.lead(3);
    let after = second.active(&queue).await;
    println!("consuming {:?} after the release began", at.elapsed());
    assert_eq!(after.pid, two.pid);
    assert!(second.group.state().reign().clear);
    // And back.
    first.when(&queue, "standby", standby).await;
    let _parted = second.handle.release(Duration::from_secs(5)).await;
    second.step_down(4);
    first.lead(4);
    let back = first.active(&queue).await;
    assert_eq!(back.pid, one.pid);
    client.publish(&queue, bodies(3)).await;
    drained(&client, &first, &queue).await;
}

/// A process that does not park is killed; the release waits for its end.
// guarantee: FAILOVER-10, FENCE-10
#[tokio::test(flavor = "multi_thread")]
async fn unparked_process_is_killed_before_release() {
    let queue = unique("unparked");
    let (first, _second) = two(&queue, 10_000).await;
    let pid = first.status(&queue).unwrap().pid.unwrap();
    signal(pid, Signal::SIGSTOP);
    let _parted = first.handle.release(Duration::from_millis(100)).await;
    assert!(
        !is_alive(pid),
        "the release came before the end of the process"
    );
    assert!(first.group.state().reign().released);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_is_killed_and_replaced() {
    let queue = unique("hanging");
    let (_first, second) = two(&queue, 1000).await;
    let pid = second.status(&queue).unwrap().pid.unwrap();
    signal(pid, Signal::SIGSTOP);
    second
        .when(&queue, "another one", |status| {
            standby(status) && status.pid != Some(pid)
        })
        .await;
    assert!(!is_alive(pid));
}

// guarantee: FAILOVER-11
#[tokio::test(flavor = "multi_thread")]
async fn changed_settings_reach_standby_process() {
    let (queue, other) = (unique("changed"), unique("changed-to"));
    let (first, second) = two(&queue, 1000).await;
    let client = broker().await.client().await;
    client.declare(&other).await;
    let before = second.status(&queue).unwrap();
    let mut wrong = connection(broker().await.port());
    wrong["password"] = "wrong".into();
    second.group.put(Kind::AmqpConnection, wrong);
    // Shown on the one that stands by, before it is needed.
    let failed = second
        .when(&queue, "failed", |status| {
            status.state == ConnectorState::Failed
                && status
                    .last_error
                    .as_ref()
                    .is_some_and(|error| error.contains("refused the user"))
        })
        .await;
    assert_eq!((failed.pid, failed.member), (before.pid, "member-2".into()));
    second
        .group
        .put(Kind::AmqpConnection, connection(broker().await.port()));
    let again = second.when(&queue, "standby", standby).await;
    assert_eq!((again.pid, again.last_error), (before.pid, None));
    let mut moved = channel(&queue);
    moved["queue"] = other.clone().into();
    second.group.put(Kind::AmqpChannel, moved);
    die(first, &queue).await;
    second.lead(3);
    client.publish(&other, bodies(2)).await;
    second
        .when(&queue, "handled from the other queue", |status| {
            status.counts.handled == 2
        })
        .await;
    // Paused: nothing stands by.
    let third = SimulatedMember::start(&second.group, 3, 1000);
    third.when(&queue, "standby", standby).await;
    let mut paused = channel(&queue);
    paused["active"] = false.into();
    second.group.put(Kind::AmqpChannel, paused);
    eventually("gone", async || {
        third.status(&queue).is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cold_and_excess_connectors_start_on_demand() {
    let broker = broker().await;
    let client = broker.client().await;
    let queues: Vec<String> = ["a", "b", "c"]
        .map(|name| unique(&format!("bound-{name}")))
        .into();
    let group = group_with_channel(broker, &queues[0]);
    for queue in &queues {
        client.declare(queue).await;
        group.put(Kind::AmqpChannel, channel(queue));
    }
    let mut cold = channel(&queues[0]);
    cold["standby"] = json!("cold");
    group.put(Kind::AmqpChannel, cold);
    let learner = SimulatedMember::start_as(&group, 2, 1000, Role::Learner, 200);
    let member = SimulatedMember::start_as(&group, 1, 1000, Role::Voter, 1);
    member.when(&queues[1], "standby", standby).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let statuses = member.handle.statuses().borrow().len();
    assert_eq!(statuses, 1, "only the first warm one stands by");
    assert!(learner.handle.statuses().borrow().is_empty());
    member.lead(2);
    for queue in &queues {
        member.active(queue).await;
    }
}
