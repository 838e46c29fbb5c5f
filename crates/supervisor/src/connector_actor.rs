//! Actor that drives the process of one channel or outgoing to how it is wished to be: there,
//! standing by, prepared, acting, parked, gone.
//!
//! There is at most one process of a connector at a time on a member: the next is started
//! after the last has been reaped.

mod process_commands;
mod process_reports;

use std::{sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_ipc::lease::LeaseWriter;
use quorate_log::RateLimit;
use quorate_proto::connector::{Tally, to_process};
use quorate_types::backoff::Backoff;
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

use super::{
    broker_connections::LocalBrokerConnections,
    connector_process::{ConnectorProcess, ProcessEvent},
    connector_spec::ConnectorSpec,
    connector_status::{ConnectorState, MessageCounts},
    connectors_view::ConnectorsView,
    gateway::DeliveryGateway,
    heartbeat_interval::HeartbeatInterval,
    in_flight_sends::InFlightSends,
    process_spawner::{ProcessSpawner, StartPermit},
    progress_writer::ProgressWriter,
    send_router::SendRouter,
    service_calls::ServiceCalls,
    stale_connections::{ConnectionCloser, StaleConnections},
    status_registry::{self, StatusRegistry},
    target_state::TargetState,
};

/// A process that has consumed for this long works: the next restart waits little.
const STABLE_AFTER: Duration = Duration::from_secs(5);
/// What a process that is to go has beyond its drain before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// What one that is to park has: less, since the release waits for it.
const PARK_GRACE: Duration = Duration::from_millis(200);

/// What all keepers share.
pub struct ActorContext {
    /// The lease page.
    pub page: Arc<LeaseWriter>,
    /// Starts processes.
    pub spawner: ProcessSpawner,
    /// Calls services.
    pub gateway: Arc<DeliveryGateway>,
    /// The mailboxes of the outgoings.
    pub send_router: Arc<SendRouter>,
    /// Statuses of the connectors.
    pub status_registry: Arc<StatusRegistry>,
    /// What the brokers call their connections.
    pub broker_connections: LocalBrokerConnections,
    /// Writes how far the connectors have come.
    pub progress: Arc<ProgressWriter>,
    /// What is replicated.
    pub view: watch::Receiver<Arc<ConnectorsView>>,
    /// Asks brokers to close connections.
    pub http: reqwest::Client,
    /// How often processes give signs of life.
    pub heartbeat_interval: HeartbeatInterval,
    /// Exchange whenever a keeper has come to rest.
    pub settled: tokio::sync::Notify,
}

/// What a keeper is asked for.
#[derive(Clone)]
pub struct DesiredConnector {
    /// The channel or outgoing.
    pub spec: Arc<ConnectorSpec>,
    /// How its process is to stand.
    pub target: TargetState,
    /// What another member has left at the broker, to be closed.
    pub stale_connections: Option<StaleConnections>,
    /// Counts the keeper's wishes, from 1.
    pub generation: u64,
}

/// Keeps one connector.
pub struct ConnectorActor {
    shared: Arc<ActorContext>,
    desired: watch::Receiver<DesiredConnector>,
    observed_generation: watch::Sender<u64>,
    /// Of a channel.
    calls: ServiceCalls,
    /// Of an outgoing.
    in_flight_sends: InFlightSends,
    settings_generation: u64,
    /// Counts the orders to stand by.
    standby_orders: u64,
    restarts: Backoff,
    connection_closer: ConnectionCloser,
    log_limit: RateLimit,
}

struct NotifyOnDrop(Arc<ActorContext>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.settled.notify_one();
    }
}

/// What has been said to a process, and what it has said.
struct ObservedProcess {
    /// What it says is wrong.
    error: Option<String>,
    spec: Arc<ConnectorSpec>,
    /// Which connector of its name the process was started for.
    created: u64,
    target: TargetState,
    /// Whether it stands by for sure: nothing was begun, or it said that all is closed.
    parked: bool,
    tally: Tally,
    active_since: Option<Instant>,
}

impl ConnectorActor {
    /// Starts keeping. On the returned watch stands the number of the last wish for no
    /// process, or for a parked one, that has been met. It ends when `wish` is closed.
    pub fn start(
        shared: Arc<ActorContext>,
        wish: watch::Receiver<DesiredConnector>,
    ) -> watch::Receiver<u64> {
        let (rests, receiver) = watch::channel(0);
        let spec = wish.borrow().spec.clone();
        let keeper = ConnectorActor {
            calls: ServiceCalls::new(spec.concurrency_max),
            in_flight_sends: InFlightSends::new(&spec, &shared.send_router),
            shared,
            desired: wish,
            observed_generation: rests,
            settings_generation: 0,
            standby_orders: 0,
            connection_closer: ConnectionCloser::default(),
            log_limit: RateLimit::each_second(),
            restarts: Backoff::new(Duration::from_millis(100), Duration::from_secs(10)),
        };
        // However it ends, the supervisor hears of it.
        let bell = NotifyOnDrop(keeper.shared.clone());
        tokio::spawn(async move {
            let _bell = bell;
            keeper.run().await;
        });
        receiver
    }

    async fn run(mut self) {
        while self.wait_until_wished().await {
            let Some(turn) = self.acquire_start_permit().await else {
                continue;
            };
            let spec = self.desired.borrow().spec.clone();
            match ConnectorProcess::start(
                &self.shared.spawner,
                &self.shared.page,
                &spec,
                self.shared.heartbeat_interval.every(),
                turn,
            )
            .await
            {
                Ok(process) => {
                    info!(connector = %spec.key, pid = process.pid, "connector process started");
                    self.supervise_process(process).await;
                }
                Err(error) => {
                    self.failed(&spec, format!("its process can't be started: {error}"))
                        .await
                }
            }
        }
    }

