//! Connectors: one process for each channel that consumes and each outgoing that sends, on
//! the connector server only; on the other voters one that stands by.
//!
//! `reign` asks for the reign and keeps the lease page; `supervisor` compares what is
//! `declared` with who acts and asks one `keeper` per connector for a process; `process` is
//! such a process as its parent holds it; what runs inside is the crate `connector`. Inbound, `gateway`
//! hands a channel's messages to the services and judges the answers; outbound, `outlets`
//! takes messages to an outgoing's keeper. `names` records what the brokers call the
//! connections, `progress` how far the channels have come, and `evict` closes those that a
//! former holder left behind. `chronicle` looks on and tells how each reign began.

#![deny(unsafe_code)]

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
mod process_spawner;
mod progress_writer;
mod reconciler;
pub mod reign_driver;
mod reign_status;
mod send_queue;
mod send_router;
mod service_calls;
mod spec_builder;
mod stale_connections;
mod status_registry;
mod takeover_policy;
pub mod takeover_recorder;
mod target_state;

use std::{collections::BTreeSet, io, path::PathBuf, sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_log::LogSettings;
use quorate_types::{EffectiveTiming, Leadership, MemberId, MemberList};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::timeout,
};

use self::{
    broker_connections::{BrokerConnectionRecorder, LocalBrokerConnections},
    connector_actor::ActorContext,
    gateway::DeliveryGateway,
    heartbeat_interval::HeartbeatInterval,
    lease_lapses::LapseTracker,
    process_spawner::ProcessSpawner,
    progress_writer::ProgressWriter,
    reconciler::{ConnectorReconciler, StandbyPolicy},
    reign_driver::{REAP_TIMEOUT, ReignDriver, ReleaseRequest},
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
    send_router::SendUnavailable,
};
use quorate_ipc::lease::LeaseWriter;
pub use quorate_ipc::{IPC_DIR_HOLDS, LocalRules, SendOutcome};
use quorate_service::api::ServiceDispatch;
pub use quorate_types::backoff::Backoff;

/// The shortest time in which a process must give a sign of life. A loaded machine holds
/// up a healthy process for longer than the lease of a short promise; it costs nothing to
/// wait, since the lease is kept by the process itself.
const SILENCE_MIN: Duration = Duration::from_millis(500);

/// What the connectors are built on.
pub struct SupervisorContext {
    /// This member's id.
    pub me: MemberId,
    /// This member's name.
    pub name: String,
    /// The timers in force.
    pub pace: watch::Receiver<EffectiveTiming>,
    /// Where the lease is kept: a runtime that nothing else of this member holds up.
    pub prompt: tokio::runtime::Handle,
    /// Who leads.
    pub leadership: watch::Receiver<Leadership>,
    /// The members, for their names and for who can be elected.
    pub members: watch::Receiver<MemberList>,
    /// Members that don't answer, as far as this one knows.
    pub silent: watch::Receiver<Arc<BTreeSet<MemberId>>>,
    /// What is declared, and who reigns ([`ConnectorsView::follow`]).
    pub view: watch::Receiver<Arc<ConnectorsView>>,
    /// At most so many processes stand by while another member runs the connectors.
    pub standby_max: usize,
    /// What this host allows connectors.
    pub rules: LocalRules,
    /// Puts the reign's commands into the log.
    pub proposer: Arc<dyn CommandProposer>,
    /// Calls services.
    pub dispatch: Arc<dyn ServiceDispatch>,
    /// How connector processes write their logs.
    pub log: LogSettings,
    /// The program that calls [`child::run_if_asked`] first thing in its `main`:
    /// normally [`this_program`].
    pub program: PathBuf,
}

/// This program itself, also after its file was replaced.
pub fn this_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// The connectors of a running member.
#[derive(Clone)]
pub struct SupervisorHandle {
    statuses: watch::Receiver<Arc<Vec<ConnectorStatus>>>,
    standing: watch::Receiver<ReignStatus>,
    lapses: watch::Receiver<LeaseLapses>,
    supervised: watch::Receiver<()>,
    release_requests: mpsc::Sender<ReleaseRequest>,
    send_router: Arc<SendRouter>,
    pace: watch::Receiver<EffectiveTiming>,
}

