//! Contact with the leader: when it was heard last, and for how long a member stands by it.

use quorate_clock::Instant;
use tokio::sync::watch;

use super::{ElectionBallot, LeadershipTracker};
use crate::election::LastContact;

impl LeadershipTracker {
    /// Follows the latest ballot.
    pub(crate) fn ballots(&self) -> watch::Receiver<ElectionBallot> {
        self.ballots.subscribe()
    }

    /// Returns the last contact; `None` where no leader is to be missed: this member leads, or
    /// stops.
    pub(crate) fn last_contact(&self) -> Option<LastContact> {
        let state = self.state.lock();
        if state.stopped || state.ballot.committed && state.ballot.member == self.me {
            return None;
        }
        Some(match state.heard_at {
            Some(at) => LastContact::Leader(at),
            None if state.involved => LastContact::Vote(state.since),
            None => LastContact::Nothing(state.since),
        })
    }

    /// Returns when a leader has been heard, or a quorum has answered this one, after `since`.
    pub(crate) async fn heard_after(&self, since: Instant) {
        let mut seen = self.out.subscribe();
        let heard = seen.wait_for(|it| it.heard_at.is_some_and(|at| at > since));
        if heard.await.is_err() {
            std::future::pending().await
        }
    }

    /// Returns whether this member stands by a leader: it has heard one or, leading itself, a
    /// quorum's answer, within its patience.
    pub(crate) fn stands_by_leader(&self, now: Instant) -> bool {
        let seen = self.current();
        let patience = self.timing.borrow().patience.election_max;
        let recent = |at| now.saturating_duration_since(at) < patience;
        seen.leader.is_some() && seen.heard_at.is_some_and(recent)
    }

    /// Returns since when this leader has had no answer of a quorum: from the sending of the last
    /// round that was answered, or from its election.
    pub(crate) fn unanswered_since(&self) -> Instant {
        let state = self.state.lock();
        state.heard_at.unwrap_or(state.since)
    }
}
