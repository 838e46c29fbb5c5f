//! All that the queue manager knows, and what the verbs do to it.

use std::{cmp::Reverse, collections::BTreeMap, io, path::Path, time::Instant};

use libmqm_sys as mq;

use crate::{
    descriptor::{
        APPLICATION, BACKOUT_COUNT, EXPIRY, LENGTH, MESSAGE_ID, PERSISTENCE, PRIORITY, PUT_DATE,
        USER, field, set_field, set_text,
    },
    journal::{Entry, Journal},
    queue::{Held, Place, Queue, Stored},
    wire::{Attributes, Fault},
};

/// What a verb failed with: MQRC_*.
pub(crate) type Reason = i32;

pub(crate) struct Store {
    pub(crate) queues: BTreeMap<String, Queue>,
    pub(crate) users: Option<(String, String)>,
    pub(crate) fault: Option<Fault>,
    pub(crate) quiescing: bool,
    pub(crate) hanging: bool,
    pub(crate) unavailable: bool,
    pub(crate) dead: bool,
    journal: Journal,
    next: u64,
}

/// What a get found.
pub(crate) enum Found {
    Nothing,
    /// It stays where it is: there is no room for so many bytes.
    TooLong(usize),
    Message(Vec<u8>),
}

impl Store {
    pub(crate) fn open(journal: Option<&Path>) -> io::Result<Self> {
        let (journal, before) = Journal::open(journal)?;
        let mut store = Store {
            queues: BTreeMap::new(),
            users: None,
            fault: None,
            quiescing: false,
            hanging: false,
            unavailable: false,
            dead: false,
            journal,
            next: 1,
        };
        for (name, attributes) in before.queues {
            store.queues.entry(name).or_default().attributes = attributes;
        }
        for (number, kept) in before.messages {
            let mut stored = Stored::new(kept.descriptor, kept.message, Held::No);
            stored.backed_out = kept.backed_out;
            let place = (Reverse(field(&stored.descriptor, PRIORITY)), number);
            let queue = store.queues.entry(kept.queue).or_default();
            queue.messages.insert(place, stored);
            store.next = store.next.max(number + 1);
        }
        Ok(store)
    }

    /// What is done from here on is in no journal, and is answered to nobody.
    pub(crate) fn die(&mut self) {
        self.dead = true;
        self.hanging = false;
        self.journal = Journal::none();
    }

    pub(crate) fn define(&mut self, queue: String, attributes: Attributes) {
        self.journal.write(&Entry::Defined {
            queue: queue.clone(),
            attributes: attributes.clone(),
        });
        self.queues.entry(queue).or_default().attributes = attributes;
    }

    pub(crate) fn queue(&mut self, name: &str) -> Result<&mut Queue, Reason> {
        self.queues
            .get_mut(name)
            .ok_or(mq::MQRC_UNKNOWN_OBJECT_NAME)
    }

    /// The fault, if it is this one; it happens once.
    pub(crate) fn fails(&mut self, fault: Fault) -> bool {
        let fails = self.fault == Some(fault);
        if fails {
            self.fault = None;
        }
        fails
    }

    /// Puts the message of these bytes; gives its descriptor as it is then.
    pub(crate) fn put(
        &mut self,
        name: &str,
        bytes: &[u8],
        options: i32,
        who: (u64, &str, &str),
    ) -> Result<Vec<u8>, Reason> {
        let (connection, user, application) = who;
        let Some((descriptor, message)) = bytes.split_at_checked(LENGTH) else {
            return Err(mq::MQRC_MD_ERROR);
        };
        let number = self.next;
        let queue = self.queue(name)?;
        if queue.attributes.put_inhibited {
            return Err(mq::MQRC_PUT_INHIBITED);
        }
        if message.len() > queue.attributes.max_length {
            return Err(mq::MQRC_MSG_TOO_BIG_FOR_Q);
        }
        if queue.messages.len() >= queue.attributes.max_depth {
            return Err(mq::MQRC_Q_FULL);
        }
        let mut descriptor = descriptor.to_vec();
        if field(&descriptor, PRIORITY) < 0 {
            set_field(&mut descriptor, PRIORITY, 0);
        }
        // The queue's default, which is not persistent.
        if field(&descriptor, PERSISTENCE) == mq::MQPER_PERSISTENCE_AS_Q_DEF {
            set_field(&mut descriptor, PERSISTENCE, mq::MQPER_NOT_PERSISTENT);
        }
        let id = &mut descriptor[MESSAGE_ID..MESSAGE_ID + 24];
        if options & mq::MQPMO_NEW_MSG_ID != 0 || id.iter().all(|byte| *byte == 0) {
            id[..4].copy_from_slice(b"SIM ");
            id[4..16].fill(b'0');
            id[16..].copy_from_slice(&number.to_be_bytes());
        }
        if options & mq::MQPMO_PASS_ALL_CONTEXT == 0 {
            set_text(&mut descriptor[USER..USER + 12], user);
            set_text(&mut descriptor[APPLICATION..APPLICATION + 28], application);
            set_text(&mut descriptor[PUT_DATE..PUT_DATE + 16], "2026010112000000");
        }
        set_field(&mut descriptor, BACKOUT_COUNT, 0);
        let in_unit = options & mq::MQPMO_SYNCPOINT != 0;
        let held = if in_unit {
            Held::Put(connection)
        } else {
            Held::No
        };
        let stored = Stored::new(descriptor.clone(), message.to_vec(), held);
        let place = (Reverse(field(&descriptor, PRIORITY)), number);
        queue.messages.insert(place, stored);
        self.next += 1;
        if !in_unit {
            self.keep(name, place);
        }
        Ok(descriptor)
    }

