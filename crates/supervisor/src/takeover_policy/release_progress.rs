//! Letting go of the reign: how far it has come, and what follows for acting and asking.
//!
//! # Why no epoch is acted under once its release was proposed
//!
//! `Release {epoch}` says that no lease of this epoch or of an earlier one runs, and the next
//! reign waits for none because of it. From the moment at which it is proposed it may commit
//! at any time, also long after its proposer has given up waiting, so from that moment on what
//! it says has to stay true: the page was revoked before, and no lease of this epoch is granted
//! again, whatever became of the proposal ([`ReleaseSequence::released_epoch`], which only grows). A member
//! that still leads in its term asks for a new reign instead. That reign's `TakeOver` is
//! proposed after the proposal of the release has ended, so it stands behind the `ReleaseProposal` in
//! this leader's own log, if that got there at all; and it is acted under only once it is
//! committed, so every later leader has it, and finds in it a reign that nobody has released.
//! A restart forgets `let_go`; it also ends the term for its leader, which is never leader of
//! that term again (`enable_leader_restore` is off).

use std::time::Duration;

use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};

/// What a member that is about to let go asks of its processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainOrder {
    /// Which parting it is for.
    pub number: u64,
    /// How long what is in flight may take to finish.
    pub within: Duration,
}

/// A release that is to be proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseProposal {
    /// The term of the reign.
    pub term: u64,
    /// Its epoch.
    pub epoch: u64,
    /// Not before: until then a lease of an earlier epoch may run.
    pub from: Option<Instant>,
}

/// The next step of a parting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReleaseStep {
    /// None now.
    Wait,
    /// The processes rest: propose this.
    Release(ReleaseProposal),
    /// They don't, and their time is over: the reign ends without a release.
    Overdue,
}

/// How far a parting has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ReleaseStage {
    /// Nobody parts.
    #[default]
    Idle,
    /// The processes finish what is in flight; the reign goes on until they rest.
    Draining { until: Instant },
    /// They rest.
    Drained,
    /// The release of this epoch is proposed, and the proposal has not ended.
    Proposed(u64),
    /// There is nothing to let go of any more.
    Done,
}

/// Whether this member is letting go of its reign.
#[derive(Debug, Default)]
pub(super) struct ReleaseSequence {
    stage: ReleaseStage,
    /// Counts partings.
    number: u64,
    within: Duration,
    /// How many asked for it and may still want this member to stay.
    requesters: usize,
    /// It is about to stop: it never takes over again.
    for_good: bool,
    /// The last epoch of which a release was proposed.
    released_epoch: u64,
}

impl ReleaseSequence {
    /// Somebody asks for it. Returns the parting's number.
    pub fn begin(&mut self, within: Duration, until: Instant, for_good: bool) -> u64 {
        match &mut self.stage {
            ReleaseStage::Idle => {
                self.number += 1;
                self.within = within;
                self.stage = ReleaseStage::Draining { until };
            }
            // Whoever has the least time counts.
            ReleaseStage::Draining { until: earlier } => {
                *earlier = until.min(*earlier);
                self.within = within.min(self.within);
            }
            ReleaseStage::Drained | ReleaseStage::Proposed(_) | ReleaseStage::Done => {}
        }
        self.requesters += 1;
        self.for_good |= for_good;
        self.number
    }

    /// Somebody who asked for this parting has got what it was for, or gave it up.
    pub fn end(&mut self, number: u64) {
        if number == self.number && self.stage != ReleaseStage::Idle {
            self.requesters = self.requesters.saturating_sub(1);
            self.end_if_unwanted();
        }
    }

    /// The processes rest for the parting of this number.
    pub fn mark_drained(&mut self, number: u64) {
        if number >= self.number && matches!(self.stage, ReleaseStage::Draining { .. }) {
            self.stage = ReleaseStage::Drained;
        }
    }

    /// The proposal to release `epoch` has ended, however it did.
    pub fn released(&mut self, epoch: u64) {
        if self.stage == ReleaseStage::Proposed(epoch) {
            self.stage = ReleaseStage::Done;
            self.end_if_unwanted();
        }
    }

    fn end_if_unwanted(&mut self) {
        let proposed = matches!(self.stage, ReleaseStage::Proposed(_));
        if self.requesters == 0 && !self.for_good && !proposed {
            self.stage = ReleaseStage::Idle;
        }
    }

    /// This member leads in another term: what it parted from is over.
    pub fn another_term(&mut self) {
        if !self.for_good {
            (self.stage, self.requesters) = (ReleaseStage::Idle, 0);
        }
    }

    /// Goes on. `release`: of the reign that runs, if it may be released.
    pub fn step(&mut self, now: Instant, release: Option<ReleaseProposal>) -> ReleaseStep {
        match self.stage {
            ReleaseStage::Draining { until } if now >= until => {
                self.stage = ReleaseStage::Done;
                ReleaseStep::Overdue
            }
            ReleaseStage::Drained => match release {
                Some(release) => {
                    self.stage = ReleaseStage::Proposed(release.epoch);
                    self.released_epoch = release.epoch.max(self.released_epoch);
                    ReleaseStep::Release(release)
                }
                None => {
                    self.stage = ReleaseStage::Done;
                    ReleaseStep::Wait
                }
            },
            _ => ReleaseStep::Wait,
        }
    }

    /// When to look again at the latest.
    pub fn look_again(&self) -> Option<Instant> {
        match self.stage {
            ReleaseStage::Draining { until } => Some(until),
            _ => None,
        }
    }

    /// What is asked of the processes.
    pub fn rest(&self) -> Option<DrainOrder> {
        let rest = DrainOrder {
            number: self.number,
            within: self.within,
        };
        (self.stage != ReleaseStage::Idle).then_some(rest)
    }

    /// Whether those who asked have something to wait for.
    pub fn is_under_way(&self) -> bool {
        !matches!(self.stage, ReleaseStage::Idle | ReleaseStage::Done)
    }

    /// Whether a reign may be asked for.
    pub fn may_propose(&self) -> bool {
        self.stage == ReleaseStage::Idle
    }

    /// Whether the reign may be acted under.
    pub fn may_act(&self) -> bool {
        matches!(
            self.stage,
            ReleaseStage::Idle | ReleaseStage::Draining { .. }
        )
    }

    /// Whether the release of this epoch, or of a later one, was ever proposed.
    pub fn has_let_go(&self, epoch: u64) -> bool {
        epoch <= self.released_epoch && !planted(Mutant::ReleasedEpochActs)
    }
}
