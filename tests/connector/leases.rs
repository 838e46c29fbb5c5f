//! What the lease keeps out: successors that come early, and hand-offs that come late.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_ipc::{
    ConnectorSettings, DeliverySettings,
    frames::{FrameReader, write_frames},
    lease::{BootInstant, LeaseWriter},
};
use quorate_proto::connector::{
    Activate, Configure, FromProcess, Phase, Report, ToProcess, from_process, to_process,
};
use quorate_resources::{AmqpChannel, Kind};
use quorate_supervisor::ConnectorState;
use quorate_testkit::process::ChildProcess;
use serde_json::json;
use tokio::{
    net::unix::OwnedReadHalf,
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{processes::bare, world::*};

/// Two members and a queue that only the lease fences; the first runs it in term 2.
async fn two(queue: &str, failover_ms: u64) -> (SimulatedMember, SimulatedMember) {
    let broker = broker().await;
    broker.client().await.declare(queue).await;
    let group = group_with_channel(broker, queue);
    let mut fenced = connection(broker.port());
    fenced["fence"] = json!("lease");
    group.put(Kind::AmqpConnection, fenced);
    let first = SimulatedMember::start(&group, 1, failover_ms);
    let second = SimulatedMember::start(&group, 2, failover_ms);
    first.lead(2);
    first.active(queue).await;
    second
        .when(queue, "standby", |it| it.state == ConnectorState::Standby)
        .await;
    (first, second)
}

/// Elected early, while the old lease runs: it takes nothing before that is over, and
/// then at once.
// guarantee: LEASE-2, FENCE-9
#[tokio::test(flavor = "multi_thread")]
async fn successor_waits_for_rest_of_old_lease() {
    let queue = unique("early");
    let (first, second) = two(&queue, 10_000).await;
    let client = broker().await.client().await;
    first
        .group
        .behave(|_| (Duration::from_secs(1), status(200)));
    let clear_at = Instant::now() + Duration::from_millis(700);
    second.elect(3, clear_at);
    second.confirmed();
    eventually("the reign", async || {
        second.handle.reign().borrow().acting.then_some(())
    })
    .await;
    // The broker would let it in.
    client.publish(&queue, bodies(1)).await;
    while Instant::now() + Duration::from_millis(20) < clear_at {
        let state = second.status(&queue).unwrap().state;
        assert_eq!(state, ConnectorState::Standby);
        sleep(Duration::from_millis(5)).await;
    }
    let at = second.active(&queue).await.activated_at.unwrap();
    let late = at.saturating_duration_since(clear_at);
    println!("consuming {late:?} after the old lease was over");
    assert!(
        at >= clear_at && late < Duration::from_millis(250),
        "{late:?}"
    );
    eventually("the message is handled", async || {
        let calls = second.group.calls.lock();
        calls.iter().any(|call| call.member == 2).then_some(())
    })
    .await;
    let calls = second.group.calls.lock();
    assert!(
        calls
            .iter()
            .all(|call| call.member == 1 || call.at >= clear_at)
    );
}

// guarantee: FAILOVER-10, FENCE-14
#[tokio::test(flavor = "multi_thread")]
async fn successor_of_released_reign_waits_for_nothing() {
    let queue = unique("released");
    let (first, second) = two(&queue, 10_000).await;
    let _parted = first.handle.release(Duration::from_secs(1)).await;
    first.step_down(3);
    let at = Instant::now();
    second.elect(3, at + Duration::from_secs(30));
    second.confirmed();
    let active = second.active(&queue).await.activated_at.unwrap();
    println!("consuming {:?} after the election", active - at);
    assert!(active - at < Duration::from_secs(2));
}

/// A connector process that the test is the parent of.
struct Spoken {
    _process: ChildProcess,
    page: LeaseWriter,
    orders: mpsc::Sender<ToProcess>,
    frames: FrameReader<OwnedReadHalf>,
}

impl Spoken {
    fn start() -> Spoken {
        let (process, near, page) = bare();
        near.set_nonblocking(true).unwrap();
        let (read, write) = tokio::net::UnixStream::from_std(near).unwrap().into_split();
        let (orders, outbox) = mpsc::channel(64);
        tokio::spawn(write_frames(write, outbox));
        Spoken {
            _process: process,
            page,
            orders,
            frames: FrameReader::new(read),
        }
    }

    async fn order(&self, frame: to_process::Frame) {
        let frame = Some(frame);
        self.orders.send(ToProcess { frame }).await.unwrap();
    }

    async fn next(&mut self) -> from_process::Frame {
        let next = timeout(WAIT, self.frames.next::<FromProcess>());
        next.await.unwrap().unwrap().unwrap().frame.unwrap()
    }

    async fn until(&mut self, phase: Phase) {
        let at = |it: &from_process::Frame| matches!(it, from_process::Frame::Report(Report { phase: now, .. }) if *now == phase as i32);
        while !at(&self.next().await) {}
    }
}

/// The lease is taken from a process that consumes, and messages come before it has
/// cancelled its consumer: it hands none of them on.
// guarantee: LEASE-1, FENCE-1
#[tokio::test(flavor = "multi_thread")]
async fn process_checks_lease_before_each_hand_off() {
    let (broker, queue) = (broker().await, unique("asked"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let mut process = Spoken::start();
    let channel: AmqpChannel = serde_json::from_value(channel(&queue)).unwrap();
    let settings = ConnectorSettings {
        connection: serde_json::from_value(connection(broker.port())).unwrap(),
        shared: DeliverySettings {
            prefetch: 50,
            concurrency_max: 50,
            ordered: false,
            on_failure: channel.on_failure.clone(),
        },
        resource: channel,
    };
    process
        .order(to_process::Frame::Configure(Configure {
            kind: "amqp_channel".into(),
            name: queue.clone(),
            generation: 1,
            drain_ms: 1000,
            settings: settings.encode().into(),
        }))
        .await;
    process.until(Phase::Connected).await;
    let (epoch, incarnation) = (7, 1);
    process
        .order(to_process::Frame::Activate(Activate {
            epoch,
            incarnation,
            ..Activate::default()
        }))
        .await;
    for round in 0..6 {
        process
            .page
            .grant(epoch, BootInstant::now() + WAIT, Duration::ZERO);
        process.until(Phase::Active).await;
        process.page.revoke();
        client.publish(&queue, bodies(2)).await;
        loop {
            match process.next().await {
                from_process::Frame::Delivery(it) => {
                    panic!("round {round}: handed on without a lease: {it:?}")
                }
                from_process::Frame::Report(it) if it.phase() == Phase::Connected => break,
                _ => {}
            }
        }
        // They went back, all of them.
        for _ in 0..2 {
            let back = async || client.take(&queue).await.map(|_| ());
            eventually("a message went back", back).await;
        }
    }
}

/// The message was handed on while the lease ran, and the service succeeds: to leave it in
/// the queue could only run it twice.
#[tokio::test(flavor = "multi_thread")]
async fn handled_message_is_acked_after_lease_revocation() {
    let (broker, queue) = (broker().await, unique("acked"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 2000).await;
    member
        .group
        .behave(|_| (Duration::from_millis(400), status(200)));
    client.publish(&queue, bodies(3)).await;
    eventually("in flight", async || {
        (member.group.calls.lock().len() == 3).then_some(())
    })
    .await;
    member.step_down(3);
    let acked = member
        .when(&queue, "acked", |it| it.counts.handled == 3)
        .await;
    assert_ne!(acked.state, ConnectorState::Active);
    assert!(!member.handle.reign().borrow().acting);
    eventually("nothing went back", async || {
        (client.count(&queue).await == (0, 0)).then_some(())
    })
    .await;
    assert_eq!(member.group.calls.lock().len(), 3);
}
