//! Applied index: how far this member's machine has come.

use quorate_clock::Instant;
use tokio::{sync::watch, time::timeout_at};

/// Index of the last entry that this member's machine has applied.
#[derive(Clone)]
pub(crate) struct AppliedIndex(watch::Receiver<u64>);

impl AppliedIndex {
    pub(super) fn new(applied: watch::Receiver<u64>) -> Self {
        AppliedIndex(applied)
    }

    pub(crate) fn current(&self) -> u64 {
        *self.0.borrow()
    }

    /// Waits until this member has applied `index`; false when the deadline came first.
    pub(crate) async fn wait_for(&self, index: u64, deadline: Instant) -> bool {
        let mut applied = self.0.clone();
        let reached = applied.wait_for(|applied| *applied >= index);
        matches!(timeout_at(deadline, reached).await, Ok(Ok(_)))
    }
}
