//! MQGET.

use std::time::{Duration, Instant};

use libmqm_sys as mq;

use super::{Conversation, Did, LOOK, Outcome, quiet};
use crate::{
    convert::convert,
    descriptor::{PERSISTENCE, field},
    matching::Wanted,
    options::{self, INPUT, Mode},
    properties,
    queue::{Held, Place},
    store::Store,
    wire::{Answer, Fault, Reason, Request},
};

/// A get that was found to be right.
struct Getting<'a> {
    handle: i32,
    queue: &'a str,
    mode: Mode,
    options: i32,
    wanted: Wanted,
    /// The caller's descriptor.
    descriptor: &'a [u8],
    room: usize,
}

impl Conversation<'_> {
    pub(super) fn get(&mut self, request: &Request, descriptor: &[u8]) -> Did {
        let Request::Get {
            handle,
            options,
            matching,
            wait_ms,
            room,
        } = *request
        else {
            return Err(mq::MQRC_UNEXPECTED_ERROR);
        };
        let (queue, opened) = self.queue(handle)?;
        let mode = options::get(options)?;
        if mode != Mode::Take && opened & mq::MQOO_BROWSE == 0 {
            return Err(mq::MQRC_NOT_OPEN_FOR_BROWSE);
        }
        if !mode.browses() && opened & INPUT == 0 {
            return Err(mq::MQRC_NOT_OPEN_FOR_INPUT);
        }
        let getting = Getting {
            handle,
            queue: &queue,
            mode,
            options,
            wanted: Wanted::new(descriptor, matching)?,
            descriptor,
            room: usize::try_from(room).unwrap_or(0),
        };
        let deadline = deadline(options, wait_ms)?;
        let shared = self.shared;
        let mut store = shared.store.lock();
        loop {
            quiet(&store, options & mq::MQGMO_FAIL_IF_QUIESCING)?;
            if let Some(place) = self.find(&mut store, &getting)? {
                return Ok(self.got(&mut store, &getting, place));
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Err(mq::MQRC_NO_MSG_AVAILABLE);
            }
            if self
                .wait(&mut store, deadline.unwrap_or(now + LOOK))
                .is_err()
            {
                return Ok(Outcome::Break);
            }
        }
    }

    /// Where the message stands that is asked for.
    fn find(&self, store: &mut Store, getting: &Getting<'_>) -> Result<Option<Place>, Reason> {
        let deleted = |_| mq::MQRC_Q_DELETED;
        store.expire(getting.queue).map_err(deleted)?;
        let queue = store.queue(getting.queue).map_err(deleted)?;
        if queue.attributes.get_inhibited {
            return Err(mq::MQRC_GET_INHIBITED);
        }
        let cursor = self.object(getting.handle)?.cursor;
        match getting.mode {
            Mode::Take | Mode::BrowseFirst => Ok(queue.find(None, &getting.wanted)),
            Mode::BrowseNext => Ok(queue.find(cursor, &getting.wanted)),
            Mode::BrowseUnderCursor | Mode::TakeUnderCursor => {
                let there = |place: &Place| {
                    let stored = queue.messages.get(place);
                    stored.is_some_and(|it| it.held == Held::No)
                };
                let place = cursor.filter(there);
                place.map(Some).ok_or(mq::MQRC_NO_MSG_UNDER_CURSOR)
            }
        }
    }

    fn got(&mut self, store: &mut Store, getting: &Getting<'_>, place: Place) -> Outcome {
        let stored = store.queues.get(getting.queue);
        let Some(stored) = stored.and_then(|queue| queue.messages.get(&place)) else {
            return Outcome::Break;
        };
        let (mut descriptor, mut message) = (stored.current(), stored.message.clone());
        let taken = descriptor.clone();
        if getting.options & mq::MQGMO_NO_PROPERTIES != 0 {
            (descriptor, message) = properties::without(&descriptor, &message);
        }
        let converted = match getting.options & mq::MQGMO_CONVERT {
            0 => Ok(()),
            // It is cut, or fetched again with more room.
            _ if message.len() > getting.room => Ok(()),
            _ => convert(
                getting.descriptor,
                &mut descriptor,
                &mut message,
                getting.room,
            ),
        };
        let length = message.len();
        let mut answer = Answer {
            number: i64::try_from(length).unwrap_or(0),
            resolved: Some((getting.queue.to_owned(), self.shared.settings.name.clone())),
            ..Answer::default()
        };
        if let Err(reason) = converted {
            (answer.completion, answer.reason) = (mq::MQCC_WARNING, reason);
        }
        let accepts = getting.options & mq::MQGMO_ACCEPT_TRUNCATED_MSG != 0;
        if length > getting.room {
            answer.completion = mq::MQCC_WARNING;
            answer.reason = if accepts {
                mq::MQRC_TRUNCATED_MSG_ACCEPTED
            } else {
                mq::MQRC_TRUNCATED_MSG_FAILED
            };
            message.truncate(getting.room);
        }
        if length <= getting.room || accepts {
            let persistent = field(&descriptor, PERSISTENCE) == mq::MQPER_PERSISTENT;
            let in_unit = getting.options & mq::MQGMO_SYNCPOINT != 0
                || getting.options & mq::MQGMO_SYNCPOINT_IF_PERSISTENT != 0 && persistent;
            if let Some(object) = self.objects.get_mut(&getting.handle) {
                if getting.mode.browses() {
                    object.cursor = Some(place);
                } else {
                    object.taken = Some(taken);
                    store.take_from(getting.queue, place, in_unit.then_some(self.id));
                }
            }
            if store.fails(Fault::Get) {
                return Outcome::Break;
            }
            self.shared.changed.notify_all();
        }
        descriptor.extend(message);
        Outcome::Answer(answer, descriptor)
    }
}

/// Until when a get waits; `None`: for ever.
fn deadline(options: i32, wait_ms: i32) -> Result<Option<Instant>, Reason> {
    let waits = options & mq::MQGMO_WAIT != 0;
    match u64::try_from(wait_ms) {
        _ if !waits => Ok(Some(Instant::now())),
        Ok(wait) => Ok(Some(Instant::now() + Duration::from_millis(wait))),
        Err(_) if wait_ms == mq::MQWI_UNLIMITED => Ok(None),
        Err(_) => Err(mq::MQRC_WAIT_INTERVAL_ERROR),
    }
}
