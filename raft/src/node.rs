//! One member of the group: start, propose, read, watch, transfer, shut down.
#![allow(missing_docs, unused_variables)]

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::watch;

use crate::{Machine, Member, MemberId, Timing};

/// How a member is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder; made if absent. Held by a lock for as long as the node lives.
    pub dir: PathBuf,
    /// What the group is told of this member.
    pub member: Member,
    /// The timers.
    pub timing: Timing,
    /// When snapshots are taken.
    pub snapshot: SnapshotPolicy,
    /// How long to wait for the lock on `dir`.
    pub lock_wait: Duration,
}

/// When snapshots are taken: whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPolicy {
    /// after this many entries since the last one
    pub entries: u64,
    /// or after this many bytes of log since the last one
    pub bytes: u64,
    /// how many entries stay in the log behind a snapshot, for members that lag a little
    pub keep: u64,
}

/// How a member comes to be part of a cluster.
#[derive(Clone, Debug)]
pub enum Birth {
    /// The data folder says: a member that has been one before.
    Resume,
    /// A new cluster of one. Where the folder already belongs to a cluster: as `Resume`.
    Bootstrap,
    /// Admitted by a cluster that exists (see [`Node::admit`]). Where the folder already
    /// belongs to the same cluster: as `Resume`; to another one: refused.
    Join(Admission),
}

/// What a newcomer gets from the cluster that admits it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Admission {
    /// The cluster's id, a random 128-bit number in hex, made at bootstrap.
    pub cluster: String,
    /// The member's id, allocated from the log.
    pub id: MemberId,
}

/// Who leads, as this member sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// This member.
    pub me: MemberId,
    /// The term that this member is in.
    pub term: u64,
    /// The leader of that term, when known.
    pub leader: Option<MemberId>,
    /// Whether this member leads: elected, and its first entry of the term committed.
    pub leading: bool,
    /// As leader: when the last heartbeat round that a quorum has answered was *sent*.
    /// As follower: when the last append of the leader arrived. The lease runs from here.
    pub heard_at: Option<Instant>,
    /// As leader: nobody else's lease can run any more from here on (0.10's votes carry
    /// how long ago each voter last answered another leader; 1.02 x lease after the
    /// latest of them). A reign activates nothing that is fenced by lease before it.
    pub lease_clear_at: Option<Instant>,
}

/// Whether a member counts for quorums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Voter,
    Learner,
}

/// One member as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    pub id: MemberId,
    pub member: Member,
    pub role: Role,
    /// Entries behind the leader's log; only the leader knows it of others.
    pub lag: Option<u64>,
    /// Whether the leader has heard from it within `failover`; only the leader knows.
    pub reachable: Option<bool>,
}

/// The members, ordered by id.
pub type Members = Vec<MemberStatus>;

/// A command that is committed and applied, here too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    pub index: u64,
    /// What the machine answered.
    pub answer: Bytes,
}

/// Why there is no [`Proposed`]. Never retried in secret after `Unknown`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProposeError {
    #[error("no leader took the write in {waited_ms} ms; it was not done")]
    NoQuorum { waited_ms: u64 },
    #[error("the write was refused: {0}")]
    Refused(String),
    #[error("the fate of the write is not known: {0}")]
    Unknown(String),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadError {
    #[error("no leader confirmed the read in {waited_ms} ms")]
    NoQuorum { waited_ms: u64 },
}

#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("this member does not lead; {0:?} does")]
    NotLeader(Option<MemberId>),
    #[error("{0}")]
    Refused(String),
    #[error("no other member took over within {0:?}")]
    TimedOut(Duration),
}

/// Why a member can't start. Each says what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// A running member. Cheap to clone.
#[derive(Clone)]
pub struct Node {}

impl Node {
    /// Opens the data folder and starts. Peers reach it once [`Node::routes`] is served.
    pub async fn start(
        options: Options,
        birth: Birth,
        machine: impl Machine,
    ) -> Result<Node, StartError> {
        todo!()
    }

    /// The id and cluster in the marker of a data folder, if it has one.
    pub fn marker(dir: &std::path::Path) -> Result<Option<Admission>, StartError> {
        todo!()
    }

    /// The gRPC service for the peer port; the caller adds its own and serves both.
    pub fn routes(&self) -> tonic::service::Routes {
        todo!()
    }

    pub fn id(&self) -> MemberId {
        todo!()
    }

    pub fn cluster(&self) -> &str {
        todo!()
    }

    /// Proposes a command from any member: forwarded to the leader, retried only where it
    /// was surely not done, until `deadline`; applied on this member when it returns.
    pub async fn propose(
        &self,
        command: Bytes,
        deadline: Instant,
    ) -> Result<Proposed, ProposeError> {
        todo!()
    }

    /// Proposes as leader of exactly this term: never forwarded, never retried.
    pub async fn propose_in_term(
        &self,
        term: u64,
        command: Bytes,
        deadline: Instant,
    ) -> Result<Proposed, ProposeError> {
        todo!()
    }

    /// ReadIndex from any member: when it returns, this member has applied at least all
    /// that was acknowledged before the call.
    pub async fn read_barrier(&self, deadline: Instant) -> Result<u64, ReadError> {
        todo!()
    }

    /// Waits until the other members that can be reached have applied `index`, at most `wait`.
    pub async fn wait_applied_everywhere(&self, index: u64, wait: Duration) {
        todo!()
    }

    /// Follows who leads and how fresh that is; changes with every heartbeat round.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        todo!()
    }

    /// The members as of now.
    pub fn members(&self) -> Members {
        todo!()
    }

    /// Follows changes of the membership (ids, roles, addresses; not lag).
    pub fn watch_members(&self) -> watch::Receiver<Members> {
        todo!()
    }

    /// Admits a newcomer as a learner, from any member; the newcomer then asks by itself to
    /// vote once it has caught up. A name that another member has is refused.
    pub async fn admit(
        &self,
        newcomer: Member,
        deadline: Instant,
    ) -> Result<Admission, ProposeError> {
        todo!()
    }

    /// Hands leadership over; to the best-matched voter when `to` is `None`. Refused before
    /// anything happens when the target lags or can't be reached.
    pub async fn transfer(
        &self,
        to: Option<MemberId>,
        deadline: Instant,
    ) -> Result<MemberId, TransferError> {
        todo!()
    }

    /// Stops and closes the storage; the folder's lock is free when it returns.
    pub async fn shutdown(&self) {
        todo!()
    }
}
