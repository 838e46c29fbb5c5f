//! Actor that drives one connector process to its target state.
//!
//! There is at most one process of a connector at a time on a member: the next is started after the
//! last has been reaped.

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

/// Time after which a consuming process counts as stable: the next restart waits little.
const STABLE_AFTER: Duration = Duration::from_secs(5);
/// Time beyond its drain that a process has to stop before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// The same for a process that parks: shorter, since the release waits for it.
const PARK_GRACE: Duration = Duration::from_millis(200);

/// Context that all actors share.
pub struct ActorContext {
    pub page: Arc<LeaseWriter>,
    pub spawner: ProcessSpawner,
    pub gateway: Arc<DeliveryGateway>,
    /// Send queues of the outgoings.
    pub send_router: Arc<SendRouter>,
    pub status_registry: Arc<StatusRegistry>,
    /// Names that the brokers gave the connections.
    pub broker_connections: LocalBrokerConnections,
    pub progress: Arc<ProgressWriter>,
    pub view: watch::Receiver<Arc<ConnectorsView>>,
    /// Client for the brokers' management APIs.
    pub http: reqwest::Client,
    pub heartbeat_interval: HeartbeatInterval,
    /// Notified whenever an actor has confirmed a generation, or has ended.
    pub settled: tokio::sync::Notify,
}

/// Target that the reconciler sets for one actor.
#[derive(Clone)]
pub struct DesiredConnector {
    pub spec: Arc<ConnectorSpec>,
    /// Target state of its process.
    pub target: TargetState,
    /// Connections that another member has left at the broker, to be closed.
    pub stale_connections: Option<StaleConnections>,
    /// Number of this target, counted per actor from 1.
    pub generation: u64,
}

/// Actor of one connector.
pub struct ConnectorActor {
    shared: Arc<ActorContext>,
    desired: watch::Receiver<DesiredConnector>,
    observed_generation: watch::Sender<u64>,
    /// Calls of the service, of a channel.
    calls: ServiceCalls,
    /// Sends, of an outgoing.
    in_flight_sends: InFlightSends,
    settings_generation: u64,
    /// Number of commands to stand by that were sent.
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

/// Target and reports of one process, as the actor has observed them.
struct ObservedProcess {
    /// Last error that the process reported.
    error: Option<String>,
    spec: Arc<ConnectorSpec>,
    /// Creation revision of the connector for which the process was started.
    created: u64,
    target: TargetState,
    /// True while the process stands by for sure: nothing was begun, or it reported that all is
    /// closed.
    parked: bool,
    tally: Tally,
    active_since: Option<Instant>,
}

impl ConnectorActor {
    /// Starts the actor. The returned watch holds the last generation that asked for no process, or
    /// for a parked one, and was reached. It ends when `desired` is closed.
    pub fn start(
        shared: Arc<ActorContext>,
        desired: watch::Receiver<DesiredConnector>,
    ) -> watch::Receiver<u64> {
        let (generations, receiver) = watch::channel(0);
        let spec = desired.borrow().spec.clone();
        let actor = ConnectorActor {
            calls: ServiceCalls::new(spec.concurrency_max),
            in_flight_sends: InFlightSends::new(&spec, &shared.send_router),
            shared,
            desired,
            observed_generation: generations,
            settings_generation: 0,
            standby_orders: 0,
            connection_closer: ConnectionCloser::default(),
            log_limit: RateLimit::each_second(),
            restarts: Backoff::new(Duration::from_millis(100), Duration::from_secs(10)),
        };
        // However the actor ends, the reconciler is notified.
        let notify = NotifyOnDrop(actor.shared.clone());
        tokio::spawn(async move {
            let _notify = notify;
            actor.run().await;
        });
        receiver
    }

