//! Elections: when a member stands, and whom it would elect.

mod election_state;
mod election_timer;
mod pre_vote;
mod vote_granting;

pub(crate) use election_state::ElectionState;
pub(crate) use election_timer::{LastContact, due, run_election_timer};
pub(crate) use pre_vote::PreVoteRound;

use quorate_proto::peer;
use quorate_types::ElectionReason;

/// The reason as a vote request carries it.
pub(crate) fn wire_reason(reason: ElectionReason) -> peer::Reason {
    match reason {
        ElectionReason::Timeout => peer::Reason::Timeout,
        ElectionReason::Transfer => peer::Reason::Transfer,
        ElectionReason::Death => peer::Reason::Death,
    }
}
