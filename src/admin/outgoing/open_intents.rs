//! The intents of one member whose end is still to come.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

/// The identity of an intent: its epoch, and a number that no second one of its member has.
pub(super) type IntentTicket = (u64, u64);

/// The open intents of one member. Another member of the same process has its own: an intent that
/// is open there says nothing of what is sent here.
#[derive(Debug, Default)]
pub struct OpenIntents {
    /// The number of tickets that were drawn.
    drawn: AtomicU64,
    ends: Mutex<BTreeMap<IntentTicket, IntentEnding>>,
}

/// The expected end of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntentEnding {
    /// The message is being sent, or its outcome is being recorded in the log.
    Open,
    /// Nothing was sent for the intent, or will be: it is being withdrawn.
    Withdrawn,
}

impl OpenIntents {
    /// Opens a new intent of this epoch, until the returned value is dropped.
    pub(super) fn begin(self: &Arc<Self>, epoch: u64) -> OpenIntent {
        let ticket = (epoch, self.drawn.fetch_add(1, Ordering::Relaxed) + 1);
        self.ends.lock().insert(ticket, IntentEnding::Open);
        OpenIntent {
            all: self.clone(),
            ticket,
        }
    }

    /// Returns the expected end of an intent of this member; `None` once the end is known.
    pub(super) fn end(&self, ticket: IntentTicket) -> Option<IntentEnding> {
        self.ends.lock().get(&ticket).copied()
    }
}

/// An intent that is open until this is dropped.
#[derive(Debug)]
pub(super) struct OpenIntent {
    all: Arc<OpenIntents>,
    ticket: IntentTicket,
}

impl OpenIntent {
    /// Returns the intent's identity.
    pub(super) fn ticket(&self) -> IntentTicket {
        self.ticket
    }

    /// Notes that nothing is sent for the intent.
    pub(super) fn withdraw(&self) {
        self.all
            .ends
            .lock()
            .insert(self.ticket, IntentEnding::Withdrawn);
    }
}

impl Drop for OpenIntent {
    fn drop(&mut self) {
        self.all.ends.lock().remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intent_is_open_until_dropped() {
        let intents = Arc::<OpenIntents>::default();
        let (one, two) = (intents.begin(7), intents.begin(7));
        let ticket = one.ticket();
        assert_ne!(ticket, two.ticket());
        assert_eq!(intents.end(ticket), Some(IntentEnding::Open));
        one.withdraw();
        assert_eq!(intents.end(ticket), Some(IntentEnding::Withdrawn));
        assert_eq!(intents.end(two.ticket()), Some(IntentEnding::Open));
        drop(one);
        assert_eq!(intents.end(ticket), None);
    }

    #[test]
    fn intents_of_two_members_are_apart() {
        let (here, there) = (Arc::<OpenIntents>::default(), Arc::<OpenIntents>::default());
        let open = here.begin(7);
        assert_eq!(there.end(open.ticket()), None);
        // Each numbers its own, so both come to the same names.
        let same = there.begin(7);
        assert_eq!(same.ticket(), open.ticket());
        drop(same);
        assert_eq!(here.end(open.ticket()), Some(IntentEnding::Open));
    }
}
