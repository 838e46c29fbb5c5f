//! Progress of a release of the reign, and what follows from it for acting and proposing.
//!
//! # Why no epoch is acted under once its release was proposed
//!
//! `Release {epoch}` claims that no lease of this epoch or of an earlier one runs, and the next
//! reign waits for none because of it.
//!
//! 1. From the moment at which it is proposed it may commit at any time, also long after its
//!    proposer has given up waiting. So from that moment on its claim has to stay true: the page
//!    was revoked before, and no lease of this epoch is granted again, whatever became of the
//!    proposal ([`ReleaseProgress::released_epoch`], which only grows).
//! 2. A member that still leads in its term asks for a new reign instead. That reign's `TakeOver`
//!    is proposed after the proposal of the release has ended, so it stands behind the `Release` in
//!    this leader's own log, if that got there at all. It is acted under only once it is committed,
//!    so every later leader has it, and finds in it a reign that nobody has released.
//! 3. A restart forgets `released_epoch`. It also ends the term for its leader, which is never
//!    leader of that term again (`enable_leader_restore` is off).

use std::time::Duration;

use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};

/// Order to the processes of a member that is about to release its reign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainOrder {
    /// Number of the release.
    pub number: u64,
    /// Time for what is in flight to finish.
    pub within: Duration,
}

/// A release that is to be proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseProposal {
    /// Term of the reign.
    pub term: u64,
    /// Epoch of the reign.
    pub epoch: u64,
    /// Time before which it may not be proposed: until then a lease of an earlier epoch may run.
    pub from: Option<Instant>,
}

/// Next step of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReleaseStep {
    /// None now.
    Wait,
    /// The processes rest: propose this.
    Release(ReleaseProposal),
    /// The processes don't rest, and their time is over: the reign ends without a release.
    Overdue,
}

/// Stage of a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ReleaseStage {
    /// No release is under way.
    #[default]
    Idle,
    /// The processes finish what is in flight; the reign goes on until they rest.
    Draining { until: Instant },
    /// The processes rest.
    Drained,
    /// The release of this epoch is proposed, and the proposal has not ended.
    Proposed(u64),
    /// Nothing is left to be released.
    Done,
}

/// Progress of this member's release.
#[derive(Debug, Default)]
pub(super) struct ReleaseProgress {
    stage: ReleaseStage,
    /// Number of the release.
    number: u64,
    within: Duration,
    /// Requesters that have not withdrawn their request.
    requesters: usize,
    /// True when the member is about to stop: it never takes over again.
    for_good: bool,
    /// Last epoch of which a release was proposed.
    released_epoch: u64,
}

impl ReleaseProgress {
    /// Begins a release or joins the one under way. Returns its number.
    pub(super) fn begin(&mut self, within: Duration, until: Instant, for_good: bool) -> u64 {
        match &mut self.stage {
            ReleaseStage::Idle => {
                self.number += 1;
                self.within = within;
                self.stage = ReleaseStage::Draining { until };
            }
            // The shortest time counts.
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

    /// Ends one request for this release: it was fulfilled or given up.
    pub(super) fn end(&mut self, number: u64) {
        if number == self.number && self.stage != ReleaseStage::Idle {
            self.requesters = self.requesters.saturating_sub(1);
            self.end_if_unwanted();
        }
    }

    /// Notes that the processes rest for the release of this number.
    pub(super) fn mark_drained(&mut self, number: u64) {
        if number >= self.number && matches!(self.stage, ReleaseStage::Draining { .. }) {
            self.stage = ReleaseStage::Drained;
        }
    }

    /// Notes that the proposal to release `epoch` has ended, whatever its outcome.
    pub(super) fn released(&mut self, epoch: u64) {
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

    /// Notes that this member leads in another term: the reign that was released is over.
    pub(super) fn another_term(&mut self) {
        if !self.for_good {
            (self.stage, self.requesters) = (ReleaseStage::Idle, 0);
        }
    }

    /// Takes the next step. `release`: of the reign that runs, if it may be released.
    pub(super) fn step(&mut self, now: Instant, release: Option<ReleaseProposal>) -> ReleaseStep {
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

    /// Returns when to look again at the latest.
    pub(super) fn look_again(&self) -> Option<Instant> {
        match self.stage {
            ReleaseStage::Draining { until } => Some(until),
            _ => None,
        }
    }

    /// Returns the order to the processes.
    pub(super) fn rest(&self) -> Option<DrainOrder> {
        let rest = DrainOrder {
            number: self.number,
            within: self.within,
        };
        (self.stage != ReleaseStage::Idle).then_some(rest)
    }

    /// Returns true when requesters have something to wait for.
    pub(super) fn is_under_way(&self) -> bool {
        !matches!(self.stage, ReleaseStage::Idle | ReleaseStage::Done)
    }

    /// Returns true when a reign may be proposed.
    pub(super) fn may_propose(&self) -> bool {
        self.stage == ReleaseStage::Idle
    }

    /// Returns true when the reign may be acted under.
    pub(super) fn may_act(&self) -> bool {
        matches!(
            self.stage,
            ReleaseStage::Idle | ReleaseStage::Draining { .. }
        )
    }

    /// Returns true when the release of this epoch, or of a later one, was ever proposed.
    pub(super) fn has_let_go(&self, epoch: u64) -> bool {
        epoch <= self.released_epoch && !planted(Mutant::ReleasedEpochActs)
    }
}
