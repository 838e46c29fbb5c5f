//! Tests of a session whose lease runs out under it, over a broker that is a queue in memory.

use std::{sync::LazyLock, time::Duration};

use parking_lot::Mutex;
use quorate_ipc::{
    ConnectorResource, ConnectorSettings, DeliverySettings,
    lease::{BootInstant, LeaseWriter},
};
use quorate_proto::connector::{
    Activate, Configure, FromProcess, Outcome, Phase, Reply, from_process::Frame, outcome,
    to_process,
};
use quorate_resources::DeliveryPolicy;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    task::{LocalSet, spawn_local},
    time::{sleep, timeout},
};

use super::{
    broker_link::{
        BrokerLink, ConnectorError, ConsumerSession, DeadLetterInfo, InboundLink, IncomingMessage,
        MessageAcknowledger,
    },
    consume::ChannelRole,
    process_context::{DesiredState, ProcessContext},
    run_loop::RunLoop,
    watchdog::LeaseWatchdog,
};

const LONG: Duration = Duration::from_secs(60);

/// Messages of the queue, and the acks.
#[derive(Default)]
struct MemoryQueue {
    next: u64,
    waiting: u64,
    acked: Vec<u64>,
    opened: u32,
    closed: u32,
}

static QUEUE: LazyLock<Mutex<MemoryQueue>> = LazyLock::new(Mutex::default);

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct MemorySource {}

impl ConnectorResource for MemorySource {
    type Connection = ();
    type Shared = DeliverySettings;
}

struct MemoryBroker;

impl BrokerLink for MemoryBroker {
    type Connection = ();

    fn connection_key(_: &()) -> impl PartialEq {}

    async fn connect(_: &(), _: &str) -> Result<Self, ConnectorError> {
        Ok(MemoryBroker)
    }

    fn name(&self) -> String {
        String::new()
    }

    fn label(&self) -> String {
        "label".into()
    }

    async fn wait_lost(&self) -> ConnectorError {
        std::future::pending().await
    }

    fn is_lost(&self) -> bool {
        false
    }

    async fn close(self) {}
}

impl InboundLink for MemoryBroker {
    type Source = MemorySource;
    type Session = MemoryConsumer;

    fn session_key(_: &MemorySource) -> impl PartialEq {}

    async fn open(
        &self,
        _: &MemorySource,
        _: u16,
        _: Option<u64>,
        _: Option<u64>,
    ) -> Result<MemoryConsumer, ConnectorError> {
        QUEUE.lock().opened += 1;
        Ok(MemoryConsumer)
    }

    fn source_name(&self, _: &MemorySource) -> String {
        String::new()
    }

    async fn is_taken(&self, _: &MemorySource) -> Option<bool> {
        None
    }

    async fn waiting_count(&self, _: &MemorySource) -> Option<u64> {
        None
    }
}

struct MemoryConsumer;

impl ConsumerSession for MemoryConsumer {
    type Token = u64;
    type Acknowledger = MemoryAcknowledger;

    fn acknowledger(&self) -> MemoryAcknowledger {
        MemoryAcknowledger
    }

