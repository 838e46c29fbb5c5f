//! Ballot: the name of an election, in the order in which votes take each other's place.

use quorate_types::MemberId;

use crate::storage::raft_types::StoredVote;

/// Vote as openraft orders them: by term, then member, then whether a quorum granted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ElectionBallot {
    pub(crate) term: u64,
    pub(crate) member: MemberId,
    pub(crate) committed: bool,
}

impl From<&StoredVote> for ElectionBallot {
    fn from(vote: &StoredVote) -> Self {
        ElectionBallot {
            term: vote.leader_id.term,
            member: vote.leader_id.node_id,
            committed: vote.committed,
        }
    }
}
