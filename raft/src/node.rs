//! Node: one member of the group, composed of its parts.

mod applied_index;
mod background_tasks;
#[doc(hidden)]
pub mod decision_harness;
mod heartbeat_sender;
mod leader_attempt;
mod leader_retry;
mod leadership;
mod log_retention;
mod metered_machine;
mod options;
mod proposal_budget;
mod propose;
#[cfg(feature = "mutants")]
mod propose_uncommitted;
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
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use quorate_clock::Instant;
use quorate_proto::peer::{self, raft_server::RaftServer};
use quorate_types::{
    EffectiveTiming, Leadership, Member, MemberId, MemberList, ProposeError, ReadError,
    TransferError,
};
use tokio::{sync::watch, time::timeout};
use tonic::service::{Routes, interceptor::InterceptedService};

pub(crate) use applied_index::AppliedIndex;
pub(crate) use leader_attempt::LeaderAttempt;
pub(crate) use leader_retry::LeaderRetry;
pub(crate) use leadership::LeadershipTracker;
pub(crate) use log_retention::LogRetention;
pub use options::{MemberIdentity, NodeOptions, NodeStartMode, SnapshotPolicy};
pub use propose::AppliedProposal;
pub(crate) use propose::LogProposer;
pub(crate) use read::ReadBarrier;
use shutdown::ShutdownHandles;
pub use start_error::StartError;
use start_error::StartFault;
#[cfg(test)]
pub(crate) use timing_pressure::PressureGauge;
pub use timing_pressure::TimingPressure;
use transfer::LeaderTransfer;
use unreachable::UnreachableMonitor;

use crate::{
    consensus::ConsensusHandle,
    membership::MemberRegistry,
    network::{ClusterGate, MAX_MESSAGE, PeerDirectory, PeerServer, RoundTrips},
    storage::{self, LogCounters},
};

/// Running member. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    inner: Arc<NodeInner>,
}

/// Parts of a member.
struct NodeInner {
    cluster: String,
    consensus: Arc<ConsensusHandle>,
    peers: Arc<PeerDirectory>,
    registry: Arc<MemberRegistry>,
    proposer: Arc<LogProposer>,
    reads: Arc<ReadBarrier>,
    transfer: Arc<LeaderTransfer>,
    peer_server: PeerServer,
    round_trips: Arc<RoundTrips>,
    pressure: watch::Receiver<TimingPressure>,
    unreachable: Arc<UnreachableMonitor>,
    stats: Arc<LogCounters>,
    shutdown_handles: ShutdownHandles,
}

/// Work that a member's log has done since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogStats {
    /// Entries appended.
    pub entries: u64,
    /// Fsyncs, each for all that was appended before it.
    pub fsyncs: u64,
}

impl Node {
    /// Returns the id and cluster in the marker of a data folder, if it has one.
    pub fn marker(dir: &Path) -> Result<Option<MemberIdentity>, StartError> {
        let marker = storage::read_marker(dir).map_err(StartFault::from)?;
        Ok(marker.map(|m| MemberIdentity {
            cluster: m.cluster,
            id: m.member,
        }))
    }

    /// Returns the gRPC service for the peer port; the caller adds its own and serves both.
    pub fn routes(&self) -> Routes {
        let service = RaftServer::new(self.inner.peer_server.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let gate = ClusterGate::new(&self.inner.cluster, self.id());
        Routes::new(InterceptedService::new(service, gate))
    }

    /// Takes in the address that another member announces itself, until the membership has a
    /// new one for it: for members that have all moved at once.
    pub fn set_announced_address(&self, id: MemberId, peer: &str) {
        if id != self.id() && self.inner.peers.set_announced_address(id, peer) {
            self.inner.registry.announce_move();
        }
    }

    /// Returns the address at which this member says that others reach it.
    pub fn address(&self) -> &str {
        &self.inner.registry.own().peer
    }

    /// Returns this member's id.
    pub fn id(&self) -> MemberId {
        self.inner.consensus.id
    }

    /// Returns the cluster's id.
    pub fn cluster(&self) -> &str {
        &self.inner.cluster
    }

    /// Follows who leads and how fresh that is; changes with every heartbeat round.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.consensus.tracker.subscribe()
    }

    /// Returns what the log has done since it was opened.
    pub fn log_stats(&self) -> LogStats {
        LogStats {
            entries: self.inner.stats.entries(),
            fsyncs: self.inner.stats.fsyncs(),
        }
    }