    /// Writes a message that is there for good into the journal.
    fn keep(&mut self, name: &str, place: Place) {
        let stored = self
            .queues
            .get(name)
            .and_then(|queue| queue.messages.get(&place));
        if let Some(stored) = stored
            && field(&stored.descriptor, PERSISTENCE) == mq::MQPER_PERSISTENT
        {
            self.journal
                .put(name, place.1, &stored.descriptor, &stored.message);
        }
    }

    /// Gets the first message, under syncpoint.
    pub(crate) fn get(
        &mut self,
        name: &str,
        connection: u64,
        room: usize,
    ) -> Result<Found, Reason> {
        let queue = self.queue(name)?;
        if queue.attributes.get_inhibited {
            return Err(mq::MQRC_GET_INHIBITED);
        }
        let Some(stored) = queue
            .first()
            .and_then(|place| queue.messages.get_mut(&place))
        else {
            return Ok(Found::Nothing);
        };
        if stored.message.len() > room {
            return Ok(Found::TooLong(stored.message.len()));
        }
        stored.held = Held::Got(connection);
        let mut bytes = stored.descriptor.clone();
        set_field(&mut bytes, BACKOUT_COUNT, stored.backed_out);
        if let Some(at) = stored.expires {
            let tenths = at.saturating_duration_since(Instant::now()).as_millis() / 100;
            set_field(
                &mut bytes,
                EXPIRY,
                i32::try_from(tenths).unwrap_or(i32::MAX),
            );
        }
        bytes.extend(&stored.message);
        Ok(Found::Message(bytes))
    }

    /// Takes the first message away, for a test.
    pub(crate) fn take(&mut self, name: &str) -> Result<Vec<u8>, Reason> {
        let queue = self.queue(name)?;
        let Some(place) = queue.first() else {
            return Ok(Vec::new());
        };
        let taken = queue.messages.remove(&place);
        self.journal.write(&Entry::Gone { number: place.1 });
        Ok(taken.map_or_else(Vec::new, |it| [it.descriptor, it.message].concat()))
    }

    /// Ends a unit of work.
    pub(crate) fn settle(&mut self, connection: u64, commit: bool) {
        let mut put = Vec::new();
        for (name, queue) in &mut self.queues {
            let journal = &mut self.journal;
            queue.messages.retain(|place, it| {
                let (own, stays) = match it.held {
                    Held::Got(by) => (by == connection, !commit),
                    Held::Put(by) => (by == connection, commit),
                    Held::No => (false, true),
                };
                if !own {
                    return true;
                }
                let number = place.1;
                match (it.held, commit) {
                    (Held::Got(_), true) => journal.write(&Entry::Gone { number }),
                    (Held::Got(_), false) => {
                        it.backed_out += 1;
                        journal.write(&Entry::BackedOut {
                            number,
                            times: it.backed_out,
                        });
                    }
                    (_, true) => put.push((name.clone(), *place)),
                    _ => {}
                }
                it.held = Held::No;
                stays
            });
        }
        for (name, place) in put {
            self.keep(&name, place);
        }
    }

    /// A connection is gone: what it had is given back.
    pub(crate) fn forget(&mut self, connection: u64) {
        self.settle(connection, false);
        for queue in self.queues.values_mut() {
            queue.readers.retain(|(reader, _)| *reader != connection);
        }
    }
}
