//! Changelog of keys: their latest changes, for readers that follow them.
//!
//! Every put and delete that is done is kept here under its revision, in order, until there are
//! more than [`CHANGES_MAX`] of them or their keys and values have more than [`CHANGES_BYTES_MAX`]
//! bytes; then the oldest makes room. The changelog has no gap: every change after
//! [`KeyChangelog::floor`] is here, so that a reader that asks from there on misses nothing, and
//! one that asks for more gets an error that it can't be had ([`ChangesCompacted`]).
//!
//! The changelog is part of the state, and so the same on every member and part of every snapshot:
//! a reader that loses its member goes on at any other. One that is restored from a snapshot of a
//! version without changelog begins empty, with the last change before as its floor; it keeps less
//! than the others until both are full, and decides nothing.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use imbl::Vector;

/// Most changes that are kept. Part of the format: see [`super::command`].
pub const CHANGES_MAX: usize = 50_000;
/// Most bytes of their keys and values. Part of the format.
pub const CHANGES_BYTES_MAX: usize = 16 << 20;

/// One change of one key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// Log index that made it. No two changes share one.
    pub revision: u64,
    /// Key that changed.
    pub key: Arc<str>,
    /// Value that was written; `None` where the key was deleted.
    pub value: Option<Bytes>,
    /// Revision that the key had before; `None` where it was not there.
    pub previous: Option<u64>,
}

impl KeyChange {
    fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

impl fmt::Debug for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_ref().map(Bytes::len);
        write!(f, "{:?} @{}: {value:?} bytes", self.key, self.revision)
    }
}

/// Error: the changes that were asked for are not all kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangesCompacted {
    /// First revision from which nothing is missing.
    pub oldest: u64,
}

/// Bounds of a changelog.
#[derive(Clone, Copy, Debug)]
struct ChangelogBounds {
    changes: usize,
    bytes: usize,
}

const BOUNDS: ChangelogBounds = ChangelogBounds {
    changes: CHANGES_MAX,
    bytes: CHANGES_BYTES_MAX,
};

/// Latest changes, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyChangelog {
    floor: u64,
    bytes: usize,
    changes: Vector<Arc<KeyChange>>,
}

impl KeyChangelog {
    /// Returns the floor: every change with a greater revision is here.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Returns the revision of the newest change; the floor where there is none.
    pub fn newest(&self) -> u64 {
        self.changes
            .last()
            .map_or(self.floor, |change| change.revision)
    }

    /// Returns how many changes there are.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Returns true when there are none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns the bytes of their keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lists all changes with a greater revision than this, in order.
    pub fn after(
        &self,
        revision: u64,
    ) -> Result<impl Iterator<Item = &Arc<KeyChange>>, ChangesCompacted> {
        if revision < self.floor {
            let oldest = self.floor + 1;
            return Err(ChangesCompacted { oldest });
        }
        let first = match self
            .changes
            .binary_search_by(|change| change.revision.cmp(&revision))
        {
            Ok(at) => at + 1,
            Err(at) => at,
        };
        Ok((first..self.changes.len()).filter_map(|at| self.changes.get(at)))
    }

    /// Lists all changes that are kept.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<KeyChange>> {
        self.changes.iter()
    }

    /// Creates an empty changelog with `floor`.
    pub(super) fn beginning_after(floor: u64) -> KeyChangelog {
        KeyChangelog {
            floor,
            ..KeyChangelog::default()
        }
    }

    /// Keeps a change. It is newer than all that are here.
    pub(super) fn keep(&mut self, change: KeyChange) {
        self.keep_within(change, BOUNDS);
    }

    fn keep_within(&mut self, change: KeyChange, bounds: ChangelogBounds) {
        self.bytes += change.bytes();
        self.changes.push_back(Arc::new(change));
        while self.changes.len() > bounds.changes || self.bytes > bounds.bytes {
            let Some(gone) = self.changes.pop_front() else {
                return;
            };
            self.bytes -= gone.bytes();
            self.floor = gone.revision;
        }
    }
}

#[cfg(test)]
mod tests;
