//! Who runs the connectors: the part of the argument for "one copy" that is in the log.
//!
//! A leader proposes `TakeOver` for itself, as leader of exactly one term. It counts
//! only in an entry that this very leader appended in this very term, so a proposal
//! that was delayed, forwarded or repeated by another leader changes nothing. The
//! epoch of a reign is the log index of its `TakeOver`: every member sees the same
//! one holder at each index, and epochs strictly increase because indices do.
//!
//! `ReleaseProposal` ends the current reign, and only its holder can say so, in an entry that
//! it appended itself: whoever sees it knows that the connectors of that epoch have
//! been stopped, and need not wait for their lease. That no lease of any *earlier* epoch
//! runs either is the holder's to see to before it says `ReleaseProposal`: the next reign is
//! `clear` by it. A reign that was superseded without a `ReleaseProposal` makes the next one not
//! clear, whoever held it.

use quorate_planted::{Mutant, planted};

use super::{Answer, MemberId};

/// The reign as of one log index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reign {
    /// The connector server of this epoch; `None` before the first.
    pub holder: Option<MemberId>,
    /// The fencing token: the log index of the `TakeOver`; 0 before the first.
    pub epoch: u64,
    /// The term in which the holder took over.
    pub term: u64,
    /// Whether the holder has stopped its connectors in an orderly way.
    pub released: bool,
    /// Who held the reign before this one.
    pub former: Option<MemberId>,
    /// Whether no lease of an earlier epoch can run since this one began: the one before
    /// was released, or there was none.
    pub clear: bool,
}

impl Reign {
    /// Whether the connectors run under this epoch.
    pub fn runs_under(&self, epoch: u64) -> bool {
        self.holder.is_some() && !self.released && self.epoch == epoch
    }

    /// `index`, `term` and `leader` are those of the entry.
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
            epoch: match planted(Mutant::EpochNotIncreased) && self.epoch != 0 {
                true => self.epoch,
                false => index,
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
