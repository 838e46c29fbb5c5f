//! Decisions about deaths: which process is dead, which voter stands when, which vote counts.

use std::{collections::BTreeSet, time::Duration};

use quorate_clock::Instant;
use quorate_types::MemberId;

use crate::ballot::ElectionBallot;

/// Refused attempts in a row that make a lost connection a death.
pub(super) const REFUSALS: u32 = 2;

/// Time between two candidates.
pub(crate) const STAGGER: Duration = Duration::from_millis(20);

/// Attempts at most at an address whose connection was lost.
const ATTEMPTS: u32 = 60;

/// Accepted attempts in a row that end a suspicion. A single one does not: the kernel goes on
/// accepting for a process whose connections it has closed already, until it closes the
/// listener too, and such a connection was seen to stay open with nobody at its other end.
const ACCEPTED: u32 = 10;

/// Liveness of a member's process, by the connection to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerLiveness {
    /// There is no connection, and nothing is known.
    Unknown,
    /// A connection is held.
    Alive,
    /// Nobody listens there; the process was not seen alive before.
    Absent,
    /// The process has died for sure; this was certain at that time.
    Dead(Instant),
}

/// Outcome of an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeResult {
    Refused,
    Accepted,
    /// Accepted and reset at once: a listener that is being closed.
    Reset,
    /// No answer in time, or another error: proves nothing.
    Unclear,
}

/// Consequence of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeDecision {
    Dead,
    Again,
    Connected,
    GiveUp,
}

/// Suspicion against a process whose connection was lost.
#[derive(Debug, Default)]
pub(crate) struct DeathSuspicion {
    attempts: u32,
    refusals: u32,
    accepted: u32,
}

impl DeathSuspicion {
    pub(crate) fn after(&mut self, attempt: ProbeResult) -> ProbeDecision {
        self.attempts += 1;
        (self.refusals, self.accepted) = match attempt {
            ProbeResult::Refused => (self.refusals + 1, 0),
            ProbeResult::Accepted => (0, self.accepted + 1),
            ProbeResult::Reset | ProbeResult::Unclear => (0, 0),
        };
        match attempt {
            ProbeResult::Refused if self.refusals >= REFUSALS => ProbeDecision::Dead,
            ProbeResult::Unclear => ProbeDecision::GiveUp,
            _ if self.attempts >= ATTEMPTS => ProbeDecision::GiveUp,
            ProbeResult::Accepted if self.accepted.is_multiple_of(ACCEPTED) => {
                ProbeDecision::Connected
            }
            ProbeResult::Refused | ProbeResult::Reset | ProbeResult::Accepted => {
                ProbeDecision::Again
            }
        }
    }
}

/// Returns what is known after `next` was seen: a death lasts until a connection is held again.
pub(crate) fn next_liveness(known: PeerLiveness, next: PeerLiveness) -> PeerLiveness {
    match (known, next) {
        (
            PeerLiveness::Dead(since),
            PeerLiveness::Unknown | PeerLiveness::Absent | PeerLiveness::Dead(_),
        ) => PeerLiveness::Dead(since),
        (_, next) => next,
    }
}

/// Returns since when a leader is dead, which counts only if the leader was known before its
/// death was.
pub(crate) fn died(known_since: Instant, dead_since: Option<Instant>) -> Option<Instant> {
    dead_since.filter(|since| known_since <= *since)
}

/// Returns whether a vote for `DEATH` may ignore the lease at member `me`, whose own vote is
/// `vote`. `dead`: whether the leader that the vote names has died for sure, by this member's
/// own liveness.
pub(crate) fn may_ignore_lease(me: MemberId, vote: ElectionBallot, dead: bool) -> bool {
    // Without a leader there is no lease to ignore.
    !vote.committed || vote.member != me && dead
}

/// Returns how many voters stand before `me`; `None` if `me` is no voter. `voters` are the sets
/// of the effective membership.
pub(crate) fn rank(
    me: MemberId,
    voters: &[BTreeSet<MemberId>],
    dead: impl Fn(MemberId) -> bool,
) -> Option<u32> {
    let all: BTreeSet<MemberId> = voters.iter().flatten().copied().collect();
    if !all.contains(&me) {
        return None;
    }
    let before = all.iter().filter(|id| **id > me && !dead(**id)).count();
    Some(before as u32)
}

/// Returns whether `granted` is a quorum of each set.
pub(crate) fn quorum(voters: &[BTreeSet<MemberId>], granted: &BTreeSet<MemberId>) -> bool {
    let has_quorum = |set: &BTreeSet<MemberId>| set.intersection(granted).count() * 2 > set.len();
    !voters.is_empty() && voters.iter().all(has_quorum)
}

