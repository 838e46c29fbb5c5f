//! One member of the group: start, propose, read, watch, transfer, shut down.

mod background_tasks;
#[doc(hidden)]
pub mod decision_harness;
mod heartbeat_sender;
mod leader_retry;
mod leadership;
mod log_retention;
mod metered_machine;
mod options;
mod proposal_budget;
mod propose;
mod read;
mod shutdown;
mod start;
mod start_error;
mod timing_pressure;
mod transfer;
mod unreachable;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_proto::peer::{self, raft_server::RaftServer};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    service::{Routes, interceptor::InterceptedService},
};

pub(crate) use leader_retry::LeaderRetry;
pub(crate) use leadership::{ElectionBallot, LeadershipTracker};
pub(crate) use log_retention::LogRetention;
pub use options::{MemberIdentity, NodeOptions, NodeStartMode, SnapshotPolicy};
use proposal_budget::ProposalBudget;
pub use propose::AppliedProposal;
pub use start_error::StartError;
pub(crate) use timing_pressure::PressureGauge;
pub use timing_pressure::TimingPressure;

use quorate_types::{EffectiveTiming, Leadership, Member, MemberId, MemberList};

use crate::{
    liveness::LivenessTable,
    network::{ClusterGate, MAX_MESSAGE, PeerDirectory, PeerServer, RoundTrips},
    storage::{
        self, FolderRelease, LogCounters, LongestLease, MachineStore, SnapshotStore, convert,
        raft_types::Types,
    },
};

pub(crate) type RaftHandle = openraft::Raft<Types, MachineStore>;

/// A running member. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    pub(crate) inner: Arc<NodeInner>,
}

/// What the parts of a member share.
pub(crate) struct NodeInner {
    pub(crate) id: MemberId,
    pub(crate) cluster: String,
    /// What this member wants the group to know of it.
    pub(crate) member: Member,
    pub(crate) raft: RaftHandle,
    pub(crate) tracker: Arc<LeadershipTracker>,
    pub(crate) peers: Arc<PeerDirectory>,
    pub(crate) round_trips: Arc<RoundTrips>,
    pub(crate) longest: LongestLease,
    pub(crate) liveness: LivenessTable,
    /// For proposals that are under way at this member.
    pub(crate) proposal_budget: ProposalBudget,
    /// Snapshots that may be coming in.
    pub(crate) incoming: Semaphore,
    /// Since when openraft has had a heartbeat that is answered already, while it has one.
    pub(crate) pending_heartbeat_since: Mutex<Option<Instant>>,
    /// Held while this member, as leader, changes the membership.
    pub(crate) changes: tokio::sync::Mutex<()>,
    pub(crate) members: watch::Sender<MemberList>,
    pressure: Arc<PressureGauge>,
    unreachable: watch::Sender<Arc<BTreeSet<MemberId>>>,
    applied: watch::Receiver<u64>,
    pub(crate) stats: Arc<LogCounters>,
    closing: AtomicBool,
    cancel: CancellationToken,
    shutdown_handles: Mutex<ShutdownHandles>,
}

/// What a member's log has done since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogStats {
    /// Entries appended.
    pub entries: u64,
    /// Fsyncs, each for all that was appended before it.
    pub fsyncs: u64,
}

/// What is given up at the end.
#[derive(Default)]
struct ShutdownHandles {
    tasks: Vec<JoinHandle<()>>,
    snapshots: Option<Arc<SnapshotStore>>,
    released: Option<FolderRelease>,
}

/// How an attempt at the leader went, when this member may or may not be it.
#[derive(Debug)]
pub(crate) enum LeaderAttempt<T> {
    Done(T),
    /// Surely not done: this member does not lead; that one may.
    NotLeader(Option<MemberId>),
    /// Surely not done.
    Refused(String),
    Unknown(String),
}

impl Node {
    /// The id and cluster in the marker of a data folder, if it has one.
    pub fn marker(dir: &Path) -> Result<Option<MemberIdentity>, StartError> {
        let marker = storage::read_marker(dir).map_err(|e| StartError(e.to_string()))?;
        Ok(marker.map(|m| MemberIdentity {
            cluster: m.cluster,
            id: m.member,
        }))
    }

