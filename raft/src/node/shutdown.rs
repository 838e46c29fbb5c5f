//! How a member ends.

use std::{sync::atomic::Ordering, time::Duration};

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::timeout;

use super::Node;

/// For each step; a step that takes longer is left behind.
const PATIENCE: Duration = Duration::from_secs(5);

impl Node {
    /// Returns, with the reason, when this member can't go on: it does not trust its storage
    /// or its machine any more, or consensus has panicked. A member without it is of no use,
    /// so whoever runs one ends it then. Never returns after [`Node::shutdown`].
    pub async fn failed(&self) -> String {
        let mut metrics = self.inner.raft.metrics();
        loop {
            let state = metrics.borrow_and_update().running_state.clone();
            if self.inner.closing() {
                return std::future::pending().await;
            }
            if let Err(why) = state {
                return why.to_string();
            }
            if metrics.changed().await.is_err() && !self.inner.closing() {
                return "its core task is gone".to_owned();
            }
        }
    }

    /// Stops and closes the storage; the folder's lock is free when it returns. What is
    /// under way ends as it would at a deadline. A second call returns at once.
    pub async fn shutdown(&self) {
        let node = &self.inner;
        if node.closing.swap(true, Ordering::Relaxed) {
            return;
        }
        node.tracker.stopped();
        node.cancel.cancel();
        let (tasks, released) = {
            let mut open = node.shutdown_handles.lock();
            open.snapshots = None;
            (std::mem::take(&mut open.tasks), open.released.take())
        };
        let me = node.id;
        if timeout(PATIENCE, node.raft.shutdown()).await.is_err() {
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
