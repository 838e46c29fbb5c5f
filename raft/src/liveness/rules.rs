//! The decisions: who is dead, who stands when, whose vote is honoured.

use std::{collections::BTreeSet, time::Duration};

use quorate_clock::Instant;
use quorate_types::MemberId;

use super::{REFUSALS, Sign};
use crate::node::Ballot;

/// Between the candidates.
pub(crate) const STAGGER: Duration = Duration::from_millis(20);

/// Attempts at an address whose connection was lost.
const ATTEMPTS: u32 = 60;

/// Accepted attempts in a row that end a suspicion. One does not: the kernel goes on
/// accepting for a process whose connections it has closed already, until it closes the
/// listener too, and such a connection was seen to stay open with nobody at its other end.
const ACCEPTED: u32 = 10;

/// How an attempt to connect went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Refused,
    Accepted,
    /// Accepted and reset at once: a listener that is being closed.
    Reset,
    /// No answer in time, or another error: says nothing.
    Unclear,
}

/// What follows from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Dead,
    Again,
    Connected,
    GiveUp,
}

/// A process whose connection was lost.
#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    attempts: u32,
    refusals: u32,
    accepted: u32,
}

impl Suspicion {
    pub(crate) fn after(&mut self, attempt: Attempt) -> Step {
        self.attempts += 1;
        (self.refusals, self.accepted) = match attempt {
            Attempt::Refused => (self.refusals + 1, 0),
            Attempt::Accepted => (0, self.accepted + 1),
            Attempt::Reset | Attempt::Unclear => (0, 0),
        };
        match attempt {
            Attempt::Refused if self.refusals >= REFUSALS => Step::Dead,
            Attempt::Unclear => Step::GiveUp,
            _ if self.attempts >= ATTEMPTS => Step::GiveUp,
            Attempt::Accepted if self.accepted.is_multiple_of(ACCEPTED) => Step::Connected,
            Attempt::Refused | Attempt::Reset | Attempt::Accepted => Step::Again,
        }
    }
}

/// What is known after `next` was seen: a death lasts until a connection is held again.
pub(crate) fn sign(known: Sign, next: Sign) -> Sign {
    match (known, next) {
        (Sign::Dead(since), Sign::Unknown | Sign::Absent | Sign::Dead(_)) => Sign::Dead(since),
        (_, next) => next,
    }
}

/// A leader counts as dead only if it was known before its death was.
pub(crate) fn died(known_since: Instant, dead_since: Option<Instant>) -> Option<Instant> {
    dead_since.filter(|since| known_since <= *since)
}

/// Whether a vote for `DEATH` may ignore the lease at member `me`, whose own vote is `vote`.
/// `dead`: whether the leader that the vote names has died for sure, by this member's own
/// liveness.
pub(crate) fn honoured(me: MemberId, vote: Ballot, dead: bool) -> bool {
    // Without a leader there is no lease to ignore.
    !vote.committed || vote.member != me && dead
}

/// How many voters stand before `me`; `None` when it is no voter. `voters` are the sets of
/// the effective membership.
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

/// Whether `granted` is a quorum of each set.
pub(crate) fn quorum(voters: &[BTreeSet<MemberId>], granted: &BTreeSet<MemberId>) -> bool {
    let of = |set: &BTreeSet<MemberId>| set.intersection(granted).count() * 2 > set.len();
    !voters.is_empty() && voters.iter().all(of)
}

#[cfg(test)]
mod tests {
    use Attempt::*;

    use super::*;

    fn verdict(attempts: impl IntoIterator<Item = Attempt>) -> Step {
        let mut suspicion = Suspicion::default();
        let mut last = Step::Again;
        for attempt in attempts {
            assert!(matches!(last, Step::Again | Step::Connected), "{last:?}");
            last = suspicion.after(attempt);
        }
        last
    }

    #[test]
    fn only_refusals_in_a_row_are_a_death() {
        assert_eq!(verdict([Refused]), Step::Again);
        assert_eq!(verdict([Refused, Refused]), Step::Dead);
        // Its listener was closed after its connections.
        assert_eq!(verdict([Accepted, Accepted, Refused, Refused]), Step::Dead);
        assert_eq!(verdict([Refused, Accepted, Refused]), Step::Again);
        assert_eq!(verdict([Accepted; 9]), Step::Again);
        assert_eq!(verdict([Accepted; 10]), Step::Connected);
        let late = [Accepted; 9].into_iter().chain([Refused, Accepted]);
        assert_eq!(verdict(late), Step::Again);
        assert_eq!(
            verdict([Reset, Refused, Reset, Refused, Refused]),
            Step::Dead
        );
        assert_eq!(verdict([Refused, Reset]), Step::Again);
        assert_eq!(verdict([Refused, Unclear]), Step::GiveUp);
        assert_eq!(verdict([Unclear]), Step::GiveUp);
        // Something in between accepts for it and hangs up.
        assert_eq!(verdict([Accepted; 60]), Step::GiveUp);
    }

    #[test]
    fn a_death_lasts_until_a_connection_is_held() {
        let at = Instant::now();
        let dead = Sign::Dead(at);
        for next in [
            Sign::Unknown,
            Sign::Absent,
            Sign::Dead(at + Duration::from_secs(1)),
        ] {
            assert_eq!(sign(dead, next), dead);
        }
        assert_eq!(sign(dead, Sign::Alive), Sign::Alive);
        assert_eq!(sign(Sign::Alive, Sign::Unknown), Sign::Unknown);
        assert_eq!(sign(Sign::Unknown, dead), dead);
    }

    #[test]
    fn who_is_elected_after_the_death_is_alive() {
        let at = Instant::now();
        assert_eq!(died(at, Some(at)), Some(at));
        assert_eq!(died(at + Duration::from_millis(1), Some(at)), None);
        assert_eq!(died(at, None), None);
    }

    #[test]
    fn a_death_is_believed_only_by_who_sees_it_and_never_by_the_leader() {
        let vote = |member, committed| Ballot {
            term: 3,
            member,
            committed,
        };
        assert!(honoured(2, vote(1, true), true));
        assert!(!honoured(2, vote(1, true), false));
        assert!(!honoured(1, vote(1, true), true));
        assert!(!honoured(1, vote(1, true), false));
        assert!(honoured(2, vote(3, false), false));
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