    /// The gRPC service for the peer port; the caller adds its own and serves both.
    pub fn routes(&self) -> Routes {
        let server = PeerServer {
            node: self.inner.clone(),
        };
        let service = RaftServer::new(server)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let gate = ClusterGate::new(&self.inner.cluster, self.inner.id);
        Routes::new(InterceptedService::new(service, gate))
    }

    /// Takes in where another member says itself that it is, until the membership says something
    /// new of it: for members that have all moved at once.
    pub fn set_announced_address(&self, id: MemberId, peer: &str) {
        if id != self.inner.id && self.inner.peers.set_announced_address(id, peer) {
            // Who follows the members looks anew where they are.
            self.inner.members.send_modify(|_| {});
        }
    }

    /// Where this member is reached by others, as it says itself.
    pub fn address(&self) -> &str {
        &self.inner.member.peer
    }

    /// This member's id.
    pub fn id(&self) -> MemberId {
        self.inner.id
    }

    /// The cluster's id.
    pub fn cluster(&self) -> &str {
        &self.inner.cluster
    }

    /// Follows who leads and how fresh that is; changes with every heartbeat round.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.tracker.subscribe()
    }

    /// What its log has done since it was opened.
    pub fn log_stats(&self) -> LogStats {
        LogStats {
            entries: self.inner.stats.entries(),
            fsyncs: self.inner.stats.fsyncs(),
        }
    }

    /// Follows the timers in force; at first those that it was started with.
    pub fn timing(&self) -> watch::Receiver<EffectiveTiming> {
        self.inner.tracker.timing()
    }

    /// Goes by these timers from now on. A longer lease runs only from appends that are sent
    /// with it (see [`Leadership::lease`]).
    pub fn set_timing(&self, pace: EffectiveTiming) {
        self.inner.tracker.set_timing(pace);
        self.inner.peers.renew();
    }

    /// The members as of now.
    pub fn members(&self) -> MemberList {
        self.inner.members_now()
    }

    /// Follows changes of the membership (ids, roles, addresses; not lag).
    pub fn watch_members(&self) -> watch::Receiver<MemberList> {
        self.inner.members.subscribe()
    }

    /// The round trip to each member that has answered heartbeats of this one, smoothed. At
    /// `failover_ms` / 8 the lease begins to have gaps.
    pub fn round_trips(&self) -> BTreeMap<MemberId, Duration> {
        self.inner.round_trips.all()
    }

    /// Follows the signs that this machine is too slow for its promise.
    pub fn timing_pressure(&self) -> watch::Receiver<TimingPressure> {
        self.inner.pressure.subscribe()
    }

    /// Follows which members are dead for sure or have not been heard for longer than they
    /// should. Never this member itself.
    pub fn unreachable_members(&self) -> watch::Receiver<Arc<BTreeSet<MemberId>>> {
        self.inner.unreachable.subscribe()
    }
}

impl NodeInner {
    /// The timers in force.
    pub(crate) fn timing(&self) -> EffectiveTiming {
        *self.tracker.timing().borrow()
    }

    /// The index of the last entry that this member's machine has applied.
    pub(crate) fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    /// Waits until this member has applied `index`; false when the deadline came first.
    pub(crate) async fn wait_applied(&self, index: u64, deadline: Instant) -> bool {
        let mut applied = self.applied.clone();
        let reached = applied.wait_for(|applied| *applied >= index);
        matches!(tokio::time::timeout_at(deadline, reached).await, Ok(Ok(_)))
    }

    pub(crate) fn closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Whether openraft still runs: it stops for good when it can't trust its storage.
    pub(crate) fn running(&self) -> bool {
        use openraft::async_runtime::watch::WatchReceiver;
        !self.closing() && self.raft.metrics().borrow_watched().running_state.is_ok()
    }

    pub(crate) fn snapshots(&self) -> Result<Arc<SnapshotStore>, Status> {
        let snapshots = self.shutdown_handles.lock().snapshots.clone();
        snapshots.ok_or_else(|| Status::unavailable("this member is shutting down"))
    }

    /// The answer of a member that does not lead.
    pub(crate) fn not_leader(&self, leader: Option<MemberId>) -> peer::NotLeader {
        let members = self.members.borrow();
        let known = members.iter().find(|m| Some(m.id) == leader);
        peer::NotLeader {
            leader: leader.unwrap_or_default(),
            member: known.map(|m| convert::member_to_proto(&m.member)),
        }
    }
}
