//! Parent side of the connectors: the reign, the processes it runs, and what passes through them.
//!
//! There is one process for each channel that consumes and each outgoing that sends, on the
//! connector server only; on the other voters one that stands by.
//!
//! - `reign_driver` asks for the reign and keeps the lease page; `takeover_policy` decides for it,
//!   and `release_sequence` ends a reign in an orderly way.
//! - `reconciler` compares the specs of `spec_builder` with the reign and gives one
//!   `connector_actor` per connector its `target_state`. `connector_process` is the parent side of
//!   such a process; its inside is the crate `connector`.
//! - Inbound, `gateway` hands a channel's messages to the services and judges the answers;
//!   outbound, `send_router` takes messages to an outgoing's actor.
//! - `broker_connections` records the names that the brokers gave the connections,
//!   `progress_writer` the progress of the channels, and `stale_connections` closes what a former
//!   holder left behind.
//! - `takeover_recorder` observes how each reign began and records it.
//! - `takeover_reason` says why, in a word.

#![deny(unsafe_code)]
#![warn(unreachable_pub)]

mod broker_connections;
mod connector_actor;
mod connector_process;
mod connector_spec;
pub mod connector_status;
pub mod connectors_view;
#[doc(hidden)]
pub mod decision_core;
mod gateway;
mod heartbeat_interval;
mod in_flight_sends;
mod lease_lapses;
mod process_environment;
mod process_spawner;
mod progress_writer;
mod reconciler;
pub mod reign_driver;
mod reign_status;
mod release_sequence;
mod send_queue;
mod send_router;
mod service_calls;
mod spec_builder;
mod stale_connections;
mod status_registry;
mod takeover_policy;
pub mod takeover_reason;
mod takeover_recorder;
mod target_state;

