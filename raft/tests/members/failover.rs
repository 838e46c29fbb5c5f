//! Failover promise: another member leads within `failover_ms`.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_raft::NodeStartMode;
use quorate_types::Timing;

use crate::group::{Group, until};

const PROMISE: Duration = Duration::from_millis(500);

/// Waits for a leader other than `lost`; returns how long it took.
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
        group.all[lost].start(NodeStartMode::Resume).await;
    }
    report("leader killed", took);
}

// guarantee: FAILOVER-4
#[tokio::test]
async fn silent_leader_is_replaced_in_time() {
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

// guarantee: FAILOVER-13
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

/// Members far from each other: a round trip takes 40 to 80 ms.
// guarantee: FAILOVER-14
#[tokio::test]
async fn distant_leader_keeps_its_lease_and_is_replaced() {
    let ms = Duration::from_millis;
    let group = Group::start(3, 500).await;
    let leader = group.settled().await;
    group.all_there().await;
    let term = group.all[leader].node().leadership().borrow().term;
    group.links.delay(ms(20), ms(40));
    let (mut held, mut looks) = (0, 0);
    for key in 0..30 {
        group.all[key % 3].write(key as u64).await.unwrap();
        group.all[key % 3].read().await.unwrap();
        let look_until = Instant::now() + ms(100);
        until("some looks at the lease", || {
            let seen = *group.all[leader].node().leadership().borrow();
            held += u32::from(seen.heard_at.is_some_and(|at| at.elapsed() < seen.lease));
            looks += 1;
            Instant::now() > look_until
        })
        .await;
    }
    println!("the lease was held at {held} of {looks} looks");
    assert!(held * 100 >= looks * 95, "{held} of {looks}");
    let seen = *group.all[leader].node().leadership().borrow();
    assert!(seen.leading && seen.term == term, "{seen:?}");
    let trips = group.all[leader].node().round_trips();
    assert!(
        trips.values().all(|it| (ms(40)..ms(100)).contains(it)),
        "{trips:?}"
    );

    let since = Instant::now();
    group.silence(leader, true);
    let took = successor(&group, leader, since).await;
    println!("replaced after {took:?}");
    assert!(took < PROMISE * 2, "{took:?}");
    group.silence(leader, false);
    group.links.delay(ms(0), ms(0));
    group.settled().await;
    group.same().await;
}

/// Farther than the promise bears: writes wait, and it is known why.
#[tokio::test]
async fn too_large_distance_is_measured_and_passes() {
    let ms = Duration::from_millis;
    let group = Group::start(3, 500).await;
    let leader = group.settled().await;
    group.links.delay(ms(100), ms(100));
    until("the distance is known", || {
        let trips = group.all[leader].node().round_trips();
        trips.len() == 2 && trips.values().all(|it| *it > ms(150))
    })
    .await;
    group.links.delay(ms(0), ms(0));
    let leader = group.settled().await;
    group.all[leader].write(1).await.unwrap();
    group.same().await;
}

/// No member is started again, and nobody is elected for the change itself.
// guarantee: LEASE-3
#[tokio::test]
async fn patience_follows_the_pace_while_a_member_runs() {
    let group = Group::start(3, 300).await;
    let mut lost = group.settled().await;
    let term = group.all[lost].node().leadership().borrow().term;
    for failover_ms in [3_000, 300, 3_000] {
        let timing = Timing::from_failover_ms(failover_ms).unwrap();
        for one in &group.all {
            one.node().set_timing(timing.into());
        }
        // Heard by the timers that are in force now.
        group.all[lost].write(failover_ms).await.unwrap();
        let since = Instant::now();
        group.silence(lost, true);
        let took = successor(&group, lost, since).await;
        group.silence(lost, false);
        println!("{failover_ms} ms: {took:?}");
        assert!(took > timing.election_max, "{took:?} of {failover_ms} ms");
        assert!(took < timing.failover * 2, "{took:?} of {failover_ms} ms");
        lost = group.settled().await;
    }
    let now = group.all[lost].node().leadership().borrow().term;
    assert!(now <= term + 6, "term {term} became {now}");
}
