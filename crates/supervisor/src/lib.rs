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

mod board;
mod calls;
pub mod chronicle;
#[doc(hidden)]
pub mod deciders;
mod declared;
mod evict;
mod gateway;
mod keeper;
mod lapses;
mod mail;
mod mailbox;
mod names;
mod outlets;
mod process;
mod progress;
pub mod reign;
mod signs;
mod spawner;
mod spec;
mod stance;
mod standing;
pub mod status;
mod supervisor;
mod takeover;
pub mod view;

use std::{collections::BTreeSet, io, path::PathBuf, sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_log::LogSettings;
use quorate_types::{Leadership, MemberId, Members, Pace};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::timeout,
};

use self::{
    board::Board,
    chronicle::Chronicle,
    gateway::Gateway,
    keeper::Shared,
    lapses::LapseTracker,
    names::{Names, Recorder},
    outlets::Outlets,
    progress::ProgressWriter,
    reign::{Leaver, REAPED, Reigning},
    signs::Signs,
    spawner::Spawner,
    supervisor::{Supervisor, Warmth},
};
pub use self::{
    lapses::Lapses,
    outlets::NoWay,
    reign::Proposer,
    spec::Key,
    standing::Standing,
    status::{ConnectorState, ConnectorStatus},
    view::View,
};
use quorate_ipc::lease::Page;
pub use quorate_ipc::{IPC_DIR_HOLDS, LocalRules, Sent};
use quorate_service::api::Dispatch;
pub use quorate_types::backoff::Backoff;

/// The shortest time in which a process must give a sign of life. A loaded machine holds
/// up a healthy process for longer than the lease of a short promise; it costs nothing to
/// wait, since the lease is kept by the process itself.
const SILENCE_MIN: Duration = Duration::from_millis(500);