#[cfg(test)]
mod tests {
    use ProbeResult::*;

    use super::*;

    fn verdict(attempts: impl IntoIterator<Item = ProbeResult>) -> ProbeDecision {
        let mut suspicion = DeathSuspicion::default();
        let mut last = ProbeDecision::Again;
        for attempt in attempts {
            assert!(
                matches!(last, ProbeDecision::Again | ProbeDecision::Connected),
                "{last:?}"
            );
            last = suspicion.after(attempt);
        }
        last
    }

    #[test]
    fn only_refusals_in_a_row_are_a_death() {
        assert_eq!(verdict([Refused]), ProbeDecision::Again);
        assert_eq!(verdict([Refused, Refused]), ProbeDecision::Dead);
        // Its listener was closed after its connections.
        assert_eq!(
            verdict([Accepted, Accepted, Refused, Refused]),
            ProbeDecision::Dead
        );
        assert_eq!(verdict([Refused, Accepted, Refused]), ProbeDecision::Again);
        assert_eq!(verdict([Accepted; 9]), ProbeDecision::Again);
        assert_eq!(verdict([Accepted; 10]), ProbeDecision::Connected);
        let late = [Accepted; 9].into_iter().chain([Refused, Accepted]);
        assert_eq!(verdict(late), ProbeDecision::Again);
        assert_eq!(
            verdict([Reset, Refused, Reset, Refused, Refused]),
            ProbeDecision::Dead
        );
        assert_eq!(verdict([Refused, Reset]), ProbeDecision::Again);
        assert_eq!(verdict([Refused, Unclear]), ProbeDecision::GiveUp);
        assert_eq!(verdict([Unclear]), ProbeDecision::GiveUp);
        // Something in between accepts for it and hangs up.
        assert_eq!(verdict([Accepted; 60]), ProbeDecision::GiveUp);
    }

    #[test]
    fn a_death_lasts_until_a_connection_is_held() {
        let at = Instant::now();
        let dead = PeerLiveness::Dead(at);
        for next in [
            PeerLiveness::Unknown,
            PeerLiveness::Absent,
            PeerLiveness::Dead(at + Duration::from_secs(1)),
        ] {
            assert_eq!(next_liveness(dead, next), dead);
        }
        assert_eq!(
            next_liveness(dead, PeerLiveness::Alive),
            PeerLiveness::Alive
        );
        assert_eq!(
            next_liveness(PeerLiveness::Alive, PeerLiveness::Unknown),
            PeerLiveness::Unknown
        );
        assert_eq!(next_liveness(PeerLiveness::Unknown, dead), dead);
    }

    #[test]
    fn member_elected_after_death_is_alive() {
        let at = Instant::now();
        assert_eq!(died(at, Some(at)), Some(at));
        assert_eq!(died(at + Duration::from_millis(1), Some(at)), None);
        assert_eq!(died(at, None), None);
    }

    // guarantee: FENCE-12
    #[test]
    fn death_is_believed_only_by_witnesses_never_leader() {
        let vote = |member, committed| ElectionBallot {
            term: 3,
            member,
            committed,
        };
        assert!(may_ignore_lease(2, vote(1, true), true));
        assert!(!may_ignore_lease(2, vote(1, true), false));
        assert!(!may_ignore_lease(1, vote(1, true), true));
        assert!(!may_ignore_lease(1, vote(1, true), false));
        assert!(may_ignore_lease(2, vote(3, false), false));
    }

    #[test]
    fn the_highest_living_voter_stands_first() {
        let voters = [BTreeSet::from([1, 2, 3, 4, 5])];
        let dead = |id| id == 5;
        assert_eq!(rank(4, &voters, dead), Some(0));
        assert_eq!(rank(3, &voters, dead), Some(1));
        assert_eq!(rank(1, &voters, dead), Some(3));
        assert_eq!(rank(6, &voters, dead), None);
        let joint = [BTreeSet::from([1, 2]), BTreeSet::from([2, 7])];
        assert_eq!(rank(2, &joint, |_| false), Some(1));
        assert_eq!(rank(7, &joint, |_| false), Some(0));
    }

    #[test]
    fn a_quorum_is_one_of_each_set() {
        let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<MemberId>>();
        let three = [set(&[1, 2, 3])];
        assert!(!quorum(&three, &set(&[2])));
        assert!(quorum(&three, &set(&[2, 3])));
        assert!(!quorum(&three, &set(&[2, 9])));
        let joint = [set(&[1, 2, 3]), set(&[3, 4, 5])];
        assert!(!quorum(&joint, &set(&[1, 2, 3])));
        assert!(quorum(&joint, &set(&[2, 3, 4])));
        assert!(!quorum(&[], &set(&[1])));
    }
}
