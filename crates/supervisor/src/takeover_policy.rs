//! When to take over, and when to act: decisions alone, no waiting and no I/O.
//!
//! A reign belongs to one member and one term. This member asks for it with
//! `TakeOver {member, term}` once it leads in that term; it acts while it leads in that
//! term, the applied state names it as holder in that term, and a heartbeat round of that
//! term has been answered by a quorum within the lease. So:
//!
//! - Leadership lost for a moment and kept in the same term: the state still names this
//!   member in that term; the same epoch goes on.
//! - Elected again: another term, so another `TakeOver`, so another epoch (its log index).
//! - Elected, and not yet holder: what can be prepared is, see `prepare`.
//! - About to let go: it asks for nothing, and acts until its processes rest; see `parting`.
//! - Let go, or asked to be, and still leading in the same term: the old epoch is never acted
//!   under again; once nobody parts any more there is a new `TakeOver`.
//!
//! A proposal whose outcome is unknown is not repeated for a while: as long as this member
//! leads in its term the entry, if there is one, is on its way. When it has not shown by
//! then, another one *in the same term* is harmless: at most both apply, the later one's
//! epoch counts, and the state says so; who acts already under the earlier one goes on under
//! the later. In another term it is never repeated: the machine
//! would ignore it, and this module never asks for a term that it is not leading in.

mod release_sequence;

use std::time::Duration;

use quorate_clock::Instant;
use quorate_types::{Leadership, MemberId};

pub use self::release_sequence::{DrainOrder, ReleaseProposal};
use self::release_sequence::{ReleaseSequence, ReleaseStep};
use super::connectors_view::Reign;

/// How a proposal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalOutcome {
    /// Committed and applied here: the state shows what came of it.
    Applied,
    /// Surely not done.
    Refused,
    /// May still happen.
    Unknown,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakeoverDecision {
    /// Propose `TakeOver {me, term}` in this term.
    pub propose: Option<u64>,
    /// Act under this reign, with the lease that runs from this stamp.
    pub act: Option<ActPermit>,
    /// This member was elected and will take over: processes may prepare. It ends with the
    /// permission to act; a term in which it has acted needs no preparation any more.
    pub prepare: bool,
    /// The processes are to finish and to stand by.
    pub drain: Option<DrainOrder>,
    /// Propose this; the lease has been revoked before.
    pub release: Option<ReleaseProposal>,
    /// The processes did not come to rest: the reign ends without a release.
    pub overdue: bool,
    /// Look again at this time at the latest.
    pub look_again: Option<Instant>,
}

/// Permission to act, as far as the term goes; the lease decides the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActPermit {
    /// The reign's epoch.
    pub epoch: u64,
    /// The reign's term.
    pub term: u64,
    /// When the last round that a quorum answered was sent.
    pub heard_at: Instant,
    /// Connectors without a fence of the broker's activate from here on; `None`: not yet.
    pub clear_at: Option<Instant>,
}

#[derive(Debug)]
struct PendingProposal {
    term: u64,
    /// When to ask again; `None` while the proposal is out.
    again_at: Option<Instant>,
    refused: u32,
}

/// Follows leadership and reign and decides.
#[derive(Debug)]
pub struct TakeoverPolicy {
    me: MemberId,
    patience: Duration,
    pending: Option<PendingProposal>,
    release_sequence: ReleaseSequence,
    /// The freshest stamp seen while another member led, or none: a stamp must be newer
    /// than it to be one of this member's own rounds.
    heartbeat_floor: Option<Instant>,
    leading_term: Option<u64>,
    /// The last term in which this member was let act.
    acted_term: Option<u64>,
    /// The last epoch that began with no lease to wait for, and when it was seen to.
    clear_since: Option<(u64, Instant)>,
}

const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_LAST: Duration = Duration::from_millis(500);