    async fn run(mut self) {
        while self.wait_until_wished().await {
            let Some(start_permit) = self.acquire_start_permit().await else {
                continue;
            };
            let spec = self.desired.borrow().spec.clone();
            match ConnectorProcess::start(
                &self.shared.spawner,
                &self.shared.page,
                &spec,
                self.shared.heartbeat_interval.every(),
                start_permit,
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

    /// Waits until a process is desired. Returns false when the reconciler is gone.
    async fn wait_until_wished(&mut self) -> bool {
        loop {
            // The last target outlives its sender, and is not to be acted on then.
            if self.desired.has_changed().is_err() {
                return false;
            }
            let number = {
                let desired = self.desired.borrow_and_update();
                if desired.target.needs_process() {
                    return true;
                }
                desired.generation
            };
            self.confirm_generation(number);
            tokio::select! {
                changed = self.desired.changed() => if changed.is_err() { return false },
                // Their process is gone: nobody waits for these answers.
                _ = self.calls.next() => {}
            }
        }
    }

    /// Waits for a permit to start a process; `None`: the target has changed meanwhile.
    async fn acquire_start_permit(&mut self) -> Option<StartPermit> {
        tokio::select! {
            start_permit = self.shared.spawner.acquire_start_permit() => Some(start_permit),
            _ = self.desired.changed() => {
                self.desired.mark_changed();
                None
            }
        }
    }

    /// Publishes that this generation was reached.
    fn confirm_generation(&self, number: u64) {
        if self.observed_generation.send_replace(number) != number {
            self.shared.settled.notify_one();
        }
    }

    /// Shows the error and waits for the backoff, or until the target changes.
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

    /// Supervises a process until it is gone.
    async fn supervise_process(&mut self, mut process: ConnectorProcess) {
        let DesiredConnector {
            spec,
            target,
            stale_connections,
            ..
        } = self.desired.borrow_and_update().clone();
        self.connection_closer
            .follow(&self.shared.http, &spec, stale_connections);
        self.calls.session_over();
        self.shared.status_registry.update(&spec.key, |status| {
            status.state = ConnectorState::Starting;
            status.pid = Some(process.pid);
            (status.epoch, status.activated_at) = (None, None);
            status.counts = MessageCounts::default();
        });
        let mut observed = ObservedProcess {
            spec: spec.clone(),
            created: spec.created,
            target: TargetState::Standby(Duration::ZERO),
            parked: true,
            error: None,
            tally: Tally::default(),
            active_since: None,
        };
        self.configure(&mut process, &spec);
        self.apply_target(&mut process, &mut observed, &spec, target);
        loop {
            if observed.parked && matches!(observed.target, TargetState::Parked(_)) {
                let number = self.desired.borrow().generation;
                self.confirm_generation(number);
            }
            tokio::select! {
                changed = self.desired.changed() => {
                    if changed.is_err() {
                        return process.reap().await;
                    }
                    let DesiredConnector { spec, target, stale_connections, .. } = self.desired.borrow_and_update().clone();
                    if observed.active_since.is_none() || !spec.fenced_by_broker {
                        self.connection_closer.follow(&self.shared.http, &spec, stale_connections);
                    }
                    if !spec.has_same_settings(&observed.spec) {
                        self.configure(&mut process, &spec);
                    }
                    let target = match target {
                        target if !spec.requires_new_process(&observed.spec) => target,
                        // A release waits no longer for a process that must be replaced than for
                        // one that parks.
                        TargetState::Parked(drain) => TargetState::Stopped(drain.min(spec.drain_timeout)),
                        _ => TargetState::Stopped(spec.drain_timeout),
                    };
                    self.apply_target(&mut process, &mut observed, &spec, target);
                    observed.spec = spec;
                }
                event = process.next() => match event {
                    ProcessEvent::Frame(epoch, frame) => self.handle_frame(&mut process, &mut observed, epoch, frame),
                    ProcessEvent::Ended(why) => return self.ended(&observed, why).await,
                },
                (incarnation, outcome) = self.calls.next() => if incarnation == process.incarnation {
                    self.show_outcome(&observed, &outcome);
                    process.order(to_process::Frame::Outcome(outcome));
                },
                // No message behind a command to stop: it would be lost with the process.
                send = self.in_flight_sends.next(), if observed.active_since.is_some() && matches!(observed.target, TargetState::Active(_)) => {
                    process.order(send);
                }
            }
        }
    }

    async fn ended(&mut self, observed: &ObservedProcess, why: String) {
        let spec = observed.spec.clone();
        self.calls.session_over();
        self.in_flight_sends.fail_all();
        self.shared.status_registry.gone(&spec.key);
        self.shared.broker_connections.set(&spec.key, None);
        if !observed.target.needs_process() {
            info!(connector = %spec.key, why, "connector process gone");
            self.restarts.reset();
            return;
        }
        if observed
            .active_since
            .is_some_and(|since| since.elapsed() >= STABLE_AFTER)
        {
            self.restarts.reset();
        }
        let lease_over = matches!(observed.target, TargetState::Active(epoch) if !self.shared.page.reader().holds(epoch));
        let why = if lease_over {
            // Nothing is wrong with the process: it ended because it had to.
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
