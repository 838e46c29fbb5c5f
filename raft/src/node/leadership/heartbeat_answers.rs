//! Answers to heartbeats that are given at once, without openraft and its disk.
//!
//! openraft answers an append when all that it took before is on the disk, and a heartbeat is
//! an append. With disks that are slow at a quorum the leader's lease would lapse, and a
//! member with such a disk would miss a leader that is there. But what counts in the answer to
//! a heartbeat needs no disk: that this member has given its vote to nobody later. So the
//! tracker answers a heartbeat where
//! 1. openraft has accepted an append of this leader in this process. So this vote is the one
//!    that openraft holds and has on disk. Whether the log has what the heartbeat takes for
//!    granted is looked at behind the answer; the log's own appends show a leader that it
//!    hasn't.
//! 2. openraft's vote can't have changed since. It changes
//!    - by a vote for another, which the tracker learns before the answer to the candidate
//!      leaves, under the lock under which heartbeats are answered. So an answer is either from
//!      before, and among the leases of which the vote carries the longest (see
//!      [`crate::votes`]), or not given; and nobody is elected, and can have written what a
//!      reader would miss, by a vote that has not left.
//!    - by standing itself, which the tracker learns before openraft does, and once more before
//!      a request for votes leaves. From then on no heartbeat of an earlier term is answered
//!      here, whatever becomes of it.
//!    - by an append of a later leader, which the tracker learns before openraft too. (A member
//!      that did not vote for that leader may answer another as long as it likes: a quorum that
//!      answers shares a member with the quorum that voted.)
//!
//! A heartbeat that is answered here is handed to openraft all the same: openraft learns from
//! it what is committed. Should openraft refuse it, none is answered here any more. Should
//! openraft keep it for longer than the failover promise, its disk or openraft itself stands
//! still: a member that takes nothing down is not to be counted among those that keep a leader
//! in office, who may reach no others.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};

use super::{ElectionBallot, LeadershipTracker, TrackerState};

impl LeadershipTracker {
    /// Takes in that a heartbeat with this lease has arrived; returns whether it is answered at
    /// once, as accepted.
    pub(crate) fn answers(&self, ballot: ElectionBallot, at: Instant, lease: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.is_sure_of(ballot) {
            return planted(Mutant::AnsweredByHabit);
        }
        state
            .lease_evidence
            .note(ballot.member, at, self.counted(lease));
        self.hears(&mut state, at);
        true
    }

    /// Takes in that openraft has refused a heartbeat of this ballot, or that its vote is about
    /// to change.
    pub(crate) fn doubts(&self, ballot: ElectionBallot) {
        self.state.lock().doubt(ballot);
    }
}

impl TrackerState {
    /// Returns whether openraft's vote is this one for certain.
    fn is_sure_of(&self, ballot: ElectionBallot) -> bool {
        ballot == self.ballot
            && self.heard_at.is_some()
            && self.doubted.is_none_or(|doubted| ballot > doubted)
            && !self.stopped
    }

    /// Lets no heartbeat of an earlier term be answered at once any more.
    pub(super) fn doubt_before(&mut self, term: u64) {
        self.doubt(ElectionBallot {
            term,
            ..ElectionBallot::default()
        });
    }

    /// Lets no heartbeat up to this ballot be answered at once any more.
    pub(super) fn doubt(&mut self, ballot: ElectionBallot) {
        self.doubted = self.doubted.max(Some(ballot));
    }
}
