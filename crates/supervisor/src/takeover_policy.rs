//! Policy of takeovers: pure decisions on when to take over and when to act.
//!
//! A reign belongs to one member and one term. This member asks for it with `TakeOver {member,
//! term}` once it leads in that term. It acts while it leads in that term, the applied state names
//! it as holder in that term, and a heartbeat round of that term has been answered by a quorum
//! within the lease. So:
//!
//! - Leadership lost for a moment and kept in the same term: the state still names this member in
//!   that term; the same epoch goes on.
//! - Elected again: another term, so another `TakeOver`, so another epoch (its log index).
//! - Elected, and not yet holder: processes prepare, see [`TakeoverDecision::prepare`].
//! - About to release the reign: this member asks for none, and acts until its processes rest; see
//!   [`ReleaseProgress`].
//! - Released, or asked to be, and still leading in the same term: the old epoch is never acted
//!   under again; once no requester holds the release any more there is a new `TakeOver`.
//!
//! A proposal whose outcome is unknown is not repeated for a while: as long as this member leads in
//! its term the entry, if there is one, is on its way. When it has not shown by then, another one
//! *in the same term* is harmless: at most both apply, the later one's epoch counts, and the state
//! names it; a member that acts already under the earlier one goes on under the later. In another
//! term it is never repeated: the machine would ignore it, and this module never asks for a term
//! that this member is not leading in.

mod release_progress;

use std::time::Duration;

use quorate_clock::Instant;
use quorate_types::{Leadership, MemberId, backoff::Backoff};

pub use self::release_progress::{DrainOrder, ReleaseProposal};
use self::release_progress::{ReleaseProgress, ReleaseStep};
use super::connectors_view::Reign;

/// Outcome of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalOutcome {
    /// Committed and applied here: the state shows the result.
    Applied,
    /// Surely not done.
    Refused,
    /// May still happen.
    Unknown,
}

/// Decision for this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakeoverDecision {
    /// Propose `TakeOver {me, term}` in this term.
    pub propose: Option<u64>,
    /// Act under this reign, with the lease that runs from this stamp.
    pub act: Option<ActPermit>,
    /// This member was elected and will take over: processes may prepare. Ends with the permission
    /// to act; a term in which it has acted needs no preparation any more.
    pub prepare: bool,
    /// The processes are to finish and to stand by.
    pub drain: Option<DrainOrder>,
    /// Propose this release; the lease has been revoked before.
    pub release: Option<ReleaseProposal>,
    /// The processes did not come to rest: the reign ends without a release.
    pub overdue: bool,
    /// Look again at this time at the latest.
    pub look_again: Option<Instant>,
}

/// Permission to act, as far as the term goes; the lease decides the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActPermit {
    /// Epoch of the reign.
    pub epoch: u64,
    /// Term of the reign.
    pub term: u64,
    /// Time at which the last round that a quorum answered was sent.
    pub heard_at: Instant,
    /// Time from which on connectors without a fence of the broker's activate; `None`: not yet.
    pub clear_at: Option<Instant>,
}

#[derive(Debug)]
struct PendingProposal {
    term: u64,
    /// Time to ask again; `None` while the proposal is out.
    again_at: Option<Instant>,
    /// Waits after refusals.
    refusals: Backoff,
}

/// Decider that follows leadership and reign.
#[derive(Debug)]
pub struct TakeoverPolicy {
    me: MemberId,
    patience: Duration,
    pending: Option<PendingProposal>,
    release_progress: ReleaseProgress,
    /// Freshest stamp seen while another member led, or none: a stamp must be newer than it to be
    /// one of this member's own rounds.
    heartbeat_floor: Option<Instant>,
    leading_term: Option<u64>,
    /// Last term in which this member was let act.
    acted_term: Option<u64>,
    /// Last epoch that began with no lease to wait for, and the time at which that was seen.
    clear_since: Option<(u64, Instant)>,
}

const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_LAST: Duration = Duration::from_millis(500);

impl TakeoverPolicy {
    /// Sets `patience` anew, after a change of the timing.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Creates a policy. `patience`: how long a proposal of unknown outcome may take to show.
    pub fn new(me: MemberId, patience: Duration) -> Self {
        TakeoverPolicy {
            me,
            patience,
            pending: None,
            release_progress: ReleaseProgress::default(),
            heartbeat_floor: None,
            leading_term: None,
            acted_term: None,
            clear_since: None,
        }
    }

    /// Decides from what is known now. A decision to propose counts as proposed.
    pub fn decide(
        &mut self,
        now: Instant,
        leadership: &Leadership,
        reign: &Reign,
    ) -> TakeoverDecision {
        let leads = leadership.leader == Some(self.me);
        if !leads {
            // What a follower heard from its leader is no answer to a round of this member's own.
            self.heartbeat_floor = self.heartbeat_floor.max(leadership.heard_at);
        }
        if leads && leadership.leading && self.leading_term != Some(leadership.term) {
            self.leading_term = Some(leadership.term);
            self.pending = None;
            self.release_progress.another_term();
        }
        let ours = leads && leadership.leading && self.is_ours(leadership.term, reign);
        let step = self
            .release_progress
            .step(now, releasable(leadership, reign).filter(|_| ours));
        let decision = if leads {
            self.lead(now, leadership, reign, ours)
        } else {
            TakeoverDecision::default()
        };
        let (again, draining) = (decision.look_again, self.release_progress.look_again());
        TakeoverDecision {
            drain: self.release_progress.rest(),
            release: match step {
                ReleaseStep::Release(release) => Some(release),
                ReleaseStep::Wait | ReleaseStep::Overdue => None,
            },
            overdue: step == ReleaseStep::Overdue,
            look_again: again.into_iter().chain(draining).min(),
            ..decision
        }
    }

