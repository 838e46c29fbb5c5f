//! The promise: another leader in office within `failover_ms`.

use std::time::{Duration, Instant};

use quorate_raft::Birth;

use crate::group::{Group, until};

const PROMISE: Duration = Duration::from_millis(500);

/// Waits for another leader in office than `lost`; returns how long it took.
async fn successor(group: &Group, lost: usize, since: Instant) -> Duration {
    let others = group.followers(lost);
    until("a successor", || {
        others.iter().any(|i| group.all[*i].leading())
    })
    .await;
    since.elapsed()
}

fn report(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let max = took[took.len() - 1];
    let median = took[took.len() / 2];
    println!(
        "{what}: {} trials, median {median:?}, max {max:?}",
        took.len()
    );
    // The machine that runs this may be busy with something else now and then, and each
    // trial waits for six fsyncs.
    let missed = took.iter().filter(|t| **t > PROMISE).count();
    assert!(missed <= 1 + took.len() / 20, "{took:?}");
    assert!(max < PROMISE * 2, "{took:?}");
}

#[tokio::test]
async fn a_leader_that_dies_is_replaced_in_time() {
    let mut group = Group::start(3, 500).await;
    let mut took = Vec::new();
    for key in 0..10 {
        let lost = group.settled().await;
        group.all[lost].write(key).await.unwrap();
        group.same().await;
        let since = Instant::now();
        group.all[lost].kill();
        took.push(successor(&group, lost, since).await);
        let other = &group.all[(lost + 1) % 3];
        other.read().await.unwrap();
        assert_eq!(other.view.times(key), 1);
        group.all[lost].start(Birth::Resume).await;
    }
    report("leader killed", took);
}

#[tokio::test]
async fn a_leader_that_falls_silent_is_replaced_in_time() {
    let group = Group::start(3, 500).await;
    let mut took = Vec::new();
    for key in 0..20 {
        let lost = group.settled().await;
        group.all[lost].write(key).await.unwrap();
        group.same().await;
        let since = Instant::now();
        tracing::info!(lost = group.all[lost].id(), "silent");
        group.silence(lost, true);
        took.push(successor(&group, lost, since).await);
        tracing::info!(took = ?took.last(), "replaced");
        // The old leader's lease is over by the time its successor says it is.
        let leader = group
            .followers(lost)
            .into_iter()
            .find(|i| group.all[*i].leading())
            .unwrap();
        let seen = *group.all[leader].node().leadership().borrow();
        let old = *group.all[lost].node().leadership().borrow();
        if old.leading {
            let over = old.heard_at.unwrap() + group.all[lost].timing.lease;
            assert!(seen.lease_clear_at.unwrap() >= over);
        }
        group.silence(lost, false);
    }
    report("leader silent", took);
    group.settled().await;
    group.same().await;
}

#[tokio::test]
async fn the_shortest_promise_is_kept_too() {
    let shortest = Duration::from_millis(100);
    let group = Group::start(3, 100).await;
    let mut took = Vec::new();
    for _ in 0..10 {
        let lost = group.settled().await;
        let since = Instant::now();
        tracing::info!(lost = group.all[lost].id(), "silent");
        group.silence(lost, true);
        took.push(successor(&group, lost, since).await);
        tracing::info!(took = ?took.last(), "replaced");
        group.silence(lost, false);
    }
    took.sort();
    println!(
        "leader silent at {shortest:?}: median {:?}, max {:?}",
        took[5], took[9]
    );
    // Single ones may be late where something else has the machine: 128 ms were seen with
    // four busy loops and a writer that fsyncs beside it.
    assert!(took[5] <= shortest, "{took:?}");
    assert!(took[9] <= shortest * 5, "{took:?}");
}

#[tokio::test]
async fn nobody_is_replaced_without_a_reason() {
    let group = Group::start(3, 500).await;
    let leader = group.settled().await;
    let term = group.all[leader].node().leadership().borrow().term;
    // A follower that was cut off does not disturb the others when it comes back.
    let away = (leader + 1) % 3;
    for key in 0..3 {
        group.silence(away, true);
        let blind = &group.all[away];
        until("the follower has lost its leader", || {
            let seen = *blind.node().leadership().borrow();
            seen.heard_at.is_none_or(|at| at.elapsed() > PROMISE * 2)
        })
        .await;
        group.all[leader].write(key).await.unwrap();
        group.silence(away, false);
        until("the follower is back", || blind.view.times(key) == 1).await;
        let seen = *group.all[leader].node().leadership().borrow();
        assert_eq!(
            (seen.leader, seen.term),
            (Some(group.all[leader].id()), term)
        );
    }
}
