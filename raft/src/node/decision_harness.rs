//! Harness around the deciders of votes and leadership, for tests of a group that they make up.
//!
//! There is no network and no disk, and every moment is given. Nothing is decided here: each
//! function hands on to the one that a running member asks.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_types::{EffectiveTiming, ElectionReason, Leadership, MemberId, Timing};
use tokio::sync::watch;

use super::{
    leadership::{self, MetricsObservation},
    timing_pressure::PressureGauge,
};
use crate::{
    ballot::ElectionBallot,
    election,
    liveness::rules::{self, DeathSuspicion, PeerLiveness, ProbeDecision, ProbeResult},
};

/// Vote: by term, then member, then whether a quorum granted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HarnessBallot {
    /// The term of the vote.
    pub term: u64,
    /// The member that the vote is for.
    pub member: MemberId,
    /// True if a quorum granted it.
    pub committed: bool,
}

impl From<HarnessBallot> for ElectionBallot {
    fn from(ballot: HarnessBallot) -> Self {
        ElectionBallot {
            term: ballot.term,
            member: ballot.member,
            committed: ballot.committed,
        }
    }
}

impl From<ElectionBallot> for HarnessBallot {
    fn from(ballot: ElectionBallot) -> Self {
        HarnessBallot {
            term: ballot.term,
            member: ballot.member,
            committed: ballot.committed,
        }
    }
}

/// Tracker of leadership at one member.
pub struct HarnessTracker(leadership::LeadershipTracker);

impl HarnessTracker {
    /// Makes the tracker of a process that starts now.
    pub fn new(me: MemberId, timing: Timing, longest: Duration, now: Instant) -> Self {
        let timings = watch::Sender::new(timing.into());
        let pressure = Arc::new(PressureGauge::new(me, timings.subscribe()));
        let tracker = leadership::LeadershipTracker::new(me, timings, longest, pressure, now);
        HarnessTracker(tracker)
    }

    /// Goes on by other timers.
    pub fn set_timing(&self, timing: EffectiveTiming, now: Instant) {
        self.0.set_timing_at(timing, || now);
    }

    /// Returns the lease that an append carries that is put together now.
    pub fn lease(&self) -> Duration {
        self.0.lease()
    }

    /// Returns what is published.
    pub fn current(&self) -> Leadership {
        self.0.current()
    }

    /// Returns the latest ballot, and since when it is known.
    pub fn ballot(&self) -> (HarnessBallot, Instant) {
        let (ballot, since) = self.0.ballot();
        (ballot.into(), since)
    }

    /// Takes in that an append of a leader arrived, with this lease.
    pub fn arrived(&self, ballot: HarnessBallot, at: Instant, lease: Duration) {
        self.0.arrived(ballot.into(), at, lease);
    }

    /// Takes in that a heartbeat of a leader arrived; returns whether it is answered at once.
    pub fn answers(&self, ballot: HarnessBallot, at: Instant, lease: Duration) -> bool {
        self.0.answers(ballot.into(), at, lease)
    }

    /// Takes in that a heartbeat that was answered so is refused after all.
    pub fn doubts(&self, ballot: HarnessBallot) {
        self.0.doubts(ballot.into());
    }

    /// Takes in that an append was accepted.
    pub fn accepted(&self, ballot: HarnessBallot, at: Instant, now: Instant) {
        self.0.accepted(ballot.into(), at, now);
    }

    /// Takes in that a vote is on disk; returns how much is left of other leases.
    pub fn voted(&self, ballot: HarnessBallot, now: Instant) -> Duration {
        self.0.voted(ballot.into(), now)
    }

    /// Takes in a vote for this member, with what is left of other leases.
    pub fn vote_received(&self, term: u64, received: Instant, left: Duration) {
        self.0.vote_received(term, received, left);
    }

    /// Returns whether this member votes only for candidates for which its leader has released
    /// it, or that come after the leader.
    pub fn stands_by_leader(&self, now: Instant) -> bool {
        self.0.stands_by_leader(now)
    }

    /// Returns when this member stands for election, having drawn `part` (from 0 to 1) of the
    /// random time; `None` where no leader is to be missed.
    pub fn election_due(&self, part: f64) -> Option<Instant> {
        let timing = self.0.timing().borrow().patience;
        Some(election::due(self.0.last_contact()?, &timing, part))
    }

    /// Takes in that this member is about to ask for votes.
    pub fn campaigns(&self, term: u64, reason: ElectionReason, began: Instant) {
        self.0.campaigns(term, reason, began);
    }

    /// Takes in that this member asks for votes; returns why.
    pub fn asks(&self, term: u64, flagged: bool, now: Instant) -> ElectionReason {
        self.0.asks(term, flagged, now)
    }

    /// Takes in what consensus publishes: the term, the leader, whether the last committed entry
    /// is of this member in this term, when the last round was sent that a quorum answered.
    pub fn observe(
        &self,
        term: u64,
        leader: Option<MemberId>,
        own_commit: bool,
        quorum_acked: Option<Instant>,
        now: Instant,
    ) -> bool {
        let seen = MetricsObservation {
            term,
            leader,
            own_commit,
            quorum_acked,
        };
        self.0.observe(seen, now)
    }

    /// Takes in that this member is stopping.
    pub fn stopped(&self) {
        self.0.stopped();
    }
}

/// Knowledge that one member has of another's process by its connection.
#[derive(Debug)]
pub struct HarnessProbe(PeerLiveness);

impl Default for HarnessProbe {
    fn default() -> Self {
        HarnessProbe(PeerLiveness::Unknown)
    }
}

impl HarnessProbe {
    /// Takes in that a connection is held.
    pub fn held(&mut self) {
        self.0 = rules::next_liveness(self.0, PeerLiveness::Alive);
    }

    /// Takes in that the connection was lost, and that each further attempt was refused.
    pub fn refused(&mut self, now: Instant) {
        let mut suspicion = DeathSuspicion::default();
        let dead = loop {
            match suspicion.after(ProbeResult::Refused) {
                ProbeDecision::Again => {}
                step => break step == ProbeDecision::Dead,
            }
        };
        let next = if dead {
            PeerLiveness::Dead(now)
        } else {
            PeerLiveness::Unknown
        };
        self.0 = rules::next_liveness(self.0, next);
    }

    /// Returns since when the process has been dead for sure.
    pub fn dead_since(&self) -> Option<Instant> {
        match self.0 {
            PeerLiveness::Dead(since) => Some(since),
            _ => None,
        }
    }
}

/// Returns since when a leader that was known since `known_since` has been dead, if it has died.
pub fn died(known_since: Instant, dead_since: Option<Instant>) -> Option<Instant> {
    rules::died(known_since, dead_since)
}

/// Returns whether a vote for a death may ignore the lease.
pub fn may_ignore_lease(me: MemberId, vote: HarnessBallot, dead: bool) -> bool {
    rules::may_ignore_lease(me, vote.into(), dead)
}

/// Returns how many voters stand before `me`, and the time between two of them.
pub fn rank(
    me: MemberId,
    voters: &[BTreeSet<MemberId>],
    dead: impl Fn(MemberId) -> bool,
) -> Option<(u32, Duration)> {
    Some((rules::rank(me, voters, dead)?, rules::STAGGER))
}

/// Returns whether these are a quorum of each set.
pub fn quorum(voters: &[BTreeSet<MemberId>], granted: &BTreeSet<MemberId>) -> bool {
    rules::quorum(voters, granted)
}
