//! Evidence in votes of when the leases of earlier leaders are over, for certain.
//!
//! A leader `L` may act alone until `s + lease`, where `s` is when it sent the latest
//! append that a quorum answered, and `lease` is the length that this append carried: it is
//! `L`'s own, and need not be that of others. A successor `S` must know when that is past,
//! however `S` came to be elected: by a timeout, by a transfer or after a death, of which the
//! latter two bypass the time for which voters stand by a leader, and although a voter that
//! restarts forgets the leader that it stood by.
//!
//! 1. Every voter notes, for each leader, until when a lease of it can run: the
//!    *arrival* of an append plus 1.02 x the lease that it carries, before it is handed to
//!    openraft, unless it is already known to be refused. An append that is answered was sent
//!    before it arrived, so `s + lease` is not later. 1.02 covers clock rates that differ by
//!    1 %. Leases of several lengths may come from one leader; the latest end counts.
//! 2. A voter that grants a vote to `S` looks this up *after* the vote is on disk. From then
//!    on it answers no append of an earlier leader, heartbeats that it answers without
//!    openraft among them (see `node/leadership/heartbeat_answers`), so nothing that counts
//!    for an earlier lease is missing. It answers with the time that is *left* of the longest
//!    over all leaders other than `S`. A voter that led counts its own lease in the same way,
//!    and stops publishing itself as leader before the answer leaves.
//! 3. A voter that has restarted may have answered just before. It does not know which leader,
//!    only how long a lease can have been at most, because a length is on its disk before it
//!    answers the first append that carries it or a longer one (see [`crate::storage`]'s
//!    longest lease). It counts that from its start.
//! 4. `S` takes `receipt + left` for each vote. The time left was measured before the answer
//!    was received, so this is not earlier than what the voter knows. (Counting from before
//!    the request was sent would be too early by up to a round trip.) `S` keeps the latest
//!    over the granted votes and over what it heard itself, and is clear of all others from
//!    that time on. A part of the lease is measured by the voter's clock and the rest by
//!    `S`'s; each of the two differs from `L`'s by 1 % at most, so their sum does.
//! 5. The quorum that answered `L` and the one that elected `S` share a voter. If that is a
//!    third member or `S`, its arrival bounds `s`. If it is `L` itself, point 2's last
//!    sentence does. When the membership changed in between, the change was committed by a
//!    leader `M` elected after `L` by a quorum that shares a voter with `L`'s; each member
//!    that answered `M`'s change did so after that, so its arrival bounds `s` as well, and one
//!    of those voted for `S`.
//!
//! A candidate's own earlier leases are left out: they are this process's own to revoke.
//! Everything is CLOCK_MONOTONIC; where it stands still (a suspended host) too much comes out
//! as left and is waited for, which is the safe side.

use std::{collections::BTreeMap, time::Duration};

use quorate_clock::Instant;
use quorate_types::{MemberId, timing::lease_elsewhere};

/// Leaders that this member has heard, and until when a lease of each can run.
#[derive(Debug)]
pub(crate) struct LeaseEvidence {
    /// Until when a lease can run that was renewed before this process began.
    unknown: Instant,
    over: BTreeMap<MemberId, Instant>,
}

impl LeaseEvidence {
    /// Makes the evidence of a process that began at `started`; no lease that was renewed before
    /// was longer than `longest`.
    pub(crate) fn new(started: Instant, longest: Duration) -> Self {
        LeaseEvidence {
            unknown: started + lease_elsewhere(longest),
            over: BTreeMap::new(),
        }
    }

    /// Notes that an append of `leader` has arrived that carries this lease or, where this member
    /// led, that its own lease ran from `at`.
    pub(crate) fn note(&mut self, leader: MemberId, at: Instant, lease: Duration) {
        let end = at + lease_elsewhere(lease);
        let over = self.over.entry(leader).or_insert(end);
        *over = end.max(*over);
    }

    /// Returns the time from which no lease other than `candidate`'s runs that this member had a
    /// part in.
    pub(crate) fn over_but(&self, candidate: MemberId) -> Instant {
        let others = self.over.iter().filter(|(id, _)| **id != candidate);
        others.map(|(_, at)| *at).fold(self.unknown, Instant::max)
    }
}

/// Votes that were granted to this member, in the latest term that it asked in.
#[derive(Debug, Default)]
pub(crate) struct VoteEvidence {
    term: u64,
    over: Option<Instant>,
}

impl VoteEvidence {
    /// Notes that a vote for `term` was received at `received`, with what is left of others'
    /// leases. Must be called before the vote is counted.
    pub(crate) fn note(&mut self, term: u64, received: Instant, left: Duration) {
        if term < self.term {
            return;
        }
        if term > self.term {
            *self = VoteEvidence { term, over: None };
        }
        self.over = self.over.max(Some(received + left));
    }

    /// Returns the latest end over the votes granted in `term`.
    pub(crate) fn over(&self, term: u64) -> Option<Instant> {
        self.over.filter(|_| self.term == term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn restarted_voter_counts_longest_lease_from_start() {
        let start = Instant::now();
        let mut heard = LeaseEvidence::new(start, 600 * MS);
        assert_eq!(heard.over_but(2), start + 612 * MS);
        heard.note(1, start + 10 * MS, 100 * MS);
        assert_eq!(heard.over_but(2), start + 612 * MS);
    }

    #[test]
    fn latest_end_counts_unless_the_candidates() {
        let start = Instant::now();
        let mut heard = LeaseEvidence::new(start, Duration::ZERO);
        heard.note(1, start + 10 * MS, 100 * MS);
        heard.note(2, start + 30 * MS, 100 * MS);
        heard.note(1, start + 20 * MS, 100 * MS);
        heard.note(1, start + 5 * MS, 100 * MS);
        assert_eq!(heard.over_but(3), start + 132 * MS);
        assert_eq!(heard.over_but(2), start + 122 * MS);
        assert_eq!(heard.over_but(1), start + 132 * MS);
    }

    #[test]
    fn longer_lease_outlives_later_shorter_one() {
        let start = Instant::now();
        let mut heard = LeaseEvidence::new(start, Duration::ZERO);
        heard.note(1, start, 1000 * MS);
        heard.note(1, start + 50 * MS, 100 * MS);
        heard.note(3, start + 60 * MS, 100 * MS);
        assert_eq!(heard.over_but(2), start + 1020 * MS);
        assert_eq!(heard.over_but(1), start + 162 * MS);
    }

    #[test]
    fn the_latest_vote_of_the_term_counts() {
        let now = Instant::now();
        let mut granted = VoteEvidence::default();
        granted.note(4, now, 70 * MS);
        granted.note(4, now, 50 * MS);
        assert_eq!(granted.over(4), Some(now + 70 * MS));
        assert_eq!(granted.over(5), None);
        granted.note(5, now + 10 * MS, Duration::ZERO);
        granted.note(4, now + 20 * MS, 900 * MS);
        assert_eq!(granted.over(5), Some(now + 10 * MS));
        assert_eq!(granted.over(4), None);
    }
}
