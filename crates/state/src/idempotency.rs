//! Table of idempotency keys: a retried send gets the first outcome instead of sending again.
//!
//! The connector server proposes [`BeginSend`](super::Command::BeginSend) before it sends and
//! [`FinishSend`](super::Command::FinishSend) after it. It sends only when its own `BeginSend` was
//! answered [`SendAdmission::Fresh`], and only once. Why there is one send for one key:
//!
//! 1. While an entry stands, every further `BeginSend` for its key is answered
//!    [`SendAdmission::Known`]: the log puts all of them, from whichever member, in one order.
//! 2. An entry goes in two ways. Ten minutes pass; or its own proposer withdraws it, having neither
//!    sent nor anything left that could. The proposer is known by the epoch and its ticket, a
//!    number that it gives once in an epoch, so nobody withdraws the entry of another, and a late
//!    outcome never lands on a later entry of the same key.
//! 3. A `BeginSend` counts only under the epoch of the current reign. A connector server that was
//!    deposed begins nothing; its earlier beginnings are in the log before the `TakeOver`, so its
//!    successor finds them.
//! 4. A crash between the send and its outcome leaves an entry without one. Under an epoch that is
//!    over nobody can add to it but the proposer itself, late: a caller that asks gets an unknown
//!    outcome, and nothing is sent again.
//!
//! **Time.** The machine has no clock: it adds up how far the clock of each connector server has
//! moved between that server's own commands. `now_ms` is read from a clock that is never set (since
//! the boot, for example), and only differences within one epoch count. So it does not matter what
//! time anyone thinks it is, and a wall clock that is years ahead ends nothing. The time between
//! the last command of one reign and the first of the next is not counted. The sum therefore never
//! runs ahead of true time, but for the rate of a clock: an entry lives ten minutes or longer,
//! never shorter.
//!
//! **Bounds.** At most [`SENDS_MAX`] entries, and [`SENDS_OF_ONE_MAX`] of one outgoing, so that the
//! keys of one don't take all the room; when they are there, new keys are answered
//! [`SendAdmission::Full`]: nobody's ten minutes are cut short to make room. Asking moves the clock
//! too, so a full table empties by being asked. Each command drops at most [`DROPPED_AT_ONCE`] old
//! entries, more than it can add; one that is too old and not dropped yet counts as gone.

use std::sync::Arc;

use imbl::OrdMap;
use quorate_resources::Kind;

use super::{
    Answer, Catalog, Reign,
    idempotent_send::{
        KnownSend, RecordedOutcome, SendAdmission, SendConclusion, SendIntent, SendKey,
    },
};

/// Most entries. Part of the format, like the two below: see [`super::command`].
pub const SENDS_MAX: usize = 100_000;
/// Most entries of one outgoing: a client that floods one leaves room for the others.
pub const SENDS_OF_ONE_MAX: usize = 90_000;
/// Time for which an entry is kept.
pub const KEPT_MS: u64 = 600_000;
/// Most entries that one command drops.
const DROPPED_AT_ONCE: usize = 64;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyEntry {
    /// Log index of its intent.
    pub intent: u64,
    /// Epoch of its intent.
    pub epoch: u64,
    /// Ticket of its intent.
    pub ticket: u64,
    /// Fingerprint of its message.
    pub fingerprint: [u8; 32],
    /// Time at which it was recorded, by the machine's own sum of time.
    pub at_ms: u64,
    /// Outcome; never [`RecordedOutcome::Withdrawn`].
    pub outcome: Option<RecordedOutcome>,
}

/// Sum of the time that the connector servers have seen pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReignClock {
    pub ms: u64,
    /// Epoch whose clock was read last.
    pub epoch: u64,
    /// Greatest reading of that clock.
    pub read_ms: u64,
}

impl ReignClock {
    fn read(&mut self, epoch: u64, now_ms: u64) {
        if epoch == self.epoch {
            // More than this ends every entry already, and the sum must not run out of bits.
            let passed = now_ms.saturating_sub(self.read_ms).min(KEPT_MS + 1);
            self.ms = self.ms.saturating_add(passed);
            self.read_ms = self.read_ms.max(now_ms);
        } else {
            (self.epoch, self.read_ms) = (epoch, now_ms);
        }
    }
}

/// Table of all entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IdempotencyTable {
    pub(super) clock: ReignClock,
    by_key: OrdMap<Arc<SendKey>, IdempotencyEntry>,
    /// Keys by the log index of the intent: the oldest first.
    by_age: OrdMap<u64, Arc<SendKey>>,
    /// Number of entries of each outgoing.
    by_outgoing: OrdMap<(Kind, String), usize>,
}

impl IdempotencyTable {
    /// Returns the entry of a key.
    pub fn get(&self, kind: Kind, name: &str, key: &str) -> Option<&IdempotencyEntry> {
        self.live_entry(&SendKey {
            kind,
            name: name.to_owned(),
            key: key.to_owned(),
        })
    }

