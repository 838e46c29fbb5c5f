//! Where openraft stands, at one moment: what an election is decided by.

use std::collections::BTreeSet;

use openraft::ServerState;
use quorate_types::MemberId;

use crate::{
    node::NodeInner,
    storage::raft_types::{LogEntryId, StoredVote},
};

/// openraft's state, at one moment.
pub(crate) struct ElectionState {
    pub(crate) vote: StoredVote,
    pub(crate) last: Option<LogEntryId>,
    /// The sets of the effective membership.
    pub(crate) voters: Vec<BTreeSet<MemberId>>,
    /// Whether it leads, or has asked for votes and not heard of another vote since.
    pub(crate) is_leader_or_candidate: bool,
    /// Whether this member is a voter of the effective membership or of the committed one.
    pub(crate) is_voter: bool,
}

impl ElectionState {
    /// Whether nobody else is needed to elect `me`.
    pub(crate) fn alone(&self, me: MemberId) -> bool {
        !self.voters.is_empty() && self.voters.iter().all(|set| set.iter().eq([&me]))
    }
}

impl NodeInner {
    /// `None` once openraft has stopped.
    pub(crate) async fn election_state(&self) -> Option<ElectionState> {
        let me = self.id;
        let read = self.raft.with_raft_state(move |s| {
            let membership = &s.membership_state;
            let all = [membership.effective(), membership.committed()];
            let votes = all.iter().any(|it| it.voter_ids().any(|id| id == me));
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
                is_voter: votes,
            }
        });
        read.await.ok()
    }
}