use std::{collections::BTreeSet, io, path::PathBuf, sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_log::LogSettings;
use quorate_platform::{egress::EgressPolicy, egress_client::EgressClient};
use quorate_types::{EffectiveTiming, Leadership, MemberId, MemberList};
use tokio::sync::{Notify, mpsc, watch};

use self::{
    broker_connections::{BrokerConnectionRecorder, LocalBrokerConnections},
    connector_actor::ActorContext,
    gateway::DeliveryGateway,
    heartbeat_interval::HeartbeatInterval,
    lease_lapses::LapseTracker,
    process_spawner::ProcessSpawner,
    progress_writer::ProgressWriter,
    reconciler::{ConnectorReconciler, StandbyPolicy},
    reign_driver::ReignDriver,
    release_sequence::{ReleaseRequest, ReleaseSequence},
    send_router::SendRouter,
    status_registry::StatusRegistry,
    takeover_recorder::TakeoverRecorder,
};
pub use self::{
    connector_spec::ConnectorKey,
    connector_status::{ConnectorState, ConnectorStatus},
    connectors_view::ConnectorsView,
    lease_lapses::LeaseLapses,
    reign_driver::CommandProposer,
    reign_status::ReignStatus,
    release_sequence::ReleaseGuard,
    send_router::SendUnavailable,
};
use quorate_ipc::lease::LeaseWriter;
pub use quorate_ipc::{
    EgressNetworks, IPC_DIR_HOLDS, LocalRules, ProcessRules, SandboxMode, SendOutcome,
    connector_sandbox,
};
use quorate_service::api::ServiceDispatch;
pub use quorate_types::backoff::Backoff;

/// Shortest silence after which a process counts as stuck. A loaded machine holds up a healthy
/// process for longer than the lease of a short promise; waiting costs nothing, since the process
/// keeps the lease itself.
const SILENCE_MIN: Duration = Duration::from_millis(500);

/// Parts of a member that the supervisor is built on.
pub struct SupervisorContext {
    /// Id of this member.
    pub me: MemberId,
    /// Name of this member.
    pub name: String,
    /// Timers in force.
    pub timing: watch::Receiver<EffectiveTiming>,
    /// Runtime that keeps the lease, which nothing else of this member holds up.
    pub lease_runtime: tokio::runtime::Handle,
    /// Current leadership.
    pub leadership: watch::Receiver<Leadership>,
    /// Members, for their names and for which of them can be elected.
    pub members: watch::Receiver<MemberList>,
    /// Members that don't answer, as far as this one knows.
    pub silent: watch::Receiver<Arc<BTreeSet<MemberId>>>,
    /// Declared connectors and the reign ([`ConnectorsView::follow`]).
    pub view: watch::Receiver<Arc<ConnectorsView>>,
    /// Most processes that stand by while another member runs the connectors.
    pub standby_max: usize,
    /// Rules of this host for connectors.
    pub rules: LocalRules,
    /// Rules of this host for the management faces of brokers.
    pub egress: EgressPolicy,
    /// Proposer of the reign's commands.
    pub proposer: Arc<dyn CommandProposer>,
    /// Caller of services.
    pub dispatch: Arc<dyn ServiceDispatch>,
    /// Log settings of connector processes.
    pub log: LogSettings,
    /// Program that calls `quorate::run_if_asked` first thing in its `main`: normally
    /// [`this_program`].
    pub program: PathBuf,
}

/// Returns the path of the running program, also after its file was replaced.
pub fn this_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Handle of a running member's connectors.
#[derive(Clone)]
pub struct SupervisorHandle {
    statuses: watch::Receiver<Arc<Vec<ConnectorStatus>>>,
    reign_status: watch::Receiver<ReignStatus>,
    lapses: watch::Receiver<LeaseLapses>,
    supervised: watch::Receiver<()>,
    release_requests: mpsc::Sender<ReleaseRequest>,
    send_router: Arc<SendRouter>,
    timing: watch::Receiver<EffectiveTiming>,
}

/// Starts to follow the leadership and the state.
pub fn start(context: SupervisorContext) -> io::Result<SupervisorHandle> {
    let page = Arc::new(LeaseWriter::new()?);
    let status_registry = Arc::new(StatusRegistry::new(context.name.clone()));
    let statuses = status_registry.watch();
    let (status_sender, reign_status) = watch::channel(ReignStatus::default());
    let (lapses_sender, lapses) = watch::channel(LeaseLapses::default());
    let (drained_sender, drained) = watch::channel(0);
    let (release_requests, requests_received) = mpsc::channel(8);
    let send_router = Arc::new(SendRouter::new(reign_status.clone(), context.view.clone()));
    let shared = Arc::new(actor_context(
        &context,
        page.clone(),
        status_registry.clone(),
        send_router.clone(),
    )?);
    let driver = ReignDriver {
        me: context.me,
        timing: context.timing.clone(),
        page,
        proposer: context.proposer.clone(),
        leadership: context.leadership.clone(),
        view: context.view.clone(),
        status: status_sender,
        lapses: LapseTracker::new(lapses_sender),
        drained,
        release_requests: requests_received,
    };
    tokio::spawn(status_registry.publish_changes());
    context.lease_runtime.spawn(driver.run());
    spawn_recorders(&context, &shared, &reign_status, &statuses);
    let standby_policy = StandbyPolicy {
        me: context.me,
        members: context.members,
        processes_max: context.standby_max,
        timing: context.timing.clone(),
    };
    let (reconciler, supervised) = ConnectorReconciler::new(
        shared,
        standby_policy,
        context.view,
        reign_status.clone(),
        context.silent,
        drained_sender,
    );
    tokio::spawn(reconciler.run());
    Ok(SupervisorHandle {
        statuses,
        reign_status,
        lapses,
        supervised,
        release_requests,
        send_router,
        timing: context.timing,
    })
}

/// Builds the context that all actors share, and starts the thread that starts processes.
fn actor_context(
    context: &SupervisorContext,
    page: Arc<LeaseWriter>,
    status_registry: Arc<StatusRegistry>,
    send_router: Arc<SendRouter>,
) -> io::Result<ActorContext> {
    let SupervisorContext {
        timing,
        view,
        rules,
        egress,
        dispatch,
        log,
        program,
        ..
    } = context;
    Ok(ActorContext {
        gateway: Arc::new(DeliveryGateway::new(
            dispatch.clone(),
            page.reader().clone(),
            view.clone(),
            send_router.clone(),
        )),
        send_router,
        spawner: ProcessSpawner::start(program.clone(), timing.clone(), rules, log)?,
        page,
        status_registry,
        broker_connections: LocalBrokerConnections::new(),
        progress: Arc::new(ProgressWriter::default()),
        view: view.clone(),
        http: EgressClient::new(egress.clone()).map_err(io::Error::other)?,
        heartbeat_interval: HeartbeatInterval::new(timing.clone()),
        settled: Notify::new(),
    })
}

/// Spawns the tasks that write what they see into the replicated state.
fn spawn_recorders(
    context: &SupervisorContext,
    shared: &Arc<ActorContext>,
    reign_status: &watch::Receiver<ReignStatus>,
    statuses: &watch::Receiver<Arc<Vec<ConnectorStatus>>>,
) {
    let takeovers = TakeoverRecorder {
        me: context.me,
        name: context.name.clone(),
        timing: context.timing.clone(),
        leadership: context.leadership.clone(),
        view: context.view.clone(),
        reign_status: reign_status.clone(),
        statuses: statuses.clone(),
        members: context.members.clone(),
        proposer: context.proposer.clone(),
    };
    let broker_connections = BrokerConnectionRecorder {
        me: context.me,
        connections: shared.broker_connections.watch(),
        view: context.view.clone(),
        leadership: context.leadership.clone(),
        members: context.members.clone(),
        proposer: context.proposer.clone(),
    };
    let settled = shared.clone();
    let progress = shared
        .progress
        .clone()
        .run(context.proposer.clone(), move || {
            settled.settled.notify_one()
        });
    tokio::spawn(takeovers.run());
    tokio::spawn(broker_connections.run());
    tokio::spawn(progress);
}

/// Longest silence of a process, and the time it has to leave its broker once its lease is revoked.
fn silence(timing: &watch::Receiver<EffectiveTiming>) -> Duration {
    timing.borrow().lease.lease.max(SILENCE_MIN)
}

impl SupervisorHandle {
    /// Returns the statuses of this member's connectors: on the connector server all of them, on
    /// another voter those that stand by.
    pub fn statuses(&self) -> watch::Receiver<Arc<Vec<ConnectorStatus>>> {
        self.statuses.clone()
    }

    /// Returns a watch of this member's part in the reign.
    pub fn reign(&self) -> watch::Receiver<ReignStatus> {
        self.reign_status.clone()
    }

    /// Returns a watch of the lapses of this member's leases.
    pub fn lapses(&self) -> watch::Receiver<LeaseLapses> {
        self.lapses.clone()
    }

    /// Sends a message by the outgoing of this kind and name, if this member is the connector
    /// server. Waits until the deadline for the outgoing to become able to. The numbers of
    /// `message` are set on the way.
    pub async fn send(
        &self,
        kind: &str,
        name: &str,
        message: quorate_proto::connector::Send,
        deadline: Instant,
    ) -> Result<SendOutcome, SendUnavailable> {
        self.send_router.send(kind, name, message, deadline).await
    }

    /// Returns a watch that ends with the reconciler, which should outlive everything.
    pub fn supervised(&self) -> watch::Receiver<()> {
        self.supervised.clone()
    }

    /// Releases the reign in an orderly way, for before a transfer of the leadership: see
    /// [`ReleaseSequence`]. Should this member still lead once the [`ReleaseGuard`] is dropped, it
    /// takes over again, under a new epoch.
    pub async fn release(&self, drain: Duration) -> ReleaseGuard {
        self.run_release(ReleaseSequence::new(drain, false)).await
    }

    /// Releases the reign for good, for before the member stops.
    pub async fn shutdown(&self, drain: Duration) {
        drop(self.run_release(ReleaseSequence::new(drain, true)).await);
    }

    async fn run_release(&self, release: ReleaseSequence) -> ReleaseGuard {
        let failover = || self.timing.borrow().patience.failover;
        release.run(&self.release_requests, failover).await
    }
}
