//! Status of this member's reign, as it follows from a decision and from the lease.
//!
//! Pure, so that tests with made-up groups use it as well.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_ipc::lease::{BootInstant, ClockOffsets};
use quorate_planted::{Mutant, planted};

use super::takeover_policy::{ActPermit, DrainOrder, TakeoverDecision};

/// Status of this member as connector server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReignStatus {
    /// True while this member leads, has taken over in its term, and its lease runs.
    pub acting: bool,
    /// True while this member is elected and its takeover is on the way: processes prepare.
    pub elected: bool,
    /// Epoch of its reign; 0 when it never had one.
    pub epoch: u64,
    /// True while the reign goes on and its lease does not run: connectors stand still.
    pub lapsed: bool,
    /// Time from which on connectors without a fence of the broker may act; `None`: not yet known.
    pub clear_at: Option<Instant>,
    /// Drain for a release: the processes finish and stand by.
    pub drain: Option<DrainOrder>,
}

/// Time for which the lease lets an act go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseGrant {
    /// End of the lease.
    pub deadline: BootInstant,
    /// Time left until then.
    pub left: Duration,
}

impl ActPermit {
    /// Returns the grant of a lease of this length; `None` where it is over already, or its end
    /// can't be told for sure.
    pub fn grant(
        &self,
        lease: Duration,
        offsets: &ClockOffsets,
        now: BootInstant,
    ) -> Option<LeaseGrant> {
        let times = if planted(Mutant::LeaseTooLong) { 10 } else { 1 };
        let deadline = offsets.convert(self.heard_at)? + lease * times;
        let left = match deadline.remaining(now) {
            None if planted(Mutant::LeaseCheckRemoved) => lease,
            left => left?,
        };
        Some(LeaseGrant { deadline, left })
    }
}

impl ReignStatus {
    /// Returns true when connectors are to be at work. While the lease has lapsed they stand still
    /// by themselves, and go on when it runs again.
    pub fn reigns(&self) -> bool {
        self.acting || self.lapsed
    }

    /// Returns the status after a decision. `granted`: the lease page lets this member act; `last`:
    /// the epoch that the page granted last.
    pub fn after(self, decision: &TakeoverDecision, granted: bool, last: u64) -> ReignStatus {
        match decision.act {
            Some(act) if granted => ReignStatus {
                acting: true,
                elected: false,
                epoch: act.epoch,
                lapsed: false,
                clear_at: act.clear_at,
                drain: decision.drain,
            },
            act => ReignStatus {
                acting: false,
                elected: decision.prepare,
                // An epoch that was granted before: its lease ran out, and may be renewed.
                lapsed: act.is_some_and(|act| act.epoch == last),
                drain: decision.drain,
                ..self
            },
        }
    }
}
