//! What this member answers to a candidate.
//!
//! A voter stands by its leader while it has patience: for `election_max` of the promise in
//! force from the last append that it accepted or, if it leads itself, from the sending of
//! the last one that a quorum answered. Meanwhile it votes only for whom the leader itself has
//! released it, or for whom asks because the leader has died and whom its own liveness bears
//! out. openraft has a rule of this kind with a length that can't be changed while it runs, so
//! each vote is judged here and handed on with the flag that makes openraft pass its own rule
//! over; all other rules (log, term, one vote in a term, vote on disk before the answer) are
//! openraft's as before.
//!
//! Safety does not rest on this patience. Who is elected early is a nuisance: its
//! predecessor's lease may still run, which every vote says and the successor waits for (see
//! [`crate::votes`]). So it does no harm that an append may be accepted between this judgement
//! and openraft's.

use quorate_clock::Instant;
use quorate_proto::peer;

use super::ElectionState;
use crate::{
    liveness::rules,
    network::ballot_of,
    node::NodeInner,
    storage::raft_types::{LogEntryId, StoredVote},
};

impl NodeInner {
    /// Whether this member is free to elect somebody who asks for this reason; `released`: the
    /// candidate says that it need not stand by its leader.
    pub(crate) fn may_grant_vote(
        &self,
        seat: &ElectionState,
        reason: peer::Reason,
        released: bool,
    ) -> bool {
        let released = released
            && match reason {
                peer::Reason::Timeout => false,
                peer::Reason::Transfer => true,
                peer::Reason::Death => self.confirms_leader_death(seat),
            };
        released || !self.tracker.stands_by_leader(Instant::now())
    }

    /// Whether the leader that this member's vote is for has died for sure, or there is none.
    fn confirms_leader_death(&self, seat: &ElectionState) -> bool {
        let vote = ballot_of(&seat.vote);
        let dead = self.dead_leader().is_some_and(|lost| lost.ballot == vote);
        rules::may_ignore_lease(self.id, vote, dead)
    }

    /// Whether this member would elect a candidate that asks for this reason. It changes
    /// nothing. Who says that the leader has died is told what this member's liveness knows, and
    /// nothing else: an election by `DEATH` is one that a quorum has seen.
    pub(crate) fn would_grant_pre_vote(
        &self,
        seat: &ElectionState,
        candidate: &StoredVote,
        last: Option<LogEntryId>,
        reason: peer::Reason,
    ) -> bool {
        let free = match reason {
            peer::Reason::Death => self.confirms_leader_death(seat),
            other => self.may_grant_vote(seat, other, false),
        };
        let longer = last < seat.last;
        if free && longer {
            self.liveness.urge(candidate.leader_id.term);
        }
        free && !longer && *candidate > seat.vote
    }
}
