//! What a member is started with.

use std::{path::PathBuf, time::Duration};

use quorate_types::{EffectiveTiming, Member, MemberId};

/// How a member is set up.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The data folder; made if absent. Held by a lock for as long as the node lives.
    pub dir: PathBuf,
    /// What the group is told of this member.
    pub member: Member,
    /// The timers at first; [`Node::set_timing`](crate::Node::set_timing) changes them.
    pub timing: EffectiveTiming,
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
    /// how many entries stay in the log behind a snapshot, for members that lag a little; one
    /// that is sent a snapshot finds all behind that, within a bound
    pub keep: u64,
}

/// How a member comes to be part of a cluster.
#[derive(Clone, Debug)]
pub enum NodeStartMode {
    /// The data folder says: a member that has been one before.
    Resume,
    /// A new cluster of one. Where the folder already belongs to a cluster: as `Resume`.
    Bootstrap,
    /// Admitted by a cluster that exists (see [`Node::admit`](crate::Node::admit)). Where the
    /// folder already belongs to the same cluster: as `Resume`; to another one: refused.
    Join(MemberIdentity),
}

/// What a newcomer gets from the cluster that admits it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MemberIdentity {
    /// The cluster's id, a random 128-bit number in hex, made at bootstrap.
    pub cluster: String,
    /// The member's id, allocated from the log.
    pub id: MemberId,
}
