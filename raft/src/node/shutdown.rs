//! Shutdown of a member: its tasks, openraft, and the data folder.

use std::{sync::Arc, time::Duration};

use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::Node;
use crate::storage::{FolderRelease, SnapshotAccess};

/// Time for each step; a step that takes longer is left behind.
const PATIENCE: Duration = Duration::from_secs(5);

/// Handles of what a member gives up at its end.
pub(super) struct ShutdownHandles {
    cancel: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    snapshots: Arc<SnapshotAccess>,
    released: Mutex<Option<FolderRelease>>,
}

impl ShutdownHandles {
    pub(super) fn new(snapshots: Arc<SnapshotAccess>, released: FolderRelease) -> Self {
        ShutdownHandles {
            cancel: CancellationToken::new(),
            tasks: Mutex::default(),
            snapshots,
            released: Mutex::new(Some(released)),
        }
    }

    /// Runs `work` until it ends or this member is shut down.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        let task = tokio::spawn(async move {
            cancel.run_until_cancelled_owned(work).await;
        });
        self.tasks.lock().push(task);
    }
}

impl Node {
    /// Returns, with the reason, when this member can't go on: it does not trust its storage
    /// or its machine any more, or consensus has panicked. A member without it is of no use,
    /// so its process should end then. Never returns after [`Node::shutdown`].
    pub async fn failed(&self) -> String {
        let consensus = &self.inner.consensus;
        let mut metrics = consensus.raft.metrics();
        loop {
            let state = metrics.borrow_and_update().running_state.clone();
            if consensus.is_closing() {
                return std::future::pending().await;
            }
            if let Err(why) = state {
                return why.to_string();
            }
            if metrics.changed().await.is_err() && !consensus.is_closing() {
                return "its core task is gone".to_owned();
            }
        }
    }

    /// Stops and closes the storage; the folder's lock is free when it returns. What is
    /// under way ends as it would at a deadline. A second call returns at once.
    pub async fn shutdown(&self) {
        let consensus = &self.inner.consensus;
        if !consensus.close() {
            return;
        }
        consensus.tracker.stopped();
        let handles = &self.inner.shutdown_handles;
        handles.cancel.cancel();
        handles.snapshots.close();
        let tasks = std::mem::take(&mut *handles.tasks.lock());
        let released = handles.released.lock().take();
        let me = consensus.id;
        if timeout(PATIENCE, consensus.raft.shutdown()).await.is_err() {
            tracing::warn!(member = me, "consensus did not stop within {PATIENCE:?}");
        }
        for task in tasks {
            let abort = task.abort_handle();
            if timeout(PATIENCE, task).await.is_err() {
                abort.abort();
            }
        }
        if let Some(released) = released
            && timeout(PATIENCE, released.wait()).await.is_err()
        {
            tracing::warn!(
                member = me,
                "the data folder is still in use after {PATIENCE:?}"
            );
        }
    }
}