    /// Returns how many entries there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Returns true when there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub(super) fn begin_send(
        &mut self,
        index: u64,
        reign: &Reign,
        catalog: &Catalog,
        intent: &SendIntent,
    ) -> Answer {
        if !reign.runs_under(intent.epoch) {
            return Answer::Ignored(format!(
                "nothing is sent under epoch {}; the epoch is {}{}",
                intent.epoch,
                reign.epoch,
                if reign.released { ", and released" } else { "" }
            ));
        }
        self.pass(intent.epoch, intent.now_ms);
        if catalog.get(intent.key.kind, &intent.key.name).is_none() {
            return Answer::NotFound;
        }
        if let Some(known) = self.live_entry(&intent.key) {
            return Answer::SendAdmitted(SendAdmission::Known(KnownSend {
                epoch: known.epoch,
                ticket: known.ticket,
                same: known.fingerprint == intent.fingerprint,
                outcome: known.outcome.clone(),
            }));
        }
        let of_this = outgoing(&intent.key);
        let of_this = self.by_outgoing.get(&of_this).copied().unwrap_or(0);
        if self.len() >= SENDS_MAX || of_this >= SENDS_OF_ONE_MAX {
            return Answer::SendAdmitted(SendAdmission::Full);
        }
        // One that is too old may still be there.
        self.remove(&intent.key);
        let sending = IdempotencyEntry {
            intent: index,
            epoch: intent.epoch,
            ticket: intent.ticket,
            fingerprint: intent.fingerprint,
            at_ms: self.clock.ms,
            outcome: None,
        };
        self.keep(intent.key.clone(), sending);
        Answer::SendAdmitted(SendAdmission::Fresh)
    }

    pub(super) fn finish_send(
        &mut self,
        index: u64,
        reign: &Reign,
        conclusion: &SendConclusion,
    ) -> Answer {
        let SendConclusion {
            key,
            epoch,
            ticket,
            outcome,
            now_ms,
        } = conclusion;
        if reign.holder.is_some() && reign.epoch == *epoch {
            self.pass(*epoch, *now_ms);
        }
        let Some(found) = self
            .live_entry(key)
            .filter(|it| (it.epoch, it.ticket) == (*epoch, *ticket))
        else {
            return Answer::Ignored(format!(
                "{key} has no intent of epoch {epoch} with ticket {ticket}"
            ));
        };
        if found.outcome.is_some() {
            return Answer::Ignored(format!("{key} has an outcome already"));
        }
        match outcome {
            RecordedOutcome::Withdrawn => self.remove(key),
            outcome => {
                if let Some(sending) = self.by_key.get_mut(key) {
                    sending.outcome = Some(outcome.clone());
                }
            }
        }
        Answer::done(index, false)
    }

    /// Lists the entries, the oldest first.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = (&SendKey, &IdempotencyEntry)> {
        self.by_age
            .values()
            .filter_map(|key| Some((&**key, self.by_key.get(key)?)))
    }

    pub(super) fn keep(&mut self, key: SendKey, sending: IdempotencyEntry) {
        *self.by_outgoing.entry(outgoing(&key)).or_insert(0) += 1;
        let key = Arc::new(key);
        self.by_age.insert(sending.intent, key.clone());
        self.by_key.insert(key, sending);
    }

    fn live_entry(&self, key: &SendKey) -> Option<&IdempotencyEntry> {
        self.by_key.get(key).filter(|it| !self.is_old(it))
    }

    fn is_old(&self, sending: &IdempotencyEntry) -> bool {
        self.clock.ms.saturating_sub(sending.at_ms) > KEPT_MS
    }

    /// Lets time pass, and drops entries that are too old.
    fn pass(&mut self, epoch: u64, now_ms: u64) {
        self.clock.read(epoch, now_ms);
        for _ in 0..DROPPED_AT_ONCE {
            let oldest = self.by_age.get_min().map(|(_, key)| key.clone());
            match oldest {
                Some(key) if self.live_entry(&key).is_none() => self.remove(&key),
                _ => return,
            }
        }
    }

    fn remove(&mut self, key: &SendKey) {
        if let Some(sending) = self.by_key.remove(key) {
            self.by_age.remove(&sending.intent);
            let outgoing = outgoing(key);
            match self.by_outgoing.get(&outgoing) {
                Some(count) if *count > 1 => {
                    let left = count - 1;
                    self.by_outgoing.insert(outgoing, left);
                }
                _ => {
                    self.by_outgoing.remove(&outgoing);
                }
            }
        }
    }
}

fn outgoing(key: &SendKey) -> (Kind, String) {
    (key.kind, key.name.clone())
}

#[cfg(test)]
mod tests;