    /// Returns true when this reign is this member's in this term and its release was never
    /// proposed.
    fn is_ours(&self, term: u64, reign: &Reign) -> bool {
        reign.holder == Some(self.me)
            && reign.term == term
            && !reign.released
            && !self.release_progress.has_let_go(reign.epoch)
    }

    /// Decides as the elected leader.
    fn lead(
        &mut self,
        now: Instant,
        leadership: &Leadership,
        reign: &Reign,
        ours: bool,
    ) -> TakeoverDecision {
        let term = leadership.term;
        let prepare = self.acted_term != Some(term) && self.release_progress.may_propose();
        if !leadership.leading {
            // Elected; its first entry of the term is on the way to a quorum.
            return TakeoverDecision {
                prepare: prepare && self.leading_term != Some(term),
                ..TakeoverDecision::default()
            };
        }
        if ours {
            self.pending = None;
            let heard_at = leadership
                .heard_at
                .filter(|at| Some(*at) > self.heartbeat_floor && self.release_progress.may_act());
            let clear_at = self.clear_at(now, leadership, reign);
            if heard_at.is_some() {
                self.acted_term = Some(term);
            }
            return TakeoverDecision {
                act: heard_at.map(|heard_at| ActPermit {
                    epoch: reign.epoch,
                    term,
                    heard_at,
                    clear_at,
                }),
                prepare: prepare && heard_at.is_none(),
                ..TakeoverDecision::default()
            };
        }
        if !self.release_progress.may_propose() {
            return TakeoverDecision::default();
        }
        match &mut self.pending {
            None => {
                self.pending = Some(PendingProposal {
                    term,
                    again_at: None,
                    refusals: Backoff::new(RETRY_FIRST, RETRY_LAST),
                });
                TakeoverDecision {
                    propose: Some(term),
                    prepare,
                    ..TakeoverDecision::default()
                }
            }
            Some(pending) => match pending.again_at {
                Some(at) if now >= at => {
                    pending.again_at = None;
                    TakeoverDecision {
                        propose: Some(term),
                        prepare,
                        ..TakeoverDecision::default()
                    }
                }
                again_at => TakeoverDecision {
                    look_again: again_at,
                    prepare,
                    ..TakeoverDecision::default()
                },
            },
        }
    }

    /// Returns from when on no lease of an earlier epoch runs: since the reign has begun when the
    /// one before it was released; otherwise as the votes have it, once they do.
    fn clear_at(
        &mut self,
        now: Instant,
        leadership: &Leadership,
        reign: &Reign,
    ) -> Option<Instant> {
        if !reign.clear {
            return leadership.lease_clear_at;
        }
        match self.clear_since {
            Some((epoch, at)) if epoch == reign.epoch => Some(at),
            _ => {
                self.clear_since = Some((reign.epoch, now));
                Some(now)
            }
        }
    }

    /// Notes the outcome of the proposal for `term`.
    pub fn ended(&mut self, now: Instant, term: u64, outcome: ProposalOutcome) {
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.term == term) else {
            return;
        };
        pending.again_at = Some(
            now + match outcome {
                ProposalOutcome::Refused => pending.refusals.step(),
                // Applied but not ours: ignored, or superseded before it was seen.
                ProposalOutcome::Applied | ProposalOutcome::Unknown => self.patience,
            },
        );
    }

    /// Begins a release, or joins the one under way: once the processes have finished within this
    /// time or, at the latest, `until`. `for_good`: this member never takes over again. Returns a
    /// number for [`TakeoverPolicy::withdraw_release`].
    pub fn begin_release(&mut self, within: Duration, until: Instant, for_good: bool) -> u64 {
        self.release_progress.begin(within, until, for_good)
    }

    /// Withdraws one request for the release of this number: when all are withdrawn, this member
    /// may take over again. Leading in another term ends a release that is not for good by itself.
    pub fn withdraw_release(&mut self, number: u64) {
        self.release_progress.end(number);
    }

    /// Notes that the processes rest, as the release of this number asks.
    pub fn mark_drained(&mut self, number: u64) {
        self.release_progress.mark_drained(number);
    }

    /// Notes that the proposal to release this epoch has ended, whatever its outcome.
    pub fn released(&mut self, epoch: u64) {
        self.release_progress.released(epoch);
    }

    /// Returns true when requesters of a release have something to wait for.
    pub fn is_releasing(&self) -> bool {
        self.release_progress.is_under_way()
    }
}

/// Returns the release of this reign, once it is known from when on no earlier lease runs.
fn releasable(leadership: &Leadership, reign: &Reign) -> Option<ReleaseProposal> {
    let from = leadership.lease_clear_at.filter(|_| !reign.clear);
    (reign.clear || from.is_some()).then_some(ReleaseProposal {
        term: leadership.term,
        epoch: reign.epoch,
        from,
    })
}

#[cfg(test)]
mod tests;
