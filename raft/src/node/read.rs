//! Linearizable reads by ReadIndex, from any member. Never by lease.

use std::time::Duration;

use futures_util::future::join_all;
use openraft::{
    LinearizerOption, ReadPolicy,
    errors::{LinearizableReadError, RaftError},
};
use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};
use quorate_proto::peer::{self, read_index_response::Outcome};
use quorate_types::{MemberId, ReadError};
use tokio::time::timeout;

use super::{LeaderRetry, Node, NodeInner};

impl Node {
    /// ReadIndex from any member: when it returns, this member has applied at least all
    /// that was acknowledged before the call. Returns the index that it has applied.
    pub async fn read_barrier(&self, deadline: Instant) -> Result<u64, ReadError> {
        let node = &*self.inner;
        if planted(Mutant::FollowerReadsLocally) && !node.tracker.current().leading {
            return Ok(node.applied());
        }
        let mut retry = LeaderRetry::new(node, deadline);
        loop {
            let tried = match retry.leader() {
                None => Err(None),
                Some(id) if id == node.id => node.read_index_here(deadline).await,
                Some(id) => node.read_index_at(id, &mut retry).await,
            };
            let again = match tried {
                Ok(index) if node.wait_applied(index, deadline).await => return Ok(node.applied()),
                Ok(_) => false,
                Err(leader) => retry.wait_before_retry(leader).await,
            };
            if !again {
                return Err(ReadError::NoQuorum {
                    waited_ms: retry.waited_ms(),
                });
            }
        }
    }

    /// Waits until the other members that can be reached have applied `index`, at most `wait`.
    pub async fn wait_applied_everywhere(&self, index: u64, wait: Duration) {
        let node = &*self.inner;
        let others: Vec<MemberId> = node.members.borrow().iter().map(|m| m.id).collect();
        let others = others.into_iter().filter(|id| *id != node.id);
        let peers = others.filter_map(|id| node.peers.get(id));
        let asked = peers.map(|mut peer| async move {
            let request = peer::AppliedRequest {
                index,
                wait_ms: wait.as_millis() as u64,
            };
            // Who can't be reached is not waited for.
            let _ = peer.control.applied(request).await;
        });
        // Who is late is waited for no longer.
        let _ = timeout(wait, join_all(asked)).await;
    }
}

impl NodeInner {
    /// The index to wait for, confirmed by a quorum; or who may know it instead.
    pub(crate) async fn read_index_here(&self, deadline: Instant) -> Result<u64, Option<MemberId>> {
        if !self.running() || !self.confirmed() {
            return Err(None);
        }
        if planted(Mutant::ReadWithoutQuorum) && self.tracker.current().leading {
            return Ok(self.applied());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let option = LinearizerOption::from(ReadPolicy::ReadIndex)
            .with_wait_timeout(left.min(self.timing().patience.election_max));
        match timeout(left, self.raft.get_read_log_id(option)).await {
            Ok(Ok((index, _))) => Ok(index.index()),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to)))) => {
                Err(to.leader_id.filter(|id| *id != self.id))
            }
            _ => Err(None),
        }
    }

    /// The same at another member. A read may be asked for twice, so any failure is a retry.
    async fn read_index_at(
        &self,
        leader: MemberId,
        retry: &mut LeaderRetry<'_>,
    ) -> Result<u64, Option<MemberId>> {
        let mut peer = retry.peer(leader).ok_or(None)?;
        // A leader that is gone without a word must not use up the time for its successor.
        let patience = Duration::from_millis(retry.left_ms()).min(self.timing().patience.failover);
        let request = peer::ReadIndexRequest {
            deadline_ms: patience.as_millis() as u64,
        };
        match timeout(patience, peer.control.read_index(request)).await {
            Ok(Ok(answer)) => match answer.into_inner().outcome {
                Some(Outcome::Index(index)) => Ok(index),
                Some(Outcome::NotLeader(answer)) => Err(retry.redirected(answer)),
                _ => Err(None),
            },
            Ok(Err(status)) => {
                tracing::debug!(
                    member = leader,
                    "could not forward a read: {}",
                    status.message()
                );
                Err(None)
            }
            Err(_) => Err(None),
        }
    }
}
