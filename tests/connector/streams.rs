//! Streams: each message is handled, whatever ends a session.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use nix::sys::signal::Signal;
use quorate_clock::Instant;
use quorate_resources::Kind;
use quorate_supervisor::ConnectorState;
use serde_json::json;
use tokio::time::sleep;

use super::{load::*, world::*};

const STREAM: &[(&str, &str)] = &[("x-queue-type", "stream")];

/// A group with a channel from a stream of this name, behind this fence.
async fn streaming(queue: &str, fence: &str) -> (BrokerClient, Arc<SimulatedGroup>) {
    let broker = broker().await;
    let client = broker.client().await;
    client.declare_with(queue, STREAM).await;
    let group = SimulatedGroup::with_services();
    let mut connection = connection(broker.port());
    connection["fence"] = json!(fence);
    group.put(Kind::AmqpConnection, connection);
    group.put(Kind::AmqpChannel, channel(queue));
    (client, group)
}

/// Waits until each of the first so many was handled; how many of them more than once.
async fn all_handled(group: &SimulatedGroup, published: usize) -> usize {
    eventually("each is handled", async || {
        let handled = group.calls_by_body();
        let missing = bodies(published).filter(|body| !handled.contains_key(body));
        (missing.count() == 0).then_some(())
    })
    .await;
    group.calls_by_body().values().map(|times| times - 1).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_no_fence_and_says_so() {
    let queue = unique("stream-fence");
    let (client, group) = streaming(&queue, "exclusive").await;
    client.publish(&queue, bodies(5)).await;
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    let refused = member
        .when(&queue, "it is refused", |status| {
            status.state == ConnectorState::Failed && says(status, "is a stream")
        })
        .await;
    assert!(says(&refused, "fence: lease"), "{refused:?}");
    assert!(group.calls.lock().is_empty());
}

/// What came before, between and during its sessions.
// guarantee: MESSAGE-10
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_passes_over_nothing_between_its_sessions() {
    let queue = unique("stream-pauses");
    let (client, group) = streaming(&queue, "lease").await;
    let mut published = 0;
    let mut publish = async |count: usize| {
        let next = (published..published + count).map(|n| n.to_string());
        client.publish(&queue, next).await;
        published += count;
        published
    };
    publish(5).await;
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    let all = publish(5).await;
    assert_eq!(all_handled(&group, all).await, 0);
    let pause = |paused: bool| {
        let mut channel = channel(&queue);
        channel["active"] = json!(!paused);
        group.put(Kind::AmqpChannel, channel);
    };
    pause(true);
    member
        .when(&queue, "paused", |it| it.state == ConnectorState::Paused)
        .await;
    publish(5).await;
    pause(false);
    let all = publish(5).await;
    // An end in order repeats nothing.
    assert_eq!(all_handled(&group, all).await, 0);
    let mut smaller = channel(&queue);
    smaller["prefetch"] = json!(3);
    group.put(Kind::AmqpChannel, smaller);
    let all = publish(20).await;
    assert_eq!(all_handled(&group, all).await, 0);
    assert_eq!(member.status(&queue).unwrap().counts.waiting, None);
}

/// All from the first message on that is not settled comes again in the next session: how many
/// of those were handled is bounded.
// guarantee: MESSAGE-10
#[tokio::test(flavor = "multi_thread")]
async fn stream_runs_at_most_prefetch_ahead_of_failure() {
    let queue = unique("stream-ahead");
    let (client, group) = streaming(&queue, "lease").await;
    let put = |active: bool| {
        let mut it = channel(&queue);
        it["prefetch"] = json!(5);
        it["on_failure"] = json!({"retries": 5, "backoff_ms": 60_000, "backoff_max_ms": 60_000});
        it["active"] = json!(active);
        group.put(Kind::AmqpChannel, it);
    };
    put(true);
    group.behave(|call| {
        let code = if call.body == "0" { 500 } else { 200 };
        (Duration::ZERO, status(code))
    });
    client.publish(&queue, bodies(20)).await;
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member
        .when(&queue, "those behind it are handled", |status| {
            status.counts.handled == 4
        })
        .await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(group.calls_by_body().len(), 5);
    group.behave(|_| (Duration::ZERO, status(200)));
    put(false);
    member
        .when(&queue, "paused", |it| it.state == ConnectorState::Paused)
        .await;
    put(true);
    let again = all_handled(&group, 20).await;
    assert!(again <= 5, "{again} were handled again");
}

// guarantee: MESSAGE-10
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_loses_nothing_to_kills_and_takeovers() {
    let queue = unique("stream-kills");
    let (_client, group) = streaming(&queue, "lease").await;
    group.behave(|_| (Duration::from_millis(2), status(200)));
    let one = SimulatedMember::start(&group, 1, 500);
    let two = SimulatedMember::start(&group, 2, 500);
    one.lead(2);
    one.active(&queue).await;
    let load = Load::start(broker().await, &queue, Duration::from_millis(5)).await;
    let progress = async || {
        let enough = group.calls.lock().len() + 100;
        eventually("more calls", async || {
            (group.calls.lock().len() >= enough).then_some(())
        })
        .await;
    };
    let (mut now, mut then, mut term) = (&one, &two, 2);
    for round in 0..6 {
        progress().await;
        if round % 2 == 0 {
            let pid = now.active(&queue).await.pid.unwrap();
            signal(pid, Signal::SIGKILL);
            now.when(&queue, "another process", |status| {
                status.state == ConnectorState::Active && status.pid != Some(pid)
            })
            .await;
            continue;
        }
        let parted = (round == 3).then_some(now.handle.release(Duration::from_secs(5)));
        let parted = match parted {
            Some(release) => Some(release.await),
            None => None,
        };
        term += 1;
        now.step_down(term);
        then.lead(term);
        then.active(&queue).await;
        drop(parted);
        std::mem::swap(&mut now, &mut then);
    }
    progress().await;
    let published = load.finish().await;
    let again = all_handled(&group, published).await;
    println!("{published} messages through kills and takeovers: {again} handled again");
}

/// A message that fails for good is dead-lettered, and the stream goes on.
// guarantee: MESSAGE-10
#[tokio::test(flavor = "multi_thread")]
async fn permanently_failed_stream_message_is_dead_lettered() {
    let queue = unique("stream-dead");
    let (client, group) = streaming(&queue, "lease").await;
    let dead = format!("{queue}-dead");
    client.declare(&dead).await;
    let mut with_dead_letter = channel(&queue);
    with_dead_letter["on_failure"]["dead_letter"] = json!(dead);
    group.put(Kind::AmqpChannel, with_dead_letter);
    group.behave(|call| {
        let code = if call.body == "3" { 500 } else { 200 };
        (Duration::ZERO, status(code))
    });
    client.publish(&queue, bodies(10)).await;
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member
        .when(&queue, "all done", |status| {
            (status.counts.handled, status.counts.failed) == (9, 1)
        })
        .await;
    let letter = client.take(&dead).await.unwrap();
    assert_eq!(letter.data, b"3");
    let bodies: BTreeSet<String> = group.calls_by_body().into_keys().collect();
    assert_eq!(bodies.len(), 10);
}

/// Deleted and declared anew, it has less than what the channel has come to: what it has now
/// must not count as handled.
// guarantee: MESSAGE-10
#[tokio::test(flavor = "multi_thread")]
async fn redeclared_stream_is_reported_and_nothing_skipped() {
    let queue = unique("stream-anew");
    let (client, group) = streaming(&queue, "lease").await;
    let put = |active: bool| {
        let mut it = channel(&queue);
        it["active"] = json!(active);
        group.put(Kind::AmqpChannel, it);
    };
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    client.publish(&queue, bodies(20)).await;
    assert_eq!(all_handled(&group, 20).await, 0);
    let paused = async || {
        put(false);
        member
            .when(&queue, "paused", |it| it.state == ConnectorState::Paused)
            .await;
    };
    let anew = async || {
        client.delete(&queue).await;
        client.declare_with(&queue, STREAM).await;
        group.calls.lock().clear();
    };
    let told = async || {
        let failed = member
            .when(&queue, "it is told", |status| {
                status.state == ConnectorState::Failed && says(status, "declared anew")
            })
            .await;
        let command = format!("quorate delete amqp_channel {queue}");
        assert!(says(&failed, &command), "{failed:?}");
        assert!(group.calls.lock().is_empty());
    };
    paused().await;
    anew().await;
    client.publish(&queue, bodies(5)).await;
    put(true);
    told().await;
    // It stays so, whatever comes.
    client.publish(&queue, ["5".to_owned()]).await;
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        let seen = member.status(&queue).unwrap();
        assert_eq!(seen.state, ConnectorState::Failed, "{seen:?}");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(group.calls.lock().is_empty());
    // As the reason says.
    group.put_anew(Kind::AmqpChannel, channel(&queue));
    assert_eq!(all_handled(&group, 6).await, 0);

    // Of one that is empty yet nothing can be told.
    paused().await;
    anew().await;
    put(true);
    member.active(&queue).await;
    client.publish(&queue, bodies(1)).await;
    told().await;
}

/// What ends just where the channel is to go on is as it should be.
// guarantee: MESSAGE-10
#[tokio::test(flavor = "multi_thread")]
async fn fully_handled_stream_is_not_considered_redeclared() {
    let queue = unique("stream-all");
    let (client, group) = streaming(&queue, "lease").await;
    client.publish(&queue, bodies(300)).await;
    let put = |active: bool| {
        let mut it = channel(&queue);
        it["active"] = json!(active);
        group.put(Kind::AmqpChannel, it);
    };
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    all_handled(&group, 300).await;
    put(false);
    member
        .when(&queue, "paused", |it| it.state == ConnectorState::Paused)
        .await;
    put(true);
    member.active(&queue).await;
    // Longer than it is looked for its end.
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        let seen = member.status(&queue).unwrap();
        assert_eq!(seen.state, ConnectorState::Active, "{seen:?}");
        sleep(Duration::from_millis(50)).await;
    }
    client.publish(&queue, ["300".to_owned()]).await;
    assert_eq!(all_handled(&group, 301).await, 0);
}
