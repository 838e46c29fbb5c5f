//! What decides about votes and leadership, for tests that drive it over a group that they
//! make up: no network, no disk, and every moment is told.
//!
//! Nothing is decided here: each function hands on to the one that a running member asks.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_types::{EffectiveTiming, ElectionReason, Leadership, MemberId, Timing};
use tokio::sync::watch;

use super::{
    leadership::{self, MetricsObservation},
    timing_pressure::PressureGauge,
};
use crate::{
    election,
    liveness::{
        PeerLiveness,
        rules::{self, DeathSuspicion, ProbeDecision, ProbeResult},
    },
};

/// A vote: by term, then member, then whether a quorum granted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HarnessBallot {
    /// Its term.
    pub term: u64,
    /// Whom it is for.
    pub member: MemberId,
    /// Whether a quorum granted it.
    pub committed: bool,
}

impl From<HarnessBallot> for leadership::ElectionBallot {
    fn from(ballot: HarnessBallot) -> Self {
        leadership::ElectionBallot {
            term: ballot.term,
            member: ballot.member,
            committed: ballot.committed,
        }
    }
}

impl From<leadership::ElectionBallot> for HarnessBallot {
    fn from(ballot: leadership::ElectionBallot) -> Self {
        HarnessBallot {
            term: ballot.term,
            member: ballot.member,
            committed: ballot.committed,
        }
    }
}

/// One member's view of who leads.
pub struct HarnessTracker(leadership::LeadershipTracker);

impl HarnessTracker {
    /// Of a process that starts now.
    pub fn new(me: MemberId, timing: Timing, longest: Duration, now: Instant) -> Self {
        let pace = watch::Sender::new(timing.into());
        let strain = Arc::new(PressureGauge::new(me, pace.subscribe()));
        let tracker = leadership::LeadershipTracker::new(me, pace, longest, strain, now);
        HarnessTracker(tracker)
    }

    /// It goes on by other timers.
    pub fn set_timing(&self, pace: EffectiveTiming, now: Instant) {
        self.0.set_timing_at(pace, || now);
    }

    /// The lease that an append carries that is put together now.
    pub fn lease(&self) -> Duration {
        self.0.lease()
    }

    /// What is published.
    pub fn current(&self) -> Leadership {
        self.0.current()
    }

    /// The latest ballot, and since when it is known.
    pub fn ballot(&self) -> (HarnessBallot, Instant) {
        let (ballot, since) = self.0.ballot();
        (ballot.into(), since)
    }

    /// An append of a leader arrived, with this lease.
    pub fn arrived(&self, ballot: HarnessBallot, at: Instant, lease: Duration) {
        self.0.arrived(ballot.into(), at, lease);
    }

    /// A heartbeat of a leader arrived. Whether it is answered at once.
    pub fn answers(&self, ballot: HarnessBallot, at: Instant, lease: Duration) -> bool {
        self.0.answers(ballot.into(), at, lease)
    }

    /// A heartbeat that was answered so is refused after all.
    pub fn doubts(&self, ballot: HarnessBallot) {
        self.0.doubts(ballot.into());
    }

    /// It was accepted.
    pub fn accepted(&self, ballot: HarnessBallot, at: Instant, now: Instant) {
        self.0.accepted(ballot.into(), at, now);
    }

    /// A vote is on disk: what is to be told with it.
    pub fn voted(&self, ballot: HarnessBallot, now: Instant) -> Duration {
        self.0.voted(ballot.into(), now)
    }

    /// A vote for this member was received.
    pub fn vote_received(&self, term: u64, received: Instant, told: Duration) {
        self.0.vote_received(term, received, told);
    }

    /// Whether it votes only for whom its leader has released it, or who comes after it.
    pub fn stands_by_leader(&self, now: Instant) -> bool {
        self.0.stands_by_leader(now)
    }

    /// When it stands for election, having drawn `part` (from 0 to 1) of the random time;
    /// `None` where no leader is to be missed.
    pub fn election_due(&self, part: f64) -> Option<Instant> {
        let timing = self.0.timing().borrow().patience;
        Some(election::due(self.0.last_contact()?, &timing, part))
    }

    /// It is about to ask for votes.
    pub fn campaigns(&self, term: u64, reason: ElectionReason, began: Instant) {
        self.0.campaigns(term, reason, began);
    }

    /// It asks for votes.
    pub fn asks(&self, term: u64, flagged: bool, now: Instant) -> ElectionReason {
        self.0.asks(term, flagged, now)
    }

    /// What consensus says of itself: the term, who leads, whether the last committed entry
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

    /// This member is stopping.
    pub fn stopped(&self) {
        self.0.stopped();
    }
}

/// What one member knows of another's process by its connection.
#[derive(Debug)]
pub struct HarnessProbe(PeerLiveness);

impl Default for HarnessProbe {
    fn default() -> Self {
        HarnessProbe(PeerLiveness::Unknown)
    }
}

impl HarnessProbe {
    /// A connection is held.
    pub fn held(&mut self) {
        self.0 = rules::sign(self.0, PeerLiveness::Alive);
    }

    /// The connection was lost, and each further attempt was refused.
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
        self.0 = rules::sign(self.0, next);
    }

    /// Since when the process has been dead for sure.
    pub fn dead_since(&self) -> Option<Instant> {
        match self.0 {
            PeerLiveness::Dead(since) => Some(since),
            _ => None,
        }
    }
}

/// Whether a leader that was known since `known_since` has died, and since when.
pub fn died(known_since: Instant, dead_since: Option<Instant>) -> Option<Instant> {
    rules::died(known_since, dead_since)
}

/// Whether a vote for a death may ignore the lease.
pub fn may_ignore_lease(me: MemberId, vote: HarnessBallot, dead: bool) -> bool {
    rules::may_ignore_lease(me, vote.into(), dead)
}

/// How many voters stand before `me`, and how long between two of them.
pub fn rank(
    me: MemberId,
    voters: &[BTreeSet<MemberId>],
    dead: impl Fn(MemberId) -> bool,
) -> Option<(u32, Duration)> {
    Some((rules::rank(me, voters, dead)?, rules::STAGGER))
}

/// Whether these are a quorum of each set.
pub fn quorum(voters: &[BTreeSet<MemberId>], granted: &BTreeSet<MemberId>) -> bool {
    rules::quorum(voters, granted)
}
