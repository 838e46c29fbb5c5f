//! Keys and values with revisions.
//!
//! Every put that is done gets a revision of its own, even with the bytes that were there before:
//! of two writes that ask for the same revision at most one is done, which is what locks are made
//! of.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    ops::Bound,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use imbl::OrdMap;
use quorate_planted::{Mutant, planted};
use quorate_proto::command::FieldError;

use super::{
    Answer, KV_BYTES_MAX, OverQuota, QuotaKind, WritePrecondition,
    changelog::{KeyChange, KeyChangelog},
    field_errors::error,
    quota,
};

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// A value with its revision.
#[derive(Clone, PartialEq, Eq)]
pub struct KvEntry {
    /// Log index that last wrote it.
    pub revision: u64,
    /// Bytes of the value.
    pub value: Bytes,
}

impl fmt::Debug for KvEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes @{}", self.value.len(), self.revision)
    }
}

/// All keys, in order, and their latest changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KvStore {
    revision: u64,
    entries: OrdMap<Arc<str>, KvEntry>,
    /// Bytes of all keys and values together.
    bytes: u64,
    changelog: KeyChangelog,
}

impl KvStore {
    /// Returns the log index that last changed a key.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns how many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true when there are no keys.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the bytes of all keys and values together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns one key's value.
    pub fn get(&self, key: &str) -> Option<&KvEntry> {
        self.entries.get(key)
    }

    /// Returns the latest changes.
    pub fn changelog(&self) -> &KeyChangelog {
        &self.changelog
    }

    /// Lists the keys that begin with `prefix` and come after `after`, in order.
    pub fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a str, &'a KvEntry)> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.entries
            .range::<_, str>((start, Bound::Unbounded))
            .map(|(key, entry)| (&**key, entry))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    pub(super) fn put(
        &mut self,
        index: u64,
        key: &str,
        value: &Bytes,
        precondition: Option<WritePrecondition>,
    ) -> Answer {
        let limit = planted(Mutant::ValidatedInApply).then(own_limit);
        if limit.is_some_and(|limit| value.len() > limit) {
            return Answer::Invalid(Vec::new());
        }
        let revision = self.get(key).map(|entry| entry.revision);
        if precondition.is_some_and(|it| !it.holds(revision)) {
            return Answer::PreconditionFailed {
                revision: revision.unwrap_or(0),
            };
        }
        if let Err(over) = self.check_room(key, value.len()) {
            return Answer::Full(over);
        }
        let key: Arc<str> = key.into();
        let mut entry = KvEntry {
            revision: index,
            value: value.clone(),
        };
        if planted(Mutant::StateByMember) && RandomState::new().hash_one(&key).is_multiple_of(20) {
            entry.revision = revision.unwrap_or(index);
        }
        self.keep(key.clone(), entry);
        self.changed(index, key, Some(value.clone()), revision);
        Answer::done(index, revision.is_none())
    }

    /// Checks that there is room for a value of so many bytes under this key.
    pub fn check_room(&self, key: &str, value_bytes: usize) -> Result<(), OverQuota> {
        let before = self.get(key).map_or(0, |it| entry_bytes(key, it));
        let then = self.bytes - before + (key.len() + value_bytes) as u64;
        quota::check(QuotaKind::KeyBytes, self.bytes, then, KV_BYTES_MAX)
    }

    pub(super) fn delete(
        &mut self,
        index: u64,
        key: &str,
        precondition: Option<WritePrecondition>,
    ) -> Answer {
        let revision = self.get(key).map(|entry| entry.revision);
        if precondition.is_some_and(|it| !it.holds(revision)) {
            return Answer::PreconditionFailed {
                revision: revision.unwrap_or(0),
            };
        }
        let Some(gone) = self.entries.remove(key) else {
            return Answer::NotFound;
        };
        self.bytes -= entry_bytes(key, &gone);
        self.changed(index, key.into(), None, revision);
        Answer::done(index, false)
    }

    fn changed(&mut self, index: u64, key: Arc<str>, value: Option<Bytes>, previous: Option<u64>) {
        self.revision = index;
        self.changelog.keep(KeyChange {
            revision: index,
            key,
            value,
            previous,
        });
    }

    /// Creates a store without keys, and without changes up to `floor`.
    pub(super) fn restored(revision: u64, floor: u64) -> KvStore {
        KvStore {
            revision,
            entries: OrdMap::new(),
            bytes: 0,
            changelog: KeyChangelog::beginning_after(floor),
        }
    }

    /// Takes up a change that is newer than all that are here.
    pub(super) fn restore_change(&mut self, change: KeyChange) {
        self.changelog.keep(change);
    }

    pub(super) fn restore(&mut self, key: &str, entry: KvEntry) {
        self.keep(key.into(), entry);
    }

    fn keep(&mut self, key: Arc<str>, entry: KvEntry) {
        self.bytes += entry_bytes(&key, &entry);
        if let Some(before) = self.entries.insert(key.clone(), entry) {
            self.bytes -= entry_bytes(&key, &before);
        }
    }
}

fn entry_bytes(key: &str, entry: &KvEntry) -> u64 {
    (key.len() + entry.value.len()) as u64
}

/// Checks a key, or else its value.
pub(super) fn check(key: &str, value: Option<&Bytes>) -> Vec<FieldError> {
    if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
        let problem = format!("must have 1 to {KEY_BYTES_MAX} bytes");
        return vec![error("key", format!("{} bytes", key.len()), problem)];
    }
    let too_long = value
        .map(Bytes::len)
        .filter(|bytes| *bytes > VALUE_BYTES_MAX);
    let unfit = |bytes| {
        let problem = format!("must have at most {VALUE_BYTES_MAX} bytes");
        error("value", format!("{bytes} bytes"), problem)
    };
    too_long.map(unfit).into_iter().collect()
}

/// Planted bug: the longest value, in bytes, by the rules of this process, which are its own.
fn own_limit() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| 1 + RandomState::new().hash_one(0) as usize % 4)
}
