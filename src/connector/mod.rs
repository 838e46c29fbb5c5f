//! Connectors: one process for each channel, on the connector server only.
//!
//! `reign` asks for the reign and keeps the lease page; `supervisor` compares what is
//! declared with who acts and asks one `keeper` per channel for a process; `process` is
//! such a process as its parent holds it, `child` what runs inside it; `gateway` hands
//! its messages to the services and judges the answers. `chronicle` looks on and tells how
//! each reign began.

mod board;
mod calls;
pub mod child;
pub mod chronicle;
mod gateway;
mod keeper;
pub mod lease;
mod process;
pub mod reign;
mod spawner;
mod stance;
pub mod status;
mod supervisor;
mod takeover;
pub mod view;

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use quorate_raft::{Leadership, MemberId, Members, Timing};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::timeout,
};
use tracing::warn;

use self::{
    board::Board,
    chronicle::Chronicle,
    gateway::Gateway,
    keeper::Shared,
    lease::Page,
    reign::{LetGo, Reigning},
    spawner::Spawner,
    supervisor::{Order, Supervisor},
};
pub use self::{
    reign::{Proposer, Standing},
    status::{ConnectorState, ConnectorStatus},
    view::View,
};
use crate::service::api::Dispatch;

/// The shortest time in which a process must give a sign of life. A loaded machine holds
/// up a healthy process for longer than the lease of a short promise; it costs nothing to
/// wait, since the lease is kept by the process itself.
const SILENCE_MIN: Duration = Duration::from_millis(500);

/// Beyond its drain: how long a process may take to be killed and reaped.
const REAPED: Duration = Duration::from_secs(2);

/// What the connectors are built on.
pub struct Context {
    /// This member's id.
    pub me: MemberId,
    /// This member's name.
    pub name: String,
    /// The timers.
    pub timing: Timing,
    /// Who leads.
    pub leadership: watch::Receiver<Leadership>,
    /// The members, for their names.
    pub members: watch::Receiver<Members>,
    /// What is declared, and who reigns ([`View::follow`]).
    pub view: watch::Receiver<Arc<View>>,
    /// Puts the reign's commands into the log.
    pub proposer: Arc<dyn Proposer>,
    /// Calls services.
    pub dispatch: Arc<dyn Dispatch>,
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
    orders: mpsc::Sender<Order>,
    let_go: mpsc::Sender<LetGo>,
    timing: Timing,
}

/// Starts following the leadership and the state.
pub fn start(context: Context) -> io::Result<Handle> {
    let Context {
        me,
        name,
        timing,
        leadership,
        members,
        view,
        proposer,
        dispatch,
        program,
    } = context;
    let page = Arc::new(Page::new()?);
    let board = Arc::new(Board::new(name.clone()));
    let statuses = board.watch();
    let alive = timing.lease.max(SILENCE_MIN) / 4;
    let (standing_sender, standing) = watch::channel(Standing::default());
    let (orders, orders_received) = mpsc::channel(8);
    let (let_go, let_go_received) = mpsc::channel(8);
    let shared = Shared {
        gateway: Arc::new(Gateway::new(dispatch, page.view().clone(), view.clone())),
        spawner: Spawner::start(program, alive)?,
        page: page.clone(),
        board: board.clone(),
        alive,
        rested: Notify::new(),
    };
    let chronicle = Chronicle {
        me,
        name,
        timing,
        leadership: leadership.clone(),
        view: view.clone(),
        standing: standing.clone(),
        statuses: statuses.clone(),
        members,
        proposer: proposer.clone(),
    };
    let reigning = Reigning {
        me,
        timing,
        page,
        proposer,
        leadership,
        view: view.clone(),
        standing: standing_sender,
        orders: let_go_received,
    };
    tokio::spawn(board.tell());
    tokio::spawn(reigning.run());
    tokio::spawn(chronicle.run());
    tokio::spawn(Supervisor::new(Arc::new(shared), view, standing.clone(), orders_received).run());
    Ok(Handle {
        statuses,
        standing,
        orders,
        let_go,
        timing,
    })
}

impl Handle {
    /// The connectors of this member; none unless it is the connector server.
    pub fn statuses(&self) -> watch::Receiver<Arc<Vec<ConnectorStatus>>> {
        self.statuses.clone()
    }

    /// Whether this member acts as the connector server.
    pub fn reign(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Lets go of the reign in an orderly way: what is in flight finishes within `drain`,
    /// the processes are reaped, the lease is revoked, the release is committed. For
    /// before a transfer of the leadership: should this member still lead a while later,
    /// it takes over again, under a new epoch.
    pub async fn release(&self, drain: Duration) {
        let hold = (self.timing.failover * 2).max(Duration::from_secs(1));
        self.leave(drain, Some(hold)).await;
    }

    /// As [`Handle::release`], for good: for before the member stops.
    pub async fn shutdown(&self, drain: Duration) {
        self.leave(drain, None).await;
    }

    async fn leave(&self, drain: Duration, hold: Option<Duration>) {
        let (done, rested) = oneshot::channel();
        let reaped = match self.orders.send(Order::Rest(drain, done)).await {
            Ok(()) => timeout(drain + REAPED, rested).await.is_ok(),
            // The connectors have ended already: there are no processes.
            Err(_) => true,
        };
        if !reaped {
            warn!("a connector process can't be reaped: the reign ends without a release");
        }
        let (done, released) = oneshot::channel();
        let until = hold.map(|hold| Instant::now() + hold);
        let order = LetGo {
            until,
            commit: reaped,
            done,
        };
        if self.let_go.send(order).await.is_ok() {
            let _ = timeout(self.timing.failover * 3, released).await;
        }
        if hold.is_some() {
            let _ = self.orders.send(Order::Resume).await;
        }
    }
}