/// What the connectors are built on.
pub struct Context {
    /// This member's id.
    pub me: MemberId,
    /// This member's name.
    pub name: String,
    /// The timers in force.
    pub pace: watch::Receiver<Pace>,
    /// Where the lease is kept: a runtime that nothing else of this member holds up.
    pub prompt: tokio::runtime::Handle,
    /// Who leads.
    pub leadership: watch::Receiver<Leadership>,
    /// The members, for their names and for who can be elected.
    pub members: watch::Receiver<Members>,
    /// Members that don't answer, as far as this one knows.
    pub silent: watch::Receiver<Arc<BTreeSet<MemberId>>>,
    /// What is declared, and who reigns ([`View::follow`]).
    pub view: watch::Receiver<Arc<View>>,
    /// At most so many processes stand by while another member runs the connectors.
    pub standby_max: usize,
    /// What this host allows connectors.
    pub rules: LocalRules,
    /// Puts the reign's commands into the log.
    pub proposer: Arc<dyn Proposer>,
    /// Calls services.
    pub dispatch: Arc<dyn Dispatch>,
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
pub struct Handle {
    statuses: watch::Receiver<Arc<Vec<ConnectorStatus>>>,
    standing: watch::Receiver<Standing>,
    lapses: watch::Receiver<Lapses>,
    supervised: watch::Receiver<()>,
    leavers: mpsc::Sender<Leaver>,
    outlets: Arc<Outlets>,
    pace: watch::Receiver<Pace>,
}

/// Starts following the leadership and the state.
pub fn start(context: Context) -> io::Result<Handle> {
    let Context {
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
    let page = Arc::new(Page::new()?);
    let board = Arc::new(Board::new(name.clone()));
    let statuses = board.watch();
    let (standing_sender, standing) = watch::channel(Standing::default());
    let (lapses_sender, lapses) = watch::channel(Lapses::default());
    let (rested_sender, rested) = watch::channel(0);
    let (leavers, leavers_received) = mpsc::channel(8);
    let outlets = Arc::new(Outlets::new(standing.clone(), view.clone()));
    let shared = Shared {
        gateway: Arc::new(Gateway::new(
            dispatch,
            page.view().clone(),
            view.clone(),
            outlets.clone(),
        )),
        outlets: outlets.clone(),
        spawner: Spawner::start(program, pace.clone(), &rules, &log)?,
        page: page.clone(),
        board: board.clone(),
        names: Names::new(),
        progress: Arc::new(ProgressWriter::default()),
        view: view.clone(),
        http: client()?,
        signs: Signs::new(pace.clone()),
        rested: Notify::new(),
    };
    let shared = Arc::new(shared);
    let recorder = Recorder {
        me,
        names: shared.names.watch(),
        view: view.clone(),
        leadership: leadership.clone(),
        members: members.clone(),
        proposer: proposer.clone(),
    };
    let warmth = Warmth {
        me,
        members: members.clone(),
        most: standby_max,
        pace: pace.clone(),
    };
    let chronicle = Chronicle {
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
    let reigning = Reigning {
        me,
        pace: pace.clone(),
        page,
        proposer,
        leadership,
        view: view.clone(),
        standing: standing_sender,
        lapses: LapseTracker::new(lapses_sender),
        rested,
        leavers: leavers_received,
    };
    tokio::spawn(board.tell());
    prompt.spawn(reigning.run());
    tokio::spawn(chronicle.run());
    tokio::spawn(recorder.run());
    let rested = shared.clone();
    let writing = shared
        .progress
        .clone()
        .run(writer, move || rested.rested.notify_one());
    tokio::spawn(writing);
    let (supervisor, supervised) = Supervisor::new(
        shared,
        warmth,
        view,
        standing.clone(),
        silent,
        rested_sender,
    );
    tokio::spawn(supervisor.run());
    Ok(Handle {
        statuses,
        standing,
        lapses,
        supervised,
        leavers,
        outlets,
        pace,
    })
}

/// How long a process may give no sign of life, and how long it has to leave its broker
/// once its lease is revoked.
fn silence(pace: &watch::Receiver<Pace>) -> Duration {
    pace.borrow().lease.lease.max(SILENCE_MIN)
}

/// For brokers' management faces.
fn client() -> io::Result<reqwest::Client> {
    quorate_platform::tls::install_provider();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(2)
        .build()
        .map_err(io::Error::other)
}

impl Handle {
    /// The connectors of this member: on the connector server all of them, on another
    /// voter those that stand by.
    pub fn statuses(&self) -> watch::Receiver<Arc<Vec<ConnectorStatus>>> {
        self.statuses.clone()
    }

    /// Whether this member acts as the connector server.
    pub fn reign(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// How often the lease of this member's reigns has run out.
    pub fn lapses(&self) -> watch::Receiver<Lapses> {
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
    ) -> Result<Sent, NoWay> {
        self.outlets.send(kind, name, message, deadline).await
    }

    /// Ends with what looks after the processes, which should outlive everything.
    pub fn supervised(&self) -> watch::Receiver<()> {
        self.supervised.clone()
    }

    /// Lets go of the reign in an orderly way: what is in flight finishes within `drain`,
    /// the processes stand by (those that don't are killed and reaped), the lease is revoked,
    /// the release is committed. For before a transfer of the leadership: should this member
    /// still lead once the [`Parted`] is dropped, it takes over again, under a new epoch.
    pub async fn release(&self, drain: Duration) -> Parted {
        self.leave(drain, false).await
    }

    /// As [`Handle::release`], for good: for before the member stops.
    pub async fn shutdown(&self, drain: Duration) {
        drop(self.leave(drain, true).await);
    }

    fn failover(&self) -> Duration {
        self.pace.borrow().patience.failover
    }

    async fn leave(&self, drain: Duration, for_good: bool) -> Parted {
        let (wish, parted) = oneshot::channel();
        let (done, let_go) = oneshot::channel();
        let leaver = Leaver {
            drain,
            for_good,
            done,
            parted,
        };
        if self.leavers.send(leaver).await.is_ok() {
            let _ = timeout(drain + REAPED + self.failover() * 3, let_go).await;
        }
        Parted { _wish: wish }
    }
}

/// This member has let go of its reign, and takes over no more in its term before this is
/// dropped.
#[must_use = "once it is dropped, a member that still leads takes over again"]
pub struct Parted {
    _wish: oneshot::Sender<()>,
}
