//! All that the queue manager knows, and what the verbs do to it.

use std::{cmp::Reverse, collections::BTreeMap, io, path::Path};

use libmqm_sys as mq;

use crate::{
    descriptor::{BACKOUT_COUNT, MESSAGE_ID, PERSISTENCE, PRIORITY, field, set_field},
    journal::{Entry, Journal},
    matching::Wanted,
    queue::{Held, Place, Queue, Stored},
    report::{self, Event},
    wire::{Attributes, Dynamic, Fault, Reason},
};

/// The highest priority; a message with a higher one stands as if it had this.
pub(crate) const PRIORITY_MAX: i32 = 9;
/// The model that every queue manager has, of temporary queues.
const MODEL: &str = "SYSTEM.DEFAULT.MODEL.QUEUE";

pub(crate) struct Store {
    /// The queue manager's name.
    name: String,
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

impl Store {
    pub(crate) fn open(name: &str, journal: Option<&Path>) -> io::Result<Self> {
        let (journal, before) = Journal::open(journal)?;
        let mut store = Store {
            name: name.to_owned(),
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
        let model = Attributes {
            exclusive: true,
            model: Some(Dynamic::Temporary),
            ..Attributes::default()
        };
        store.queues.entry(MODEL.to_owned()).or_default().attributes = model;
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

    /// Puts a message whose descriptor is complete but for an id, if one is to be made for it.
    /// Gives its descriptor as it is then.
    pub(crate) fn put(
        &mut self,
        name: &str,
        (mut descriptor, message): (Vec<u8>, &[u8]),
        new_id: bool,
        held: Held,
    ) -> Result<Vec<u8>, Reason> {
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
        if field(&descriptor, PRIORITY) < 0 {
            set_field(&mut descriptor, PRIORITY, queue.attributes.priority);
        }
        if field(&descriptor, PERSISTENCE) == mq::MQPER_PERSISTENCE_AS_Q_DEF {
            set_field(
                &mut descriptor,
                PERSISTENCE,
                queue.attributes.persistent.into(),
            );
        }
        let temporary = queue
            .made
            .is_some_and(|(kind, _)| kind == Dynamic::Temporary);
        if temporary && field(&descriptor, PERSISTENCE) == mq::MQPER_PERSISTENT {
            return Err(mq::MQRC_PERSISTENT_NOT_ALLOWED);
        }
        if new_id {
            make_id(&mut descriptor[MESSAGE_ID..MESSAGE_ID + 24], number);
        }
        set_field(&mut descriptor, BACKOUT_COUNT, 0);
        let stored = Stored::new(descriptor.clone(), message.to_vec(), held);
        let priority = field(&descriptor, PRIORITY).min(PRIORITY_MAX);
        let place = (Reverse(priority), number);
        queue.messages.insert(place, stored);
        self.next += 1;
        if held == Held::No {
            self.keep(name, place);
        }
        self.report(Event::Arrival, &descriptor, message, held);
        Ok(descriptor)
    }

    /// An id for a message or a correlation.
    pub(crate) fn new_id(&mut self, to: &mut [u8]) {
        make_id(to, self.next);
        self.next += 1;
    }

    /// Puts the report of an event, where a message asks for it and there is a place for it.
    fn report(&mut self, event: Event, descriptor: &[u8], message: &[u8], held: Held) {
        if let Some(it) = report::report(event, descriptor, message, &self.name) {
            // Without such a queue it would go to the dead-letter queue, of which there is none.
            let _ = self.put(&it.queue, (it.descriptor, &it.message), it.new_id, held);
        }
    }

    /// Discards what was not taken in time.
    pub(crate) fn expire(&mut self, name: &str) -> Result<(), Reason> {
        for ((_, number), it) in self.queue(name)?.expired() {
            self.journal.write(&Entry::Gone { number });
            self.report(Event::Expiration, &it.descriptor, &it.message, Held::No);
        }
        Ok(())
    }

    /// Takes a message from its place, in the unit of work of a connection or for good.
    pub(crate) fn take_from(&mut self, name: &str, place: Place, unit: Option<u64>) {
        let Some(queue) = self.queues.get_mut(name) else {
            return;
        };
        let Some(stored) = queue.messages.get_mut(&place) else {
            return;
        };
        let (descriptor, message) = (stored.descriptor.clone(), stored.message.clone());
        let held = match unit {
            Some(connection) => {
                stored.held = Held::Got(connection);
                Held::Put(connection)
            }
            None => {
                queue.messages.remove(&place);
                self.journal.write(&Entry::Gone { number: place.1 });
                Held::No
            }
        };
        self.report(Event::Delivery, &descriptor, &message, held);
    }

    /// Makes a queue of a model and gives its name.
    pub(crate) fn make(
        &mut self,
        model: &str,
        wanted: &str,
        connection: u64,
    ) -> Result<String, Reason> {
        let mut attributes = self.queue(model)?.attributes.clone();
        let kind = attributes.model.take().ok_or(mq::MQRC_OBJECT_TYPE_ERROR)?;
        let name = match wanted.strip_suffix('*') {
            Some(start) => {
                self.next += 1;
                format!("{start:.32}{:016X}", self.next)
            }
            None => wanted.to_owned(),
        };
        if name.is_empty() || name.contains([' ', '*']) {
            return Err(mq::MQRC_DYNAMIC_Q_NAME_ERROR);
        }
        if self.queues.contains_key(&name) {
            return Err(mq::MQRC_OBJECT_ALREADY_EXISTS);
        }
        if kind == Dynamic::Permanent {
            self.define(name.clone(), attributes.clone());
        }
        let queue = self.queues.entry(name.clone()).or_default();
        queue.attributes = attributes;
        queue.made = Some((kind, connection));
        Ok(name)
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

    /// Takes the first message away, for a test.
    pub(crate) fn take(&mut self, name: &str) -> Result<Vec<u8>, Reason> {
        self.expire(name)?;
        let queue = self.queue(name)?;
        let Some(place) = queue.find(None, &Wanted::default()) else {
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
            queue.writers.retain(|writer| *writer != connection);
        }
        let made = Some((Dynamic::Temporary, connection));
        self.queues.retain(|_, queue| queue.made != made);
    }
}

fn make_id(to: &mut [u8], number: u64) {
    to[..4].copy_from_slice(b"SIM ");
    to[4..16].fill(b'0');
    to[16..].copy_from_slice(&number.to_be_bytes());
}
