//! Consensus over opaque commands: a small face over openraft and RocksDB.
//!
//! Nothing outside this crate names openraft. A [`Machine`] gives commands their
//! meaning; a [`Node`] replicates them, tells who leads and who belongs, and
//! answers each proposal with one of three outcomes that are never mixed: done,
//! surely not done, unknown.
#![forbid(unsafe_code)]

mod election;
mod liveness;
pub mod machine;
mod membership;
mod network;
pub mod node;
pub mod private_folder;
mod storage;
pub mod timing;
pub mod trusted_path;
mod votes;

#[cfg(feature = "mutants")]
mod early;

pub use election::{Election, Reason};
pub use liveness::closed_first;
pub use machine::{Command, Frozen, Machine};
pub use membership::{MemberStatus, Members, Role};
pub use network::peer_server;
#[doc(hidden)]
pub use node::deciders;
pub use node::{
    Admission, Birth, Leadership, LogStats, Node, Options, ProposeError, Proposed, ReadError,
    SnapshotPolicy, StartError, Strain, TransferError,
};
pub use timing::{Pace, Timing, TimingError};

use serde::{Deserialize, Serialize};

/// A member's id: 1 for the one that bootstrapped, for every other the index of
/// the log entry that allocated it. Never reused.
pub type MemberId = u64;

/// What the group knows of a member. Addresses are `host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The name people use; unique in the cluster.
    pub name: String,
    /// Where its services listen.
    pub http: String,
    /// Where its REST face listens.
    pub admin: String,
    /// Where other members reach it.
    pub peer: String,
}