    async fn next(&mut self) -> Result<(u64, IncomingMessage), ConnectorError> {
        loop {
            {
                let mut queue = QUEUE.lock();
                if queue.waiting > 0 {
                    queue.waiting -= 1;
                    queue.next += 1;
                    return Ok((queue.next, IncomingMessage::default()));
                }
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn cancel(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }

    async fn close(self) {
        QUEUE.lock().closed += 1;
    }
}

#[derive(Clone)]
struct MemoryAcknowledger;

impl MessageAcknowledger for MemoryAcknowledger {
    type Token = u64;

    async fn ack(&self, token: &u64, _: &Reply) -> Result<(), ConnectorError> {
        QUEUE.lock().acked.push(*token);
        Ok(())
    }

    async fn requeue(&self, _: &u64, _: Duration) -> Result<(), ConnectorError> {
        panic!("nothing is given back")
    }

    async fn reject(&self, _: &u64, _: &DeadLetterInfo) -> Result<(), ConnectorError> {
        panic!("nothing is rejected")
    }

    async fn dead_letter(
        &self,
        _: &u64,
        _: &IncomingMessage,
        _: &str,
        _: &DeadLetterInfo,
    ) -> Result<(), ConnectorError> {
        panic!("nothing is buried")
    }
}

struct LapseFixture {
    page: LeaseWriter,
    outcomes: mpsc::Sender<Outcome>,
    frames: mpsc::Receiver<FromProcess>,
    _desired: watch::Sender<DesiredState>,
    _sends: mpsc::Sender<super::process_context::PendingSend>,
}

impl LapseFixture {
    async fn delivery(&mut self) -> u64 {
        let wait = async {
            loop {
                match self.frames.recv().await.unwrap().frame {
                    Some(Frame::Delivery(delivery)) => return delivery.delivery,
                    Some(Frame::Report(report)) if report.phase() == Phase::Draining => {
                        panic!("the session has ended")
                    }
                    _ => {}
                }
            }
        };
        timeout(Duration::from_secs(10), wait)
            .await
            .expect("no delivery")
    }

    async fn handled(&self, delivery: u64) {
        let result = Some(outcome::Result::Handled(Reply::default()));
        let outcome = Outcome { delivery, result };
        self.outcomes.send(outcome).await.unwrap();
    }
}

async fn until(what: impl Fn(&MemoryQueue) -> bool) {
    let wait = async {
        while !what(&QUEUE.lock()) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), wait)
        .await
        .expect("it never came about");
}

// guarantee: LEASE-5
#[tokio::test]
async fn session_pauses_in_lapse_and_stops_after_respite() {
    LocalSet::new().run_until(lapses()).await;
}

async fn lapses() {
    let page = LeaseWriter::new().unwrap();
    page.grant(7, BootInstant::now() + LONG, LONG);
    let lease = page.reader().clone();
    let watchdog = LeaseWatchdog::start(lease.clone(), LONG).unwrap();
    let mut wanted = DesiredState::default();
    let settings = ConnectorSettings {
        connection: (),
        resource: MemorySource {},
        shared: DeliverySettings {
            prefetch: 10,
            concurrency_max: 10,
            ordered: false,
            on_failure: DeliveryPolicy {
                retries: 0,
                ..DeliveryPolicy::default()
            },
        },
    };
    wanted.apply(to_process::Frame::Configure(Configure {
        kind: "x".into(),
        name: "x".into(),
        generation: 1,
        drain_ms: 1000,
        settings: settings.encode().into(),
    }));
    wanted.apply(to_process::Frame::Activate(Activate {
        epoch: 7,
        incarnation: 1,
        ..Activate::default()
    }));
    let (desired, desires) = watch::channel(wanted);
    let (outcomes, results) = mpsc::channel(64);
    let (sends, orders) = mpsc::channel(1);
    let (out, frames) = mpsc::channel(64);
    let context = ProcessContext::new("x/x".into(), desires, results, orders, out, lease, watchdog);
    spawn_local(RunLoop::new(context).run::<ChannelRole<MemoryBroker>>());
    let mut world = LapseFixture {
        page,
        outcomes,
        frames,
        _desired: desired,
        _sends: sends,
    };

    QUEUE.lock().waiting = 1;
    let first = world.delivery().await;
    world.page.grant(7, BootInstant::now(), LONG);
    QUEUE.lock().waiting = 3;
    // What was begun is finished, and acked without the lease.
    world.handled(first).await;
    until(|queue| queue.acked == [1]).await;
    sleep(Duration::from_millis(100)).await;
    let silent = world.frames.try_recv();
    assert!(silent.is_err(), "{silent:?}");

    world.page.grant(7, BootInstant::now() + LONG, LONG);
    for _ in 0..3 {
        let delivery = world.delivery().await;
        world.handled(delivery).await;
    }
    until(|queue| queue.acked.len() == 4).await;
    until(|queue| (queue.opened, queue.closed) == (1, 0)).await;

    // This time nobody renews it.
    world
        .page
        .grant(7, BootInstant::now(), Duration::from_millis(50));
    until(|queue| queue.closed == 1).await;
    QUEUE.lock().waiting = 1;
    world.page.grant(7, BootInstant::now() + LONG, LONG);
    until(|queue| queue.opened == 2 && queue.waiting == 0).await;
}
