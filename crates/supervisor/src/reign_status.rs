//! Whether this member acts as the connector server: what follows from a decision and from
//! the lease. Pure, and so what made-up groups live by too.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_ipc::lease::{BootInstant, ClockOffsets};
use quorate_planted::{Mutant, planted};

use super::takeover_policy::{ActPermit, DrainOrder, TakeoverDecision};

/// Whether this member acts as the connector server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReignStatus {
    /// It leads, has taken over in its term, and its lease runs.
    pub acting: bool,
    /// It was elected and its takeover is on the way: processes prepare.
    pub elected: bool,
    /// The epoch of its reign; 0 when it never had one.
    pub epoch: u64,
    /// Its reign goes on, and its lease does not run at this moment: what acts stands still.
    pub lapsed: bool,
    /// From when on connectors without a fence of the broker may act; `None`: not yet known.
    pub clear_at: Option<Instant>,
    /// It is about to let go of its reign, or has: the processes finish and stand by.
    pub drain: Option<DrainOrder>,
}

/// For how long the lease lets an act go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseGrant {
    /// When it ends.
    pub deadline: BootInstant,
    /// How long that is from now.
    pub left: Duration,
}

impl ActPermit {
    /// How long it goes on, by a lease of this length; `None` where that is over already, or
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
    /// Whether connectors are to be at work. While the lease has lapsed they stand still by
    /// themselves, and go on when it runs again.
    pub fn reigns(&self) -> bool {
        self.acting || self.lapsed
    }

    /// What it is after a decision. `granted`: the lease page lets it act; `last`: the epoch
    /// that the page granted last.
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
                // Of an epoch that was granted before: it ran out, and may be renewed.
                lapsed: act.is_some_and(|act| act.epoch == last),
                drain: decision.drain,
                ..self
            },
        }
    }
}
