//! Heartbeats that are answered at once.
//!
//! openraft answers an append when all that it took before is on the disk, and a heartbeat is
//! an append. With disks that are slow at a quorum the leader's lease would lapse, and a
//! member with such a disk would miss a leader that is there. But what counts in the answer to
//! a heartbeat needs no disk: that this member has given its vote to nobody later. So one is
//! answered by the tracker where
//! 1. openraft has accepted an append of this leader in this process. So this vote is the one
//!    that it holds and has on disk. Whether the log has what the heartbeat takes for granted is
//!    looked at behind the answer; the log's own appends tell a leader that it hasn't.
//! 2. its vote can't have changed since. It changes
//!    - by a vote for another, which the tracker learns before the answer to the candidate
//!      leaves, under the lock under which heartbeats are answered. So an answer is either from
//!      before, and among what the vote tells of leases (see [`crate::votes`]), or not given;
//!      and nobody is elected, and can have written what a reader would miss, by a vote that
//!      has not left.
//!    - by standing itself, which the tracker learns before openraft does, and once more before
//!      a request for votes leaves. From then on none of an earlier term is answered here,
//!      whatever becomes of it.
//!    - by an append of a later leader, which the tracker learns before openraft too. (Whoever
//!      did not vote for that leader may answer another as long as he likes: a quorum that
//!      answers shares a member with the one that voted.)
//!
//! What is answered here is handed to openraft all the same: it learns from it what is
//! committed. Should it refuse it, none is answered here any more. Should it keep it for longer
//! than the promise, its disk or it itself stands still: a member that takes nothing down is
//! not to be counted among those that keep a leader in office, who may reach no others.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};

use super::{ElectionBallot, LeadershipTracker, TrackerState};

impl LeadershipTracker {
    /// A heartbeat with this lease has arrived. Whether it is answered at once, as accepted.
    pub(crate) fn answers(&self, ballot: ElectionBallot, at: Instant, lease: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.sure_of(ballot) {
            return planted(Mutant::AnsweredByHabit);
        }
        state
            .lease_evidence
            .note(ballot.member, at, self.counted(lease));
        self.hears(&mut state, at);
        true
    }

    /// openraft has refused a heartbeat of this ballot, or its vote is about to change.
    pub(crate) fn doubts(&self, ballot: ElectionBallot) {
        self.state.lock().doubt(ballot);
    }
}

impl TrackerState {
    /// Whether openraft's vote is this one for certain.
    fn sure_of(&self, ballot: ElectionBallot) -> bool {
        ballot == self.ballot
            && self.heard_at.is_some()
            && self.doubted.is_none_or(|doubted| ballot > doubted)
            && !self.stopped
    }

    /// None of an earlier term is answered at once any more.
    pub(super) fn doubt_before(&mut self, term: u64) {
        self.doubt(ElectionBallot {
            term,
            ..ElectionBallot::default()
        });
    }

    /// None up to this ballot is answered at once any more.
    pub(super) fn doubt(&mut self, ballot: ElectionBallot) {
        self.doubted = self.doubted.max(Some(ballot));
    }
}
