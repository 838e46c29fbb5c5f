//! Actor that drives one connector process to its target state.
//!
//! The decisions are in [`process_state`], with the laws that they keep. The actor waits for
//! events, has them decided about, and performs the effects in their order. Between two events
//! nothing is awaited but the start of a process and, once the reconciler is gone, its end. A new
//! target is taken in before any event that is decided about, so no process is started, and no end
//! judged, by an older one than was set.

mod process_commands;
mod process_reports;
mod process_state;

use std::{future::pending, sync::Arc};

use quorate_clock::Instant;
use quorate_ipc::lease::LeaseWriter;
use quorate_log::RateLimit;
use quorate_platform::egress_client::EgressClient;
use quorate_proto::connector::{Tally, to_process};
use tokio::{sync::watch, time::sleep_until};
use tracing::{info, warn};

pub(crate) use self::process_state::DesiredConnector;
use self::process_state::{ActorEffect, ActorEvent, ProcessState};
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
    stale_connections::ConnectionCloser,
    status_registry::{self, StatusRegistry},
};

/// Context that all actors share.
pub(crate) struct ActorContext {
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
    pub http: EgressClient,
    pub heartbeat_interval: HeartbeatInterval,
    /// Notified whenever an actor has confirmed a generation, or has ended.
    pub settled: tokio::sync::Notify,
}

/// Actor of one connector.
pub(crate) struct ConnectorActor {
    shared: Arc<ActorContext>,
    desired: watch::Receiver<DesiredConnector>,
    observed_generation: watch::Sender<u64>,
    state: ProcessState,
    /// Process that is there.
    session: Option<ProcessSession>,
    /// Calls of the service, of a channel.
    calls: ServiceCalls,
    /// Sends, of an outgoing.
    in_flight_sends: InFlightSends,
    settings_generation: u64,
    connection_closer: ConnectionCloser,
    log_limit: RateLimit,
}

/// Process with what it has reported.
struct ProcessSession {
    process: ConnectorProcess,
    /// Creation revision of the connector for which it was started.
    created: u64,
    /// Last error that it reported.
    error: Option<String>,
    tally: Tally,
}

struct NotifyOnDrop(Arc<ActorContext>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.settled.notify_one();
    }
}

