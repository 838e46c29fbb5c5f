//! Reign over the connectors: the part of the argument for "one copy" that is in the log.
//!
//! 1. A leader proposes `TakeOver` for itself, as leader of exactly one term. It counts only in an
//!    entry that this very leader appended in this very term, so a proposal that was delayed,
//!    forwarded or repeated by another leader changes nothing.
//! 2. The epoch of a reign is the log index of its `TakeOver`: every member sees the same one
//!    holder at each index, and epochs strictly increase because indices do.
//! 3. `Release` ends the current reign, and only its holder can propose it, in an entry that it
//!    appended itself: a member that sees it knows that the connectors of that epoch have been
//!    stopped, and need not wait for their lease. That no lease of any *earlier* epoch runs either
//!    is the holder's to ensure before it proposes `Release`: the next reign is `clear` by it.
//! 4. A reign that was superseded without a `Release` makes the next one not clear, whichever
//!    member held it.

use quorate_planted::{Mutant, planted};

use super::{Answer, MemberId};

/// Reign as of one log index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reign {
    /// Connector server of this epoch; `None` before the first.
    pub holder: Option<MemberId>,
    /// Fencing token: the log index of the `TakeOver`; 0 before the first.
    pub epoch: u64,
    /// Term in which the holder took over.
    pub term: u64,
    /// True when the holder has stopped its connectors in an orderly way.
    pub released: bool,
    /// Holder of the reign before this one.
    pub former: Option<MemberId>,
    /// True when no lease of an earlier epoch can run since this one began: the one before was
    /// released, or there was none.
    pub clear: bool,
}

impl Reign {
    /// Returns true when the connectors run under this epoch.
    pub fn runs_under(&self, epoch: u64) -> bool {
        self.holder.is_some() && !self.released && self.epoch == epoch
    }

    /// Begins a reign. `index`, `term` and `leader` are those of the entry.
    pub(super) fn take_over(
        &mut self,
        index: u64,
        term: u64,
        leader: MemberId,
        member: MemberId,
        for_term: u64,
    ) -> Answer {
        if member != leader || for_term != term {
            return Answer::Ignored(format!(
                "member {member} asked for term {for_term}, but the entry is of leader {leader} in term {term}"
            ));
        }
        if index <= self.epoch {
            return Answer::Ignored(format!(
                "log index {index} is not above the epoch {}",
                self.epoch
            ));
        }
        *self = Reign {
            holder: Some(member),
            epoch: if planted(Mutant::EpochNotIncreased) && self.epoch != 0 {
                self.epoch
            } else {
                index
            },
            term,
            released: false,
            former: self.holder,
            clear: self.released || self.holder.is_none(),
        };
        Answer::done(index, true)
    }

    pub(super) fn release(&mut self, index: u64, leader: MemberId, epoch: u64) -> Answer {
        if self.holder.is_none() || epoch != self.epoch {
            return Answer::Ignored(format!(
                "epoch {epoch} is over; the epoch is {}",
                self.epoch
            ));
        }
        if self.holder != Some(leader) {
            return Answer::Ignored(format!(
                "only the holder of epoch {epoch} can release it, and the entry is of leader {leader}"
            ));
        }
        if self.released {
            return Answer::Ignored(format!("epoch {epoch} has been released before"));
        }
        self.released = true;
        Answer::done(index, false)
    }
}
