//! Reigns that begin, pause, move and end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use nix::sys::signal::Signal;
use quorate_clock::Instant;
use quorate_supervisor::{ConnectorState, ConnectorStatus};
use quorate_testkit::process::send;

use super::world::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_consumes_nothing() {
    let (broker, queue) = (broker().await, unique("follower"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = SimulatedMember::start(&group_with_channel(broker, &queue), 1, 500);
    member
        .when(&queue, "standby", |status| {
            status.state == ConnectorState::Standby
        })
        .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(client.count(&queue).await.1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_regained_in_term_keeps_epoch_and_process() {
    let (broker, queue) = (broker().await, unique("moment"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 2000).await;
    let before = member.status(&queue).unwrap();
    member.step_down(2);
    eventually("nothing is consumed", async || {
        (client.count(&queue).await.1 == 0).then_some(())
    })
    .await;
    client.publish(&queue, bodies(1)).await;
    member
        .when(&queue, "standby", |status| {
            status.state == ConnectorState::Standby
        })
        .await;
    assert_eq!(member.group.calls.lock().len(), 0);
    member.lead(2);
    let after = member
        .when(&queue, "handled", |status| status.counts.handled == 1)
        .await;
    assert_eq!((after.epoch, after.pid), (before.epoch, before.pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn elected_again_is_a_new_epoch() {
    let (broker, queue) = (broker().await, unique("again"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 2000).await;
    let before = member.status(&queue).unwrap().epoch.unwrap();
    member.step_down(3);
    eventually("nothing is consumed", async || {
        (client.count(&queue).await.1 == 0).then_some(())
    })
    .await;
    member.lead(4);
    let newer = member.when(&queue, "a new epoch", |it| {
        it.state == ConnectorState::Active && it.epoch > Some(before)
    });
    let after = newer.await.epoch.unwrap();
    client.publish(&queue, bodies(1)).await;
    member
        .when(&queue, "handled", |status| status.counts.handled == 1)
        .await;
    assert_eq!(member.group.calls.lock()[0].epoch, after);
}

// guarantee: FAILOVER-10
#[tokio::test(flavor = "multi_thread")]
async fn release_drains_parks_and_commits_before_new_reign() {
    let (broker, queue) = (broker().await, unique("release"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 500).await;
    member
        .group
        .behave(|_| (Duration::from_millis(200), status(200)));
    let before = member.status(&queue).unwrap();
    client.publish(&queue, bodies(5)).await;
    eventually("in flight", async || {
        (member.group.calls.lock().len() == 5).then_some(())
    })
    .await;
    let parted = member.handle.release(Duration::from_secs(5)).await;
    // All at once, when it returns:
    assert!(is_alive(before.pid.unwrap()));
    assert_eq!(
        client.count(&queue).await,
        (0, 0),
        "what was in flight was finished"
    );
    let state = member.group.state();
    let reign = state.reign();
    assert!(reign.released && reign.epoch == before.epoch.unwrap());
    assert!(!member.handle.reign().borrow().acting);
    // It stays leader all the same.
    drop(parted);
    let newer =
        |it: &ConnectorStatus| it.state == ConnectorState::Active && it.epoch > before.epoch;
    member.when(&queue, "a new epoch", newer).await;
    member.handle.shutdown(Duration::from_secs(5)).await;
    assert!(member.group.state().reign().released);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(
        member.group.state().reign().released,
        "it took over again after its shutdown"
    );
}

/// The connector server is paused (its process too) and loses its quorum; its successor
/// takes over; the old one wakes up. Asked of the broker all the while: never two consumers.
// guarantee: MESSAGE-1
#[tokio::test(flavor = "multi_thread")]
async fn queue_survives_loss_of_its_connector_server() {
    let (broker, queue) = (broker().await, unique("takeover"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let group = group_with_channel(broker, &queue);
    group.behave(|_| (Duration::from_millis(5), status(200)));
    let (first, second) = (
        SimulatedMember::start(&group, 1, 1000),
        SimulatedMember::start(&group, 2, 1000),
    );
    client.publish(&queue, bodies(1000)).await;

    let most = Arc::new(AtomicU32::new(0));
    let watching = Arc::new(AtomicBool::new(true));
    let watcher = tokio::spawn({
        let (most, watching, queue) = (most.clone(), watching.clone(), queue.clone());
        let client = broker.client().await;
        async move {
            let mut asked = 0;
            while watching.load(Ordering::Relaxed) {
                most.fetch_max(client.count(&queue).await.1, Ordering::Relaxed);
                asked += 1;
                // It shares the broker and the cores with what it watches.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            asked
        }
    });

    first.lead(2);
    let old = first
        .when(&queue, "some handled", |status| {
            status.counts.handled >= 100
        })
        .await;
    let pid = old.pid.unwrap();
    signal(pid, Signal::SIGSTOP);
    first.beat(false);
    tokio::time::sleep(first.timing.lease).await;
    // By now nobody's lease runs. The successor is elected while the old one sleeps.
    second.lead(3);
    let taken_at = Instant::now();
    // It wakes up: its lease was over while it slept.
    send(Signal::SIGCONT, &[pid]);
    let new = second.active(&queue).await;
    println!("consuming {:?} after the election", taken_at.elapsed());
    assert!(new.epoch > old.epoch);
    eventually("all were handled", async || {
        (group.calls_by_body().len() == 1000).then_some(())
    })
    .await;
    drained(&client, &second, &queue).await;
    watching.store(false, Ordering::Relaxed);
    let asked = watcher.await.unwrap();
    println!("asked the broker {asked} times for its consumers");
    assert!(
        asked > 20 && most.load(Ordering::Relaxed) == 1,
        "{asked} {most:?}"
    );
    let calls = group.calls.lock().clone();
    let duplicates = calls.len() - 1000;
    println!("{duplicates} duplicates");
    assert!(
        duplicates <= 20,
        "{duplicates} duplicates: more than prefetch + in flight"
    );
    // The old member called nothing after the new one had taken over.
    let first_of_new = calls
        .iter()
        .find(|call| call.epoch == new.epoch.unwrap())
        .unwrap()
        .at;
    assert!(
        calls
            .iter()
            .all(|call| call.member == 2 || call.at < first_of_new)
    );
}
