//! The connector server dies, falls silent or hands over, and another one goes on.

use std::time::Duration;

use nix::sys::signal::Signal;
use quorate_clock::Instant;
use quorate_resources::Kind;
use quorate_supervisor::ConnectorState;

use super::{
    peer::{Peer, socket},
    world::*,
};

const MESSAGES: usize = 1500;
const IN_FLIGHT: usize = 100;
/// Those, and as many whose answers wait in libzmq or in the kernel.
const MOST_REPEATED: usize = 2 * IN_FLIGHT;

/// A peer that sends to a ROUTER channel, two members, and a service that takes a while.
async fn under_load(method: &str) -> (String, Peer, SimulatedMember, SimulatedMember) {
    let (name, address) = (unique("taken"), free_address());
    let (first, second) = two(channel(&name, "ROUTER", method, &address), 500).await;
    first
        .group
        .behave(|_| (Duration::from_millis(20), status(200)));
    let peer = Peer::start("dealer", "connect", &address, MESSAGES).await;
    let some = async || (first.group.calls.lock().len() >= 300).then_some(());
    eventually("some were handled", some).await;
    (name, peer, first, second)
}

/// All were handled, and no more than this often twice.
async fn verdict(what: &str, peer: &Peer, member: &SimulatedMember, most: usize) {
    peer.says("done").await;
    let (lost, repeated) = lost_and_repeated(&member.group, MESSAGES);
    println!("{what}: {MESSAGES} messages, {lost} lost, {repeated} handled twice");
    assert_eq!(lost, 0);
    assert!(repeated <= most, "{repeated} were handled twice");
    let calls = member.group.calls.lock();
    assert!(
        calls.iter().any(|call| call.member == 2),
        "the second had nothing to do"
    );
    // Nothing was begun under the first's epoch after the second's first.
    let begun = calls.iter().find(|call| call.member == 2).unwrap().at;
    assert!(
        calls
            .iter()
            .all(|call| call.member == 2 || call.at <= begun)
    );
}

// guarantee: ZMQ-1
#[tokio::test(flavor = "multi_thread")]
async fn dealer_loses_nothing_on_connector_server_death() {
    let (name, peer, first, second) = under_load("bind").await;
    let pid = first.status(&name).unwrap().pid.unwrap();
    signal(pid, Signal::SIGKILL);
    first.step_down(3);
    second.lead(3);
    second.active(&name).await;
    verdict("death", &peer, &second, MOST_REPEATED).await;
}

/// The first still believes that it leads, and its process has the address until its lease
/// is over.
// guarantee: ZMQ-1
#[tokio::test(flavor = "multi_thread")]
async fn dealer_loses_nothing_on_connector_server_silence() {
    let (name, peer, first, second) = under_load("bind").await;
    first.beat(false);
    second.elect(3, Instant::now() + first.timing.lease);
    second.confirmed();
    second.active(&name).await;
    verdict("silence", &peer, &second, MOST_REPEATED).await;
}

/// The lease runs out and is renewed, and nobody else was elected. What the process has taken
/// from its peer in advance is nowhere else.
// guarantee: LEASE-5
#[tokio::test(flavor = "multi_thread")]
async fn lapse_silences_reader_without_losing_taken_messages() {
    let (name, address) = (unique("lapse"), free_address());
    let (first, _second) = two(channel(&name, "PULL", "bind", &address), 10_000).await;
    first
        .group
        .behave(|_| (Duration::from_millis(20), status(200)));
    let _peer = Peer::start("push", "connect", &address, MESSAGES).await;
    eventually("some were handled", async || {
        (first.group.calls.lock().len() >= 100).then_some(())
    })
    .await;
    let before = first.status(&name).unwrap();
    first.beat(false);
    let reign = first.handle.reign();
    eventually("the lease has run out", async || {
        reign.borrow().lapsed.then_some(())
    })
    .await;
    let since = Instant::now();
    let begun = first.group.calls.lock().len();
    while since.elapsed() < Duration::from_millis(200) {
        assert_eq!(first.group.calls.lock().len(), begun, "it is not silent");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.beat(true);
    eventually("all are handled", async || {
        let (lost, _) = lost_and_repeated(&first.group, MESSAGES);
        (lost == 0).then_some(())
    })
    .await;
    let (_, repeated) = lost_and_repeated(&first.group, MESSAGES);
    let after = first.status(&name).unwrap();
    assert_eq!((after.pid, repeated), (before.pid, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_process_excludes_successor_only_until_killed() {
    let (name, peer, first, second) = under_load("bind").await;
    signal(first.status(&name).unwrap().pid.unwrap(), Signal::SIGSTOP);
    first.step_down(3);
    second.lead(3);
    second.active(&name).await;
    verdict("stopped process", &peer, &second, MOST_REPEATED).await;
}

// guarantee: ZMQ-2
#[tokio::test(flavor = "multi_thread")]
async fn a_planned_handover_to_another_member_repeats_nothing() {
    let (name, peer, first, second) = under_load("bind").await;
    let _parted = first.handle.release(Duration::from_secs(5)).await;
    first.step_down(3);
    second.lead(3);
    second.active(&name).await;
    verdict("planned", &peer, &second, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bound_address_is_taken_over_once_free() {
    let (name, address) = (unique("bound"), free_address());
    let stranger = socket(zmq::SocketType::PULL);
    stranger.bind(&address).unwrap();
    let group = SimulatedGroup::with_services();
    group.put(Kind::ZmqChannel, channel(&name, "PULL", "bind", &address));
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    let told = member
        .when(&name, "an error", |it| it.last_error.is_some())
        .await;
    let error = told.last_error.unwrap();
    assert!(
        error.contains(&format!("another process has {address}")),
        "{error}"
    );
    assert_eq!(told.state, ConnectorState::Starting, "it is over by itself");
    drop(stranger);
    let free = Instant::now();
    let active = member.active(&name).await;
    println!("bound {:?} after the address was free", free.elapsed());
    assert!(
        free.elapsed() < Duration::from_secs(3),
        "{:?}",
        free.elapsed()
    );
    assert_eq!(active.last_error, None);
}

/// Standing by, a process has nothing open: connecting is consuming.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_connected_to_nobody() {
    let (name, address) = (unique("standby"), free_address());
    let push = socket(zmq::SocketType::PUSH);
    push.bind(&address).unwrap();
    let (first, _second) = two(channel(&name, "PULL", "connect", &address), 2000).await;
    let _push = tokio::task::spawn_blocking(move || {
        for n in 0..200 {
            push.send(&n.to_string(), 0).unwrap();
        }
        push
    })
    .await
    .unwrap();
    first
        .when(&name, "all", |it| it.counts.handled == 200)
        .await;
    assert_eq!(lost_and_repeated(&first.group, 200), (0, 0));
    assert!(first.group.calls.lock().iter().all(|call| call.member == 1));
}
