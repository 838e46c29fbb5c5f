//! Vote granting: whether this member elects a candidate that asks for its vote.
//!
//! A voter stands by its leader while it has patience: for `election_max` of the failover
//! promise in force from the last append that it accepted or, if it leads itself, from the
//! sending of the last append that a quorum answered. Meanwhile it votes only for a candidate
//! for which the leader itself has released it, or for one that asks because the leader has
//! died and that its own liveness bears out. openraft has a rule of this kind with a length
//! that can't be changed while it runs, so each vote is judged here and handed on with the
//! flag that makes openraft pass its own rule over; all other rules (log, term, one vote in a
//! term, vote on disk before the answer) are openraft's as before.
//!
//! Safety does not rest on this patience. A leader that is elected early is a nuisance: its
//! predecessor's lease may still run, which every vote carries and the successor waits for (see
//! [`crate::votes`]). So it does no harm that an append may be accepted between this judgement
//! and openraft's.

use quorate_clock::Instant;
use quorate_proto::peer;

use super::{ElectionParticipant, ElectionState};
use crate::{
    ballot::ElectionBallot,
    liveness::rules,
    storage::raft_types::{LogEntryId, StoredVote},
};

impl ElectionParticipant {
    /// Returns whether this member is free to elect a candidate that asks for this reason;
    /// `released`: the candidate says that this member need not stand by its leader.
    pub(crate) fn may_grant_vote(
        &self,
        state: &ElectionState,
        reason: peer::Reason,
        released: bool,
    ) -> bool {
        let released = released
            && match reason {
                peer::Reason::Timeout => false,
                peer::Reason::Transfer => true,
                peer::Reason::Death => self.confirms_leader_death(state),
            };
        released || !self.consensus.tracker.stands_by_leader(Instant::now())
    }

    /// Returns whether the leader that this member's vote is for has died for sure, or there is
    /// none.
    fn confirms_leader_death(&self, state: &ElectionState) -> bool {
        let vote = ElectionBallot::from(&state.vote);
        let dead = self.dead_leader().is_some_and(|dead| dead.ballot == vote);
        rules::may_ignore_lease(self.consensus.id, vote, dead)
    }

    /// Returns whether this member would elect a candidate that asks for this reason, and
    /// changes nothing. A candidate that says that the leader has died is answered by what this
    /// member's liveness knows, and by nothing else: an election by `DEATH` is one whose cause
    /// a quorum has seen.
    pub(crate) fn would_grant_pre_vote(
        &self,
        state: &ElectionState,
        candidate: &StoredVote,
        last: Option<LogEntryId>,
        reason: peer::Reason,
    ) -> bool {
        let free = match reason {
            peer::Reason::Death => self.confirms_leader_death(state),
            other => self.may_grant_vote(state, other, false),
        };
        let longer = last < state.last;
        if free && longer {
            self.liveness.urge(candidate.leader_id.term);
        }
        free && !longer && *candidate > state.vote
    }
}
