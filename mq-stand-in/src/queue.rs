//! A queue: messages by priority and age, some of them in units of work.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    descriptor::{BACKOUT_COUNT, EXPIRY, field},
    wire::Attributes,
};

/// Where a message stands in its queue. One that is backed out stands there again.
pub(crate) type Place = (Reverse<i32>, u64);

/// In whose unit of work a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    No,
    /// Got by it: hidden until it commits, and gone then.
    Got(u64),
    /// Put by it: hidden until it commits, and there then.
    Put(u64),
}

pub(crate) struct Stored {
    pub(crate) descriptor: Vec<u8>,
    pub(crate) message: Vec<u8>,
    pub(crate) backed_out: i32,
    pub(crate) held: Held,
    pub(crate) expires: Option<Instant>,
}

#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) attributes: Attributes,
    pub(crate) messages: BTreeMap<Place, Stored>,
    /// Connections that have it open for input, and whether alone.
    pub(crate) readers: Vec<(u64, bool)>,
}

impl Stored {
    pub(crate) fn new(descriptor: Vec<u8>, message: Vec<u8>, held: Held) -> Self {
        // In tenths of a second; -1: for ever.
        let expiry = field(&descriptor, EXPIRY);
        let expires = u64::try_from(expiry)
            .ok()
            .map(|tenths| Instant::now() + Duration::from_millis(tenths * 100));
        Stored {
            backed_out: field(&descriptor, BACKOUT_COUNT),
            descriptor,
            message,
            held,
            expires,
        }
    }
}

impl Queue {
    /// The first message that anybody may get.
    pub(crate) fn first(&mut self) -> Option<Place> {
        let now = Instant::now();
        self.messages
            .retain(|_, it| it.held != Held::No || it.expires.is_none_or(|at| at > now));
        let mut free = self.messages.iter().filter(|(_, it)| it.held == Held::No);
        free.next().map(|(place, _)| *place)
    }

    /// Whether a reader, alone or not, is let in.
    pub(crate) fn admits(&self, alone: bool) -> bool {
        self.readers.is_empty() || !alone && self.readers.iter().all(|(_, other)| !other)
    }
}
