//! Options with which a member is started.

use std::{path::PathBuf, sync::Arc, time::Duration};

use quorate_tls::MemberConnector;
use quorate_types::{EffectiveTiming, Member, MemberId};

/// Settings of a member.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The data folder; made if absent. Held by a lock for as long as the node lives.
    pub dir: PathBuf,
    /// The name and addresses under which the group knows this member.
    pub member: Member,
    /// The timers at first; [`Node::set_timing`](crate::Node::set_timing) changes them.
    pub timing: EffectiveTiming,
    /// Policy for snapshots.
    pub snapshot: SnapshotPolicy,
    /// Time to wait for the lock on `dir`.
    pub lock_wait: Duration,
    /// TLS to the peer ports of others. Where it is set, calls of others are believed only by
    /// their certificates: serve the routes behind TLS too.
    pub tls: Option<Arc<MemberConnector>>,
}

/// Policy for snapshots: one is taken when the first of two limits is reached.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPolicy {
    /// Entries since the last snapshot.
    pub entries: u64,
    /// Bytes of log since the last snapshot.
    pub bytes: u64,
    /// Entries that stay in the log behind a snapshot, for members that lag a little; a member
    /// that is sent a snapshot finds all behind that, within a bound.
    pub keep: u64,
}

/// Way in which a member comes to be part of a cluster.
#[derive(Clone, Debug)]
pub enum NodeStartMode {
    /// As the member that the data folder belongs to.
    Resume,
    /// A new cluster of one. Where the folder already belongs to a cluster: as `Resume`.
    Bootstrap,
    /// Admitted by a cluster that exists (see [`Node::admit`](crate::Node::admit)). Where the
    /// folder already belongs to the same cluster: as `Resume`; to another one: refused.
    Join(MemberIdentity),
}

/// Identity that a newcomer gets from the cluster that admits it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MemberIdentity {
    /// The cluster's id, a random 128-bit number in hex, made at bootstrap.
    pub cluster: String,
    /// The member's id, allocated from the log.
    pub id: MemberId,
}
