//! State of openraft at one moment, by which an election is decided.

use std::collections::BTreeSet;

use openraft::ServerState;
use quorate_types::MemberId;

use crate::{
    consensus::ConsensusHandle,
    storage::raft_types::{LogEntryId, StoredVote},
};

/// openraft's state at one moment.
pub(crate) struct ElectionState {
    pub(crate) vote: StoredVote,
    pub(crate) last: Option<LogEntryId>,
    /// The voter sets of the effective membership.
    pub(crate) voters: Vec<BTreeSet<MemberId>>,
    /// True if this member leads, or has asked for votes and not heard of another vote since.
    pub(crate) is_leader_or_candidate: bool,
    /// True if this member is a voter of the effective membership or of the committed one.
    pub(crate) is_voter: bool,
}

impl ElectionState {
    /// Reads the state from openraft; `None` once openraft has stopped.
    pub(crate) async fn read(consensus: &ConsensusHandle) -> Option<ElectionState> {
        let me = consensus.id;
        let read = consensus.raft.with_raft_state(move |s| {
            let membership = &s.membership_state;
            let all = [membership.effective(), membership.committed()];
            let is_voter = all.iter().any(|it| it.voter_ids().any(|id| id == me));
            ElectionState {
                vote: *s.vote_ref(),
                last: s.log_ids.last().copied(),
                voters: membership
                    .effective()
                    .membership()
                    .get_joint_config()
                    .clone(),
                is_leader_or_candidate: matches!(
                    s.server_state,
                    ServerState::Candidate | ServerState::Leader
                ),
                is_voter,
            }
        });
        read.await.ok()
    }

    /// Returns whether nobody else is needed to elect `me`.
    pub(crate) fn is_alone(&self, me: MemberId) -> bool {
        !self.voters.is_empty() && self.voters.iter().all(|set| set.iter().eq([&me]))
    }
}