/// Starts following the leadership and the state.
pub fn start(context: SupervisorContext) -> io::Result<SupervisorHandle> {
    let SupervisorContext {
        me,
        name,
        pace,
        prompt,
        leadership,
        members,
        silent,
        view,
        standby_max,
        rules,
        proposer,
        dispatch,
        log,
        program,
    } = context;
    let page = Arc::new(LeaseWriter::new()?);
    let board = Arc::new(StatusRegistry::new(name.clone()));
    let statuses = board.watch();
    let (standing_sender, standing) = watch::channel(ReignStatus::default());
    let (lapses_sender, lapses) = watch::channel(LeaseLapses::default());
    let (rested_sender, rested) = watch::channel(0);
    let (leavers, leavers_received) = mpsc::channel(8);
    let outlets = Arc::new(SendRouter::new(standing.clone(), view.clone()));
    let shared = ActorContext {
        gateway: Arc::new(DeliveryGateway::new(
            dispatch,
            page.reader().clone(),
            view.clone(),
            outlets.clone(),
        )),
        send_router: outlets.clone(),
        spawner: ProcessSpawner::start(program, pace.clone(), &rules, &log)?,
        page: page.clone(),
        status_registry: board.clone(),
        broker_connections: LocalBrokerConnections::new(),
        progress: Arc::new(ProgressWriter::default()),
        view: view.clone(),
        http: client()?,
        heartbeat_interval: HeartbeatInterval::new(pace.clone()),
        settled: Notify::new(),
    };
    let shared = Arc::new(shared);
    let recorder = BrokerConnectionRecorder {
        me,
        connections: shared.broker_connections.watch(),
        view: view.clone(),
        leadership: leadership.clone(),
        members: members.clone(),
        proposer: proposer.clone(),
    };
    let warmth = StandbyPolicy {
        me,
        members: members.clone(),
        processes_max: standby_max,
        pace: pace.clone(),
    };
    let chronicle = TakeoverRecorder {
        me,
        name,
        pace: pace.clone(),
        leadership: leadership.clone(),
        view: view.clone(),
        standing: standing.clone(),
        statuses: statuses.clone(),
        members,
        proposer: proposer.clone(),
    };
    let writer = proposer.clone();
    let reigning = ReignDriver {
        me,
        pace: pace.clone(),
        page,
        proposer,
        leadership,
        view: view.clone(),
        status: standing_sender,
        lapses: LapseTracker::new(lapses_sender),
        drained: rested,
        release_requests: leavers_received,
    };
    tokio::spawn(board.publish_changes());
    prompt.spawn(reigning.run());
    tokio::spawn(chronicle.run());
    tokio::spawn(recorder.run());
    let rested = shared.clone();
    let writing = shared
        .progress
        .clone()
        .run(writer, move || rested.settled.notify_one());
    tokio::spawn(writing);
    let (supervisor, supervised) = ConnectorReconciler::new(
        shared,
        warmth,
        view,
        standing.clone(),
        silent,
        rested_sender,
    );
    tokio::spawn(supervisor.run());
    Ok(SupervisorHandle {
        statuses,
        standing,
        lapses,
        supervised,
        release_requests: leavers,
        send_router: outlets,
        pace,
    })
}

/// How long a process may give no sign of life, and how long it has to leave its broker
/// once its lease is revoked.
fn silence(pace: &watch::Receiver<EffectiveTiming>) -> Duration {
    pace.borrow().lease.lease.max(SILENCE_MIN)
}

/// For brokers' management faces.
fn client() -> io::Result<reqwest::Client> {
    quorate_platform::tls_provider::install_provider();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(2)
        .build()
        .map_err(io::Error::other)
}

impl SupervisorHandle {
    /// The connectors of this member: on the connector server all of them, on another
    /// voter those that stand by.
    pub fn statuses(&self) -> watch::Receiver<Arc<Vec<ConnectorStatus>>> {
        self.statuses.clone()
    }

    /// Whether this member acts as the connector server.
    pub fn reign(&self) -> watch::Receiver<ReignStatus> {
        self.standing.clone()
    }

    /// How often the lease of this member's reigns has run out.
    pub fn lapses(&self) -> watch::Receiver<LeaseLapses> {
        self.lapses.clone()
    }

    /// Sends a message by the outgoing of this kind and name, if this member is the connector
    /// server. Waits until the deadline for the outgoing to be able to. The numbers of
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

    /// Ends with what looks after the processes, which should outlive everything.
    pub fn supervised(&self) -> watch::Receiver<()> {
        self.supervised.clone()
    }

    /// Lets go of the reign in an orderly way: what is in flight finishes within `drain`,
    /// the processes stand by (those that don't are killed and reaped), the lease is revoked,
    /// the release is committed. For before a transfer of the leadership: should this member
    /// still lead once the [`ReleaseGuard`] is dropped, it takes over again, under a new epoch.
    pub async fn release(&self, drain: Duration) -> ReleaseGuard {
        self.leave(drain, false).await
    }

    /// As [`SupervisorHandle::release`], for good: for before the member stops.
    pub async fn shutdown(&self, drain: Duration) {
        drop(self.leave(drain, true).await);
    }

    fn failover(&self) -> Duration {
        self.pace.borrow().patience.failover
    }

    async fn leave(&self, drain: Duration, for_good: bool) -> ReleaseGuard {
        let (wish, parted) = oneshot::channel();
        let (done, let_go) = oneshot::channel();
        let leaver = ReleaseRequest {
            drain,
            for_good,
            done,
            withdrawn: parted,
        };
        if self.release_requests.send(leaver).await.is_ok() {
            let _ = timeout(drain + REAP_TIMEOUT + self.failover() * 3, let_go).await;
        }
        ReleaseGuard { _wish: wish }
    }
}

/// This member has let go of its reign, and takes over no more in its term before this is
/// dropped.
#[must_use = "once it is dropped, a member that still leads takes over again"]
pub struct ReleaseGuard {
    _wish: oneshot::Sender<()>,
}
