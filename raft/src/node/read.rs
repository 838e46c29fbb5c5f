//! Linearizable reads by ReadIndex, from any member. Never by lease.

use std::{sync::Arc, time::Duration};

use openraft::{
    LinearizerOption, ReadPolicy,
    errors::{LinearizableReadError, RaftError},
};
use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};
use quorate_proto::peer::{self, read_index_response::Outcome};
use quorate_types::{MemberId, ReadError};
use tokio::time::timeout;

use super::{applied_index::AppliedIndex, leader_retry::LeaderRetry};
use crate::{consensus::ConsensusHandle, network::PeerDirectory};

/// Confirms reads with a quorum, for the callers at one member.
pub(crate) struct ReadBarrier {
    pub(super) consensus: Arc<ConsensusHandle>,
    pub(super) peers: Arc<PeerDirectory>,
    pub(super) applied: AppliedIndex,
}

impl ReadBarrier {
    /// See [`Node::read_barrier`](super::Node::read_barrier).
    pub(super) async fn pass(&self, deadline: Instant) -> Result<u64, ReadError> {
        if planted(Mutant::FollowerReadsLocally) && !self.consensus.tracker.current().leading {
            return Ok(self.applied.current());
        }
        let mut retry = LeaderRetry::new(&self.consensus, &self.peers, deadline);
        loop {
            let tried = match retry.leader() {
                None => Err(None),
                Some(id) if id == self.consensus.id => self.read_index_here(deadline).await,
                Some(id) => self.read_index_at(id, &mut retry).await,
            };
            let again = match tried {
                Ok(index) if self.applied.wait_for(index, deadline).await => {
                    return Ok(self.applied.current());
                }
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

    /// Returns the index to wait for, confirmed by a quorum, or else the member that may know it.
    pub(crate) async fn read_index_here(&self, deadline: Instant) -> Result<u64, Option<MemberId>> {
        if planted(Mutant::ReadWithoutQuorum) && self.consensus.tracker.current().leading {
            return Ok(self.applied.current());
        }
        if !self.consensus.is_running() || !self.consensus.is_confirmed() {
            return Err(None);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let option = LinearizerOption::from(ReadPolicy::ReadIndex)
            .with_wait_timeout(left.min(self.consensus.timing().patience.election_max));
        match timeout(left, self.consensus.raft.get_read_log_id(option)).await {
            Ok(Ok((index, _))) => Ok(index.index()),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to)))) => {
                Err(to.leader_id.filter(|id| *id != self.consensus.id))
            }
            _ => Err(None),
        }
    }

    /// Asks another member for the index. A read may be asked for twice, so any failure is a
    /// retry.
    async fn read_index_at(
        &self,
        leader: MemberId,
        retry: &mut LeaderRetry<'_>,
    ) -> Result<u64, Option<MemberId>> {
        let mut peer = retry.peer(leader).ok_or(None)?;
        // A leader that is gone without a word must not use up the time for its successor.
        let failover = self.consensus.timing().patience.failover;
        let patience = Duration::from_millis(retry.left_ms()).min(failover);
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
