//! Answers before anything is committed, for a planted bug: when a command is in the own log.
//!
//! Not in any program that is shipped or run.

use bytes::Bytes;
use openraft::EntryPayload;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::storage::raft_types::{LogEntry, ProposedCommand};

/// Commands on their way into one member's log, and the senders that wait for their index.
#[derive(Debug, Default)]
pub(crate) struct UncommittedAnswers(Mutex<Vec<(Bytes, oneshot::Sender<u64>)>>);

impl UncommittedAnswers {
    /// Takes in that an entry was appended to this member's log.
    pub(crate) fn appended(&self, entry: &LogEntry) {
        let EntryPayload::Normal(ProposedCommand(command)) = &entry.payload else {
            return;
        };
        let mut waiting = self.0.lock();
        waiting.retain(|(_, waits)| !waits.is_closed());
        if let Some(at) = waiting.iter().position(|(it, _)| it == command) {
            let (_, waits) = waiting.swap_remove(at);
            // The caller may have given up.
            let _ = waits.send(entry.log_id.index);
        }
    }

    pub(crate) fn wait_for(&self, command: Bytes) -> oneshot::Receiver<u64> {
        let (waits, index) = oneshot::channel();
        self.0.lock().push((command, waits));
        index
    }
}
