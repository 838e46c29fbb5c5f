//! Proposals that a planted bug answers before anything is committed.

use std::time::Duration;

use bytes::Bytes;
use quorate_clock::Instant;
use tokio::time::timeout_at;

use super::Node;

/// Time for which a proposal goes on after its answer.
const GOES_ON: Duration = Duration::from_secs(2);

impl Node {
    /// Proposes a command and returns its index as soon as it is in this member's own log, and
    /// does not wait for what becomes of it.
    pub async fn propose_uncommitted(&self, command: Bytes, deadline: Instant) -> Option<u64> {
        let index = self.inner.stats.early.wait_for(command.clone());
        let node = self.clone();
        tokio::spawn(async move { node.propose(command, deadline + GOES_ON).await });
        timeout_at(deadline, index).await.ok()?.ok()
    }
}
