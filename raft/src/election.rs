//! Elections: when this member stands for one, and which candidates it elects.

mod early_election;
mod election_state;
mod election_timer;
mod pre_vote;
mod vote_granting;

use std::sync::Arc;

pub(crate) use early_election::campaign_on_leader_death;
pub(crate) use election_state::ElectionState;
pub(crate) use election_timer::{LastContact, due, run_election_timer};
use pre_vote::PreVoteRound;
use quorate_proto::peer;
use quorate_types::{ElectionReason, MemberList};
use tokio::sync::watch;

use crate::{consensus::ConsensusHandle, liveness::LivenessTable, network::PeerDirectory};

/// Candidate and voter: this member's part in elections.
pub(crate) struct ElectionParticipant {
    pub(crate) consensus: Arc<ConsensusHandle>,
    pub(crate) peers: Arc<PeerDirectory>,
    pub(crate) liveness: Arc<LivenessTable>,
    pub(crate) members: watch::Receiver<MemberList>,
}

/// Returns the reason as a vote request carries it.
pub(crate) fn wire_reason(reason: ElectionReason) -> peer::Reason {
    match reason {
        ElectionReason::Timeout => peer::Reason::Timeout,
        ElectionReason::Transfer => peer::Reason::Transfer,
        ElectionReason::Death => peer::Reason::Death,
    }
}
