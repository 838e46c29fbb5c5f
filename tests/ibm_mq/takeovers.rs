//! Processes and members that die or are stopped under load, against the stand-in.

use std::{sync::Arc, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use quorate_resources::Kind;
use quorate_supervisor::ConnectorState;

use super::world::*;

const MESSAGES: usize = 200;

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
}

/// Long enough for a loaded machine not to let a lease run out.
fn two(group: &Arc<SimulatedGroup>) -> (SimulatedMember, SimulatedMember) {
    let start = |id| SimulatedMember::start(group, id, 3000);
    (start(1), start(2))
}

/// How many messages came again; none may be missing, and all first calls come in order.
fn again(group: &SimulatedGroup) -> usize {
    let by_body = group.calls_by_body();
    assert_eq!(by_body.len(), MESSAGES, "lost");
    let calls = group.calls.lock();
    let mut last = None;
    for call in calls.iter() {
        let number: usize = call.body.parse().unwrap();
        assert!(
            last.is_none_or(|last| number == last || number == last + 1),
            "out of order: {number} after {last:?}"
        );
        last = Some(number);
    }
    calls.len() - MESSAGES
}

// guarantee: MESSAGE-5
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_under_load() {
    let mut stand_in = StandIn::start();
    let member = stand_in.consuming(channel()).await;
    bodies(MESSAGES).for_each(|body| stand_in.text(&body));
    for part in 1..=3 {
        called(&member.group, part * 40).await;
        let pid = member.active("orders").await.pid.unwrap();
        signal(pid, Signal::SIGKILL);
    }
    stand_in.depth("Q", 0).await;
    let again = again(&member.group);
    assert!(again <= 3, "{again} came again after 3 kills");
    println!("{MESSAGES} messages, 3 kills: 0 lost, {again} again (against the stand-in)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_stopped_under_load() {
    let mut stand_in = StandIn::start();
    let member = stand_in.consuming(channel()).await;
    bodies(MESSAGES).for_each(|body| stand_in.text(&body));
    called(&member.group, 40).await;
    let pid = member.active("orders").await.pid.unwrap();
    signal(pid, Signal::SIGSTOP);
    stand_in.depth("Q", 0).await;
    let again = again(&member.group);
    assert!(again <= 1, "{again} came again after a stop");
    let now = member.active("orders").await.pid.unwrap();
    assert_ne!(pid, now, "the stopped one was replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_member_takes_over_under_load() {
    let mut stand_in = StandIn::start();
    let group = stand_in.group();
    group.put(Kind::IbmMqChannel, channel());
    group.behave(|_| (Duration::from_millis(1), status(200)));
    let (first, second) = two(&group);
    first.lead(2);
    let old = first.active("orders").await;
    second
        .when("orders", "standby", |it| {
            it.state == ConnectorState::Standby
        })
        .await;
    bodies(MESSAGES).for_each(|body| stand_in.text(&body));
    called(&group, 50).await;
    // The first is cut off: no quorum answers it, and it doesn't know that it is replaced.
    first.beat(false);
    second.lead(3);
    let new = second.active("orders").await;
    assert!(new.epoch > old.epoch);
    stand_in.depth("Q", 0).await;
    let again = again(&group);
    assert!(again <= 1, "{again} came again after a takeover");
    // No call of the old epoch after one of the new.
    let calls = group.calls.lock();
    let first_new = calls
        .iter()
        .position(|call| call.epoch == new.epoch.unwrap())
        .unwrap();
    assert!(
        calls[first_new..]
            .iter()
            .all(|call| call.epoch == new.epoch.unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_holder_keeps_queue_until_connection_ends() {
    let mut stand_in = StandIn::start();
    let group = stand_in.group();
    group.put(Kind::IbmMqChannel, channel());
    let (first, second) = two(&group);
    first.lead(2);
    let old = first.active("orders").await;
    second
        .when("orders", "standby", |it| {
            it.state == ConnectorState::Standby
        })
        .await;
    signal(old.pid.unwrap(), Signal::SIGSTOP);
    first.step_down(3);
    second.lead(3);
    // The parent of the stopped one kills it, and its queue is free then.
    second.active("orders").await;
    bodies(MESSAGES).for_each(|body| stand_in.text(&body));
    stand_in.depth("Q", 0).await;
    assert_eq!(again(&group), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn orderly_release_hands_over_without_redelivery() {
    let mut stand_in = StandIn::start();
    let group = stand_in.group();
    group.put(Kind::IbmMqChannel, channel());
    let (first, second) = two(&group);
    first.lead(2);
    first.active("orders").await;
    second
        .when("orders", "standby", |it| {
            it.state == ConnectorState::Standby
        })
        .await;
    bodies(MESSAGES).for_each(|body| stand_in.text(&body));
    called(&group, 50).await;
    let _parted = first.handle.release(Duration::from_secs(5)).await;
    first.step_down(3);
    second.lead(3);
    second.active("orders").await;
    stand_in.depth("Q", 0).await;
    assert_eq!(again(&group), 0);
}