    /// Follows the timers in force; at first those that the member was started with.
    pub fn timing(&self) -> watch::Receiver<EffectiveTiming> {
        self.inner.consensus.tracker.timing()
    }

    /// Goes by these timers from now on. A longer lease runs only from appends that are sent
    /// with it (see [`Leadership::lease`]).
    pub fn set_timing(&self, timing: EffectiveTiming) {
        self.inner.consensus.tracker.set_timing(timing);
        self.inner.peers.renew();
    }

    /// Returns the members as of now.
    pub fn members(&self) -> MemberList {
        self.inner.registry.members_now()
    }

    /// Follows changes of the membership (ids, roles, addresses; not lag).
    pub fn watch_members(&self) -> watch::Receiver<MemberList> {
        self.inner.registry.subscribe()
    }

    /// Returns the smoothed round trip to each member that has answered heartbeats of this one.
    /// At `failover_ms` / 8 the lease begins to have gaps.
    pub fn round_trips(&self) -> BTreeMap<MemberId, Duration> {
        self.inner.round_trips.all()
    }

    /// Returns the signs so far that this machine is too slow for its failover promise.
    pub fn timing_pressure(&self) -> TimingPressure {
        *self.inner.pressure.borrow()
    }

    /// Follows which members are dead for sure or have not been heard for longer than they
    /// should. Never this member itself.
    pub fn unreachable_members(&self) -> watch::Receiver<Arc<BTreeSet<MemberId>>> {
        self.inner.unreachable.subscribe()
    }

    /// Proposes a command from any member: forwarded to the leader, retried only where it
    /// was surely not done, until `deadline`; applied on this member when it returns, unless
    /// this member is so late that the deadline comes first.
    pub async fn propose(
        &self,
        command: Bytes,
        deadline: Instant,
    ) -> Result<AppliedProposal, ProposeError> {
        self.inner.proposer.propose(command, deadline).await
    }

    /// Proposes as leader of exactly this term: never forwarded, never retried.
    pub async fn propose_in_term(
        &self,
        term: u64,
        command: Bytes,
        deadline: Instant,
    ) -> Result<AppliedProposal, ProposeError> {
        let proposer = &self.inner.proposer;
        proposer.propose_in_term(term, command, deadline).await
    }

    /// Passes a ReadIndex from any member: when it returns, this member has applied at least
    /// all that was acknowledged before the call. Returns the index that it has applied.
    pub async fn read_barrier(&self, deadline: Instant) -> Result<u64, ReadError> {
        self.inner.reads.pass(deadline).await
    }

    /// Waits until the other members that can be reached have applied `index`, at most `wait`.
    pub async fn wait_applied_everywhere(&self, index: u64, wait: Duration) {
        let members = self.inner.registry.subscribe();
        let others: Vec<MemberId> = members.borrow().iter().map(|m| m.id).collect();
        let others = others.into_iter().filter(|id| *id != self.id());
        let peers = others.filter_map(|id| self.inner.peers.get(id));
        let asked = peers.map(|mut peer| async move {
            let request = peer::AppliedRequest {
                index,
                wait_ms: wait.as_millis() as u64,
            };
            // A member that can't be reached is not waited for.
            let _ = peer.control.applied(request).await;
        });
        // A member that is late is waited for no longer.
        let _ = timeout(wait, join_all(asked)).await;
    }

    /// Hands leadership over; to the best-matched voter when `to` is `None`. Refused before
    /// anything happens when the target lags or can't be reached. Returns the new leader.
    pub async fn transfer(
        &self,
        to: Option<MemberId>,
        deadline: Instant,
    ) -> Result<MemberId, TransferError> {
        self.inner.transfer.transfer(to, deadline).await
    }

    /// Admits a newcomer as a learner, from any member; the newcomer then asks by itself to
    /// vote once it has caught up. A name or peer address that another member has is
    /// refused. Asking again with the same name and peer address gives the same id for as
    /// long as the newcomer has not begun to follow.
    pub async fn admit(
        &self,
        newcomer: Member,
        deadline: Instant,
    ) -> Result<MemberIdentity, ProposeError> {
        let registry = &self.inner.registry;
        let (id, _) = registry.admit(0, newcomer, false, deadline).await?;
        Ok(MemberIdentity {
            cluster: self.inner.cluster.clone(),
            id,
        })
    }
}
