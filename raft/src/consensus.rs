//! Handle of this member's consensus: openraft, the tracker beside it, and whether both go on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use openraft::async_runtime::watch::WatchReceiver;
use quorate_types::{EffectiveTiming, MemberId};

use crate::{
    node::LeadershipTracker,
    storage::{MachineStore, raft_types::Types},
};

pub(crate) type RaftHandle = openraft::Raft<Types, MachineStore>;

/// Consensus of one member, as its parts share it.
pub(crate) struct ConsensusHandle {
    pub(crate) id: MemberId,
    pub(crate) raft: RaftHandle,
    pub(crate) tracker: Arc<LeadershipTracker>,
    closing: AtomicBool,
}

impl ConsensusHandle {
    pub(crate) fn new(id: MemberId, raft: RaftHandle, tracker: Arc<LeadershipTracker>) -> Self {
        ConsensusHandle {
            id,
            raft,
            tracker,
            closing: AtomicBool::new(false),
        }
    }

    /// Returns the timers in force.
    pub(crate) fn timing(&self) -> EffectiveTiming {
        *self.tracker.timing().borrow()
    }

    /// Marks this member as shutting down; false if it was already.
    pub(crate) fn close(&self) -> bool {
        !self.closing.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Returns whether openraft still runs: it stops for good when it can't trust its storage.
    pub(crate) fn is_running(&self) -> bool {
        !self.is_closing() && self.raft.metrics().borrow_watched().running_state.is_ok()
    }

    /// Returns whether this member, if it leads, has had a quorum's answer within its patience.
    /// Without one nobody may be waiting for it any more, and what it would take could keep
    /// those that hear it from electing another.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.tracker.current().leader != Some(self.id)
            || self.tracker.unanswered_since().elapsed() < self.timing().patience.election_max
    }
}
