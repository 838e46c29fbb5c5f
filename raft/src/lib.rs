//! Consensus over opaque commands: a small face over openraft and RocksDB.
//!
//! Nothing outside this crate names openraft. A [`StateMachine`] gives commands their
//! meaning; a [`Node`] replicates them, publishes the leader and the members, and answers
//! each proposal with one of three outcomes that are never mixed: done, surely not done,
//! unknown.
#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

mod ballot;
mod consensus;
mod election;
mod liveness;
mod membership;
mod network;
pub mod node;
pub mod state_machine;
mod storage;
mod votes;

#[cfg(feature = "mutants")]
mod uncommitted_answers;

pub use liveness::closed_first;
pub use network::{PeerCaller, PeerIncoming, PeerStream, peer_server};
#[doc(hidden)]
pub use node::decision_harness;
pub use node::{
    AppliedProposal, LogStats, MemberIdentity, Node, NodeOptions, NodeStartMode, SnapshotPolicy,
    StartError, TimingPressure,
};
pub use state_machine::{CommittedCommand, MachineSnapshot, StateMachine};
