//! `pool_size`: at most so many messages of a channel are with its service at a time.

use std::time::Duration;

use nix::sys::signal::Signal;
use quorate_clock::Instant;
use quorate_resources::Kind;
use serde_json::json;

use super::{load::*, world::*};

const TAKES: Duration = Duration::from_millis(50);

/// Most calls at a time that began from `from` on. Each lasts at least as long as it takes.
fn at_once(group: &SimulatedGroup, from: Instant) -> usize {
    let calls = group.calls.lock();
    let begun: Vec<Instant> = calls
        .iter()
        .map(|call| call.at)
        .filter(|at| *at >= from)
        .collect();
    let running = |at: Instant| {
        begun
            .iter()
            .filter(move |it| **it <= at && at < **it + TAKES)
    };
    begun.iter().map(|at| running(*at).count()).max().unwrap()
}

// guarantee: MESSAGE-15
#[tokio::test(flavor = "multi_thread")]
async fn pool_size_bounds_messages_with_service() {
    let (broker, queue) = (broker().await, unique("pool"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let group = group_with_channel(broker, &queue);
    let sized = |size: u16| {
        let mut sized = channel(&queue);
        (sized["prefetch"], sized["pool_size"]) = (json!(30), json!(size));
        group.put(Kind::AmqpChannel, sized);
    };
    let handled = Handled::default();
    // Every third waits for another try, and leaves its place to others meanwhile.
    handled.serve(&group, |call, n| {
        (
            TAKES,
            if n % 3 == 0 && call.attempt == 1 {
                500
            } else {
                200
            },
        )
    });
    client.publish(&queue, bodies(900)).await;
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    for size in [5, 2, 7, 1] {
        sized(size);
        // Then those that were begun before have ended.
        handled.more(30).await;
        let from = Instant::now();
        handled.more(20 * usize::from(size)).await;
        assert_eq!(at_once(&group, from), usize::from(size));
    }
    sized(30);
    member
        .when(&queue, "all handled", |status| status.counts.handled == 900)
        .await;
    drained(&client, &member, &queue).await;
    assert_eq!((handled.times().len(), handled.again()), (900, 0));
}

/// Calls that a lost process has left running keep their places.
// guarantee: MESSAGE-15
#[tokio::test(flavor = "multi_thread")]
async fn dead_process_calls_count_against_changed_pool_size() {
    let (broker, queue) = (broker().await, unique("places"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let group = group_with_channel(broker, &queue);
    let handled = Handled::default();
    handled.serve(&group, |_, _| (Duration::from_secs(4), 200));
    client.publish(&queue, bodies(30)).await;
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    let before = member
        .when(&queue, "ten with the service", |status| {
            status.counts.in_flight == 10
        })
        .await;
    eventually("ten calls", async || {
        (group.calls.lock().len() == 10).then_some(())
    })
    .await;
    let mut smaller = channel(&queue);
    smaller["pool_size"] = json!(3);
    group.put(Kind::AmqpChannel, smaller);
    signal(before.pid.unwrap(), Signal::SIGKILL);
    let begun = group.calls.lock()[0].at;
    member
        .when(&queue, "in flight in another process", |status| {
            status.pid != before.pid && status.counts.in_flight == 10
        })
        .await;
    assert!(begun.elapsed() < Duration::from_secs(3), "too slow to tell");
    let third = eventually("a call of the other process", async || {
        group.calls.lock().get(10).map(|call| call.at)
    })
    .await;
    let waited = third - begun;
    assert!(
        waited >= Duration::from_secs(4),
        "it was called after {waited:?}"
    );
}
