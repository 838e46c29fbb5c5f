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
mod storage;
mod votes;

#[cfg(feature = "mutants")]
mod early;

pub use liveness::closed_first;
pub use machine::{Command, Frozen, Machine};
pub use network::peer_server;
#[doc(hidden)]
pub use node::deciders;
pub use node::{
    Admission, Birth, LogStats, Node, Options, Proposed, SnapshotPolicy, StartError, Strain,
};
