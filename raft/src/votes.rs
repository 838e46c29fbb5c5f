//! When the leases of earlier leaders are over, for certain.
//!
//! A leader `L` may act alone until `s + lease`, where `s` is when it sent the latest
//! append that a quorum answered. A successor `S` must know when that is past, however it
//! came to be elected: by a timeout, by a transfer or after a death, of which the latter
//! two bypass the time for which voters stand by a leader, and although a voter that
//! restarts forgets whom it stood by.
//!
//! 1. Every voter writes down, for each leader, when an append of it last *arrived*, before
//!    it is handed to openraft, unless it is already known to be refused. An append that is
//!    answered was sent before it arrived, so `s <= arrival`.
//! 2. A voter that grants a vote to `S` looks this up *after* the vote is on disk. From then
//!    on it answers no append of an earlier leader, so nothing that counts for an earlier
//!    lease is missing. It reports the age of the latest over all leaders other than `S`, or
//!    that of its own process where that is younger: it may have answered just before it
//!    was restarted. A voter that led counts its own lease in the same way, and stops
//!    publishing itself as leader before the answer leaves.
//! 3. `S` takes `receipt - age` for each vote: an upper bound of the arrival, because the
//!    age was measured before the answer was received. (Counting from before the request
//!    was sent would be a lower bound, and too early by up to a round trip.) It keeps the
//!    latest over the granted votes and over what it heard itself, and is clear of all
//!    others from that time on plus 1.02 x lease, which covers clock rates that differ by 1 %.
//! 4. The quorum that answered `L` and the one that elected `S` share a voter. If that is a
//!    third member or `S`, its arrival bounds `s`. If it is `L` itself, point 2's last
//!    sentence does. When the membership changed in between, the change was committed by a
//!    leader `M` elected after `L` by a quorum that shares a voter with `L`'s; whoever
//!    answered `M`'s change did so after that, so its arrival bounds `s` as well, and one of
//!    those voted for `S`.
//!
//! A candidate's own earlier leases are left out: they are this process's own to revoke.
//! Everything is CLOCK_MONOTONIC; where it stands still (a suspended host) ages come out too
//! small and waits too long, which is the safe side.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::MemberId;

/// Whom this member has heard as leader, and when last.
#[derive(Debug)]
pub(crate) struct Heard {
    /// Before this nothing is known.
    started: Instant,
    last: BTreeMap<MemberId, Instant>,
}

impl Heard {
    pub(crate) fn new(started: Instant) -> Self {
        Heard {
            started,
            last: BTreeMap::new(),
        }
    }

    /// An append of `leader` has arrived, or, where this member led, its own lease ran from
    /// `at`.
    pub(crate) fn note(&mut self, leader: MemberId, at: Instant) {
        let last = self.last.entry(leader).or_insert(at);
        *last = at.max(*last);
    }

    /// The latest that a lease other than `candidate`'s can have been renewed by this member.
    pub(crate) fn latest_but(&self, candidate: MemberId) -> Instant {
        let others = self.last.iter().filter(|(id, _)| **id != candidate);
        others.map(|(_, at)| *at).fold(self.started, Instant::max)
    }
}

/// The votes that were granted to this member, in the latest term that it asked in.
#[derive(Debug, Default)]
pub(crate) struct Granted {
    term: u64,
    latest: Option<Instant>,
}

impl Granted {
    /// A vote for `term` was received at `received` from a voter that says its age. Must be
    /// called before the vote is counted.
    pub(crate) fn note(&mut self, term: u64, received: Instant, age: Duration) {
        if term < self.term {
            return;
        }
        if term > self.term {
            *self = Granted { term, latest: None };
        }
        // A clock that is younger than the age can't have seen an earlier lease.
        let heard = received.checked_sub(age);
        self.latest = self.latest.max(heard);
    }

    /// The latest over the votes granted in `term`.
    pub(crate) fn latest(&self, term: u64) -> Option<Instant> {
        self.latest.filter(|_| self.term == term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_restarted_voter_counts_from_its_start() {
        let start = Instant::now();
        let heard = Heard::new(start);
        assert_eq!(heard.latest_but(2), start);
    }

    #[test]
    fn the_latest_leader_counts_unless_it_is_the_candidate() {
        let start = Instant::now();
        let mut heard = Heard::new(start);
        heard.note(1, start + 10 * MS);
        heard.note(2, start + 30 * MS);
        heard.note(1, start + 20 * MS);
        heard.note(1, start + 5 * MS);
        assert_eq!(heard.latest_but(3), start + 30 * MS);
        assert_eq!(heard.latest_but(2), start + 20 * MS);
        assert_eq!(heard.latest_but(1), start + 30 * MS);
    }

    #[test]
    fn the_latest_vote_of_the_term_counts() {
        let now = Instant::now();
        let mut granted = Granted::default();
        granted.note(4, now, 50 * MS);
        granted.note(4, now, 70 * MS);
        assert_eq!(granted.latest(4), Some(now - 50 * MS));
        assert_eq!(granted.latest(5), None);
        granted.note(5, now + 10 * MS, 300 * MS);
        granted.note(4, now + 20 * MS, Duration::ZERO);
        assert_eq!(granted.latest(5), Some(now - 290 * MS));
        assert_eq!(granted.latest(4), None);
    }
}