impl ConnectorActor {
    /// Starts the actor. The returned watch holds the last generation that asked for no process, or
    /// for a parked one, and was reached. It ends when `desired` is closed.
    pub(crate) fn start(
        shared: Arc<ActorContext>,
        mut desired: watch::Receiver<DesiredConnector>,
    ) -> watch::Receiver<u64> {
        let (generations, receiver) = watch::channel(0);
        let first = desired.borrow().clone();
        // The first target is taken in as every later one is.
        desired.mark_changed();
        let actor = ConnectorActor {
            calls: ServiceCalls::new(first.spec.concurrency_max),
            in_flight_sends: InFlightSends::new(&first.spec, &shared.send_router),
            shared,
            desired,
            observed_generation: generations,
            state: ProcessState::new(first),
            session: None,
            settings_generation: 0,
            connection_closer: ConnectionCloser::default(),
            log_limit: RateLimit::each_second(),
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
        // The last target outlives its sender, and is not to be acted on then.
        while let Ok(changed) = self.desired.has_changed() {
            if changed {
                self.take_in_target();
            } else if let Some(event) = self.next_event().await {
                // A target may have come with the event.
                if self.desired.has_changed().unwrap_or(false) {
                    self.take_in_target();
                }
                self.advance(event);
            }
        }
        if let Some(session) = &mut self.session {
            session.process.reap().await;
        }
    }

    fn take_in_target(&mut self) {
        let desired = self.desired.borrow_and_update().clone();
        self.advance(ActorEvent::Targeted(desired));
    }

    /// Waits for the next event, and handles what no decision depends on. Returns an event that is
    /// to be decided about.
    async fn next_event(&mut self) -> Option<ActorEvent> {
        let (wants_permit, retry_at) = (self.state.wants_permit(), self.state.retry_at());
        tokio::select! {
            _ = self.desired.changed() => {
                self.desired.mark_changed();
                None
            }
            permit = self.shared.spawner.acquire_start_permit(), if wants_permit => {
                match self.desired.has_changed() {
                    Ok(false) => Some(self.start_process(permit).await),
                    // It may ask for no process any more.
                    _ => None,
                }
            }
            () = sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => {
                Some(ActorEvent::RetryDue)
            }
            event = next_of(&mut self.session) => match event {
                ProcessEvent::Frame(epoch, frame) => {
                    self.handle_frame(epoch, frame);
                    None
                }
                ProcessEvent::Ended(why) => {
                    let page = self.shared.page.reader();
                    let lease_over = self.state.epoch().is_some_and(|epoch| !page.holds(epoch));
                    Some(ActorEvent::Ended { why, lease_over })
                }
            },
            // A request for a permit that is given up loses its place.
            (incarnation, outcome) = self.calls.next(), if !wants_permit => {
                self.answer(incarnation, outcome);
                None
            }
            send = self.in_flight_sends.next(), if self.state.may_send() => {
                self.order(send);
                None
            }
        }
    }

    async fn start_process(&mut self, start_permit: StartPermit) -> ActorEvent {
        self.advance(ActorEvent::Permitted);
        let spec = self.desired.borrow().spec.clone();
        let started = ConnectorProcess::start(
            &self.shared.spawner,
            &self.shared.page,
            &spec,
            self.shared.heartbeat_interval.every(),
            start_permit,
        );
        match started.await {
            Ok(process) => {
                info!(connector = %spec.key, pid = process.pid, "connector process started");
                // Its first command follows the newest target.
                self.take_in_target();
                self.session = Some(ProcessSession {
                    process,
                    created: self.spec().created,
                    error: None,
                    tally: Tally::default(),
                });
                ActorEvent::Started
            }
            Err(error) => ActorEvent::StartFailed(error.to_string()),
        }
    }

    /// Has an event decided about, and performs the effects.
    fn advance(&mut self, event: ActorEvent) {
        for effect in self.state.transition(event, Instant::now()) {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: ActorEffect) {
        let spec = self.spec().clone();
        let (key, statuses) = (&spec.key, &self.shared.status_registry);
        match effect {
            ActorEffect::CloseStaleConnections => {
                let stale_connections = self.state.desired().stale_connections.clone();
                self.connection_closer
                    .follow(&self.shared.http, &spec, stale_connections);
            }
            ActorEffect::StopClosingConnections => self.connection_closer.stop(),
            ActorEffect::EndSession => self.calls.session_over(),
            ActorEffect::ShowStarting => statuses.update(key, |status| {
                status.state = ConnectorState::Starting;
                status.pid = self.session.as_ref().map(|session| session.process.pid);
                (status.epoch, status.activated_at) = (None, None);
                status.counts = MessageCounts::default();
            }),
            ActorEffect::Configure => self.configure(&spec),
            ActorEffect::Command(command) => self.command(&spec, command),
            ActorEffect::KillAt(at) => {
                if let Some(session) = &mut self.session {
                    session.process.kill_at(at);
                }
            }
            ActorEffect::ShowEpoch(epoch) => statuses.update(key, |status| {
                (status.epoch, status.activated_at) = (epoch, None);
            }),
            ActorEffect::ForgetProcess => {
                self.session = None;
                self.in_flight_sends.fail_all();
                statuses.gone(key);
                self.shared.broker_connections.set(key, None);
            }
            ActorEffect::LogEnd(why) => info!(connector = %key, why, "connector process gone"),
            ActorEffect::CountRestart => status_registry::restarted(key),
            ActorEffect::ShowFailure { error, wait } => {
                warn!(connector = %key, error, wait_ms = wait.as_millis() as u64, "connector process not running");
                statuses.update(key, |status| {
                    status.state = ConnectorState::Failed;
                    status.last_error = Some(error);
                });
            }
            ActorEffect::ConfirmGeneration(generation) => {
                self.observed_generation.send_replace(generation);
                self.shared.settled.notify_one();
            }
        }
    }

    /// Sends a frame to the process, if one is there.
    fn order(&mut self, frame: to_process::Frame) {
        if let Some(session) = &mut self.session {
            session.process.order(frame);
        }
    }

    /// Returns the spec of the target last taken in.
    fn spec(&self) -> &Arc<ConnectorSpec> {
        &self.state.desired().spec
    }
}

/// Returns the next event of the process, or waits when none is there. Cancel safe.
async fn next_of(session: &mut Option<ProcessSession>) -> ProcessEvent {
    match session {
        Some(session) => session.process.next().await,
        None => pending().await,
    }
}
