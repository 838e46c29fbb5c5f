//! What a planted bug needs that answers before anything is committed: to learn when a
//! command is in this member's own log. Not in any program that is shipped or run.

use std::time::Duration;

use bytes::Bytes;
use openraft::EntryPayload;
use parking_lot::Mutex;
use quorate_clock::Instant;
use tokio::{sync::oneshot, time::timeout_at};

use crate::{
    Node,
    storage::raft_types::{LogEntry, ProposedCommand},
};

/// How long a proposal goes on after its answer.
const GOES_ON: Duration = Duration::from_secs(2);

/// Commands on their way into one member's log, and who waits for their index.
#[derive(Debug, Default)]
pub(crate) struct UncommittedAnswers(Mutex<Vec<(Bytes, oneshot::Sender<u64>)>>);

impl UncommittedAnswers {
    /// An entry was appended to this member's log.
    pub(crate) fn appended(&self, entry: &LogEntry) {
        let EntryPayload::Normal(ProposedCommand(command)) = &entry.payload else {
            return;
        };
        let mut waiting = self.0.lock();
        waiting.retain(|(_, waits)| !waits.is_closed());
        if let Some(at) = waiting.iter().position(|(it, _)| it == command) {
            let (_, waits) = waiting.swap_remove(at);
            // Whoever waited may have given up.
            let _ = waits.send(entry.log_id.index);
        }
    }

    fn wait_for(&self, command: Bytes) -> oneshot::Receiver<u64> {
        let (waits, index) = oneshot::channel();
        self.0.lock().push((command, waits));
        index
    }
}

impl Node {
    /// Proposes a command and gives its index as soon as it is in this member's own log;
    /// what becomes of it is not waited for.
    pub async fn propose_uncommitted(&self, command: Bytes, deadline: Instant) -> Option<u64> {
        let index = self.inner.stats.early.wait_for(command.clone());
        let node = self.clone();
        tokio::spawn(async move { node.propose(command, deadline + GOES_ON).await });
        timeout_at(deadline, index).await.ok()?.ok()
    }
}
