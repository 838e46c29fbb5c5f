//! Access to a member's snapshots, until it shuts down.

use std::sync::Arc;

use parking_lot::Mutex;

use super::snapshot_store::SnapshotStore;

/// Snapshots of a member until it closes them: the lock of the data folder is free only once
/// nothing refers to them any more.
pub(crate) struct SnapshotAccess(Mutex<Option<Arc<SnapshotStore>>>);

impl SnapshotAccess {
    pub(crate) fn new(snapshots: Arc<SnapshotStore>) -> Self {
        SnapshotAccess(Mutex::new(Some(snapshots)))
    }

    /// Returns the snapshots, to be dropped again soon; `None` once they are closed.
    pub(crate) fn get(&self) -> Option<Arc<SnapshotStore>> {
        self.0.lock().clone()
    }

    pub(crate) fn close(&self) {
        *self.0.lock() = None;
    }
}