impl TakeoverPolicy {
    /// For a promise that has changed.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// `patience`: how long a proposal of unknown outcome may take to show.
    pub fn new(me: MemberId, patience: Duration) -> Self {
        TakeoverPolicy {
            me,
            patience,
            pending: None,
            release_sequence: ReleaseSequence::default(),
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
            // What a follower heard from its leader is no answer to a round of ours.
            self.heartbeat_floor = self.heartbeat_floor.max(leadership.heard_at);
        }
        if leads && leadership.leading && self.leading_term != Some(leadership.term) {
            self.leading_term = Some(leadership.term);
            self.pending = None;
            self.release_sequence.another_term();
        }
        let ours = leads && leadership.leading && self.is_ours(leadership.term, reign);
        let step = self
            .release_sequence
            .step(now, releasable(leadership, reign).filter(|_| ours));
        let decision = match leads {
            true => self.lead(now, leadership, reign, ours),
            false => TakeoverDecision::default(),
        };
        let (again, draining) = (decision.look_again, self.release_sequence.look_again());
        TakeoverDecision {
            drain: self.release_sequence.rest(),
            release: match step {
                ReleaseStep::Release(release) => Some(release),
                ReleaseStep::Wait | ReleaseStep::Overdue => None,
            },
            overdue: step == ReleaseStep::Overdue,
            look_again: again.into_iter().chain(draining).min(),
            ..decision
        }
    }

    /// Whether this reign is this member's in this term, and was not let go of.
    fn is_ours(&self, term: u64, reign: &Reign) -> bool {
        reign.holder == Some(self.me)
            && reign.term == term
            && !reign.released
            && !self.release_sequence.has_let_go(reign.epoch)
    }

    /// As the elected leader.
    fn lead(
        &mut self,
        now: Instant,
        leadership: &Leadership,
        reign: &Reign,
        ours: bool,
    ) -> TakeoverDecision {
        let term = leadership.term;
        let prepare = self.acted_term != Some(term) && self.release_sequence.may_propose();
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
                .filter(|at| Some(*at) > self.heartbeat_floor && self.release_sequence.may_act());
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
        if !self.release_sequence.may_propose() {
            return TakeoverDecision::default();
        }
        match &mut self.pending {
            None => {
                self.pending = Some(PendingProposal {
                    term,
                    again_at: None,
                    refused: 0,
                });
                TakeoverDecision {
                    propose: Some(term),
                    prepare,
                    ..TakeoverDecision::default()
                }
            }
            Some(asked) => match asked.again_at {
                Some(at) if now >= at => {
                    asked.again_at = None;
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

    /// From when on no lease of an earlier epoch runs: since the reign has begun when the
    /// one before it was released; otherwise as the votes say, once they have.
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

    /// How the proposal for `term` ended.
    pub fn ended(&mut self, now: Instant, term: u64, outcome: ProposalOutcome) {
        let Some(asked) = self.pending.as_mut().filter(|asked| asked.term == term) else {
            return;
        };
        asked.again_at = Some(
            now + match outcome {
                ProposalOutcome::Refused => {
                    asked.refused += 1;
                    (RETRY_FIRST * (1 << (asked.refused - 1).min(10))).min(RETRY_LAST)
                }
                // Applied but not ours: ignored, or superseded before it was seen.
                ProposalOutcome::Applied | ProposalOutcome::Unknown => self.patience,
            },
        );
    }

    /// Somebody wants this member to let go of its reign, once its processes have finished
    /// within this time or, at the latest, `until`; `for_good`: it never takes over again.
    /// Returns a number for [`TakeoverPolicy::withdraw_release`].
    pub fn begin_release(&mut self, within: Duration, until: Instant, for_good: bool) -> u64 {
        self.release_sequence.begin(within, until, for_good)
    }

    /// One of those who asked for the parting of this number is done: when all are, this
    /// member may take over again. Leading in another term ends a parting that is not for
    /// good by itself.
    pub fn withdraw_release(&mut self, number: u64) {
        self.release_sequence.end(number);
    }

    /// The processes rest, as the parting of this number asks.
    pub fn mark_drained(&mut self, number: u64) {
        self.release_sequence.mark_drained(number);
    }

    /// The proposal to release this epoch has ended, however it did.
    pub fn released(&mut self, epoch: u64) {
        self.release_sequence.released(epoch);
    }

    /// Whether those who asked this member to part have something to wait for.
    pub fn is_releasing(&self) -> bool {
        self.release_sequence.is_under_way()
    }
}

/// The release of this reign, once it is known from when on no earlier lease runs.
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
