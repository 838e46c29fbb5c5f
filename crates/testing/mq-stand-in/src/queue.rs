//! A queue: messages by priority and age, some of them in units of work.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    ops::Bound,
    time::{Duration, Instant},
};

use crate::{
    descriptor::{BACKOUT_COUNT, EXPIRY, field, set_field},
    matching::Wanted,
    wire::{Attributes, Dynamic},
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
    /// Connections that have it open for output.
    pub(crate) writers: Vec<u64>,
    /// How it was made of a model, if it was, and by which connection.
    pub(crate) made: Option<(Dynamic, u64)>,
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

impl Stored {
    /// Its descriptor as a get gives it: with the backouts and what is left of its life.
    pub(crate) fn current(&self) -> Vec<u8> {
        let mut descriptor = self.descriptor.clone();
        set_field(&mut descriptor, BACKOUT_COUNT, self.backed_out);
        if let Some(at) = self.expires {
            let tenths = at.saturating_duration_since(Instant::now()).as_millis() / 100;
            let tenths = i32::try_from(tenths).unwrap_or(i32::MAX).max(1);
            set_field(&mut descriptor, EXPIRY, tenths);
        }
        descriptor
    }
}

impl Queue {
    /// The first message behind a place that is asked for and in no unit of work.
    pub(crate) fn find(&self, after: Option<Place>, wanted: &Wanted) -> Option<Place> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut behind = self.messages.range((from, Bound::Unbounded));
        let asked = |it: &Stored| it.held == Held::No && wanted.takes(&it.descriptor);
        behind.find(|(_, it)| asked(it)).map(|(place, _)| *place)
    }

    /// Takes those out whose life is over.
    pub(crate) fn expired(&mut self) -> Vec<(Place, Stored)> {
        let now = Instant::now();
        let over = |it: &Stored| it.held == Held::No && it.expires.is_some_and(|at| at <= now);
        self.messages.extract_if(.., |_, it| over(it)).collect()
    }

    /// Whether a reader, alone or not, is let in.
    pub(crate) fn admits(&self, alone: bool) -> bool {
        let free = self.attributes.shareable && self.readers.iter().all(|(_, other)| !other);
        self.readers.is_empty() || !alone && free
    }
}