    /// Rests while no process is wished. False when no more wishes come.
    async fn wait_until_wished(&mut self) -> bool {
        loop {
            // The last wish outlives whoever made it, and is not to be acted on then.
            if self.desired.has_changed().is_err() {
                return false;
            }
            let number = {
                let wish = self.desired.borrow_and_update();
                if wish.target.needs_process() {
                    return true;
                }
                wish.generation
            };
            self.confirm_generation(number);
            tokio::select! {
                changed = self.desired.changed() => if changed.is_err() { return false },
                // Their process is gone; their answers are for nobody.
                _ = self.calls.next() => {}
            }
        }
    }

    /// Waits for a turn to start a process; `None`: another wish has come.
    async fn acquire_start_permit(&mut self) -> Option<StartPermit> {
        tokio::select! {
            turn = self.shared.spawner.acquire_start_permit() => Some(turn),
            _ = self.desired.changed() => {
                self.desired.mark_changed();
                None
            }
        }
    }

    /// The wish of this number is met.
    fn confirm_generation(&self, number: u64) {
        if self.observed_generation.send_replace(number) != number {
            self.shared.settled.notify_one();
        }
    }

    /// Says what is wrong and waits a while, unless another wish comes first.
    async fn failed(&mut self, spec: &ConnectorSpec, error: String) {
        let wait = self.restarts.step();
        warn!(connector = %spec.key, error, wait_ms = wait.as_millis() as u64, "connector process not running");
        self.shared.status_registry.update(&spec.key, |status| {
            status.state = ConnectorState::Failed;
            status.last_error = Some(error);
        });
        tokio::select! {
            () = sleep(wait) => {}
            _ = self.desired.changed() => self.desired.mark_changed(),
        }
    }

    /// Looks after a process until it is gone.
    async fn supervise_process(&mut self, mut process: ConnectorProcess) {
        let DesiredConnector {
            spec,
            target: stance,
            stale_connections: remains,
            ..
        } = self.desired.borrow_and_update().clone();
        self.connection_closer
            .follow(&self.shared.http, &spec, remains);
        self.calls.session_over();
        self.shared.status_registry.update(&spec.key, |status| {
            status.state = ConnectorState::Starting;
            status.pid = Some(process.pid);
            (status.epoch, status.activated_at) = (None, None);
            status.counts = MessageCounts::default();
        });
        let mut exchange = ObservedProcess {
            spec: spec.clone(),
            created: spec.created,
            target: TargetState::Standby(Duration::ZERO),
            parked: true,
            error: None,
            tally: Tally::default(),
            active_since: None,
        };
        self.configure(&mut process, &spec);
        self.apply_target(&mut process, &mut exchange, &spec, stance);
        loop {
            if exchange.parked && matches!(exchange.target, TargetState::Parked(_)) {
                let number = self.desired.borrow().generation;
                self.confirm_generation(number);
            }
            tokio::select! {
                changed = self.desired.changed() => {
                    if changed.is_err() {
                        return process.reap().await;
                    }
                    let DesiredConnector { spec, target, stale_connections, .. } = self.desired.borrow_and_update().clone();
                    if exchange.active_since.is_none() || !spec.fenced_by_broker {
                        self.connection_closer.follow(&self.shared.http, &spec, stale_connections);
                    }
                    if !spec.has_same_settings(&exchange.spec) {
                        self.configure(&mut process, &spec);
                    }
                    let target = match target {
                        target if !spec.requires_new_process(&exchange.spec) => target,
                        // A release doesn't wait longer for it than it would anyway.
                        TargetState::Parked(drain) => TargetState::Stopped(drain.min(spec.drain_timeout)),
                        _ => TargetState::Stopped(spec.drain_timeout),
                    };
                    self.apply_target(&mut process, &mut exchange, &spec, target);
                    exchange.spec = spec;
                }
                event = process.next() => match event {
                    ProcessEvent::Frame(epoch, frame) => self.handle_frame(&mut process, &mut exchange, epoch, frame),
                    ProcessEvent::Ended(why) => return self.ended(&exchange, why).await,
                },
                (incarnation, outcome) = self.calls.next() => if incarnation == process.incarnation {
                    self.show_outcome(&exchange, &outcome);
                    process.order(to_process::Frame::Outcome(outcome));
                },
                // None behind an order to end: it would be lost with the process.
                send = self.in_flight_sends.next(), if exchange.active_since.is_some() && matches!(exchange.target, TargetState::Active(_)) => {
                    process.order(send);
                }
            }
        }
    }

    async fn ended(&mut self, exchange: &ObservedProcess, why: String) {
        let spec = exchange.spec.clone();
        self.calls.session_over();
        self.in_flight_sends.fail_all();
        self.shared.status_registry.gone(&spec.key);
        self.shared.broker_connections.set(&spec.key, None);
        if !exchange.target.needs_process() {
            info!(connector = %spec.key, why, "connector process gone");
            self.restarts.reset();
            return;
        }
        if exchange
            .active_since
            .is_some_and(|since| since.elapsed() >= STABLE_AFTER)
        {
            self.restarts.reset();
        }
        let lease_over = matches!(exchange.target, TargetState::Active(epoch) if !self.shared.page.reader().holds(epoch));
        let why = if lease_over {
            // Nothing is wrong with the process: it did as it should.
            self.restarts.reset();
            format!("{why} (the lease was over)")
        } else {
            why
        };
        status_registry::restarted(&spec.key);
        self.failed(&spec, format!("its process is gone: {why}"))
            .await;
    }
}
