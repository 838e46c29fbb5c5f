//! Backlog of the log: what the log has already and RocksDB has not yet.
//!
//! The task that writes to the log must not wait for the disk: it is the one that answers
//! heartbeats and votes. So what it writes is kept here and handed to the thread that writes
//! it to disk (see [`flusher`](super::flusher)), and every reader of the log looks here first
//! and into RocksDB then. In this order nothing is missed: an entry leaves the backlog after
//! RocksDB has it.
//!
//! The backlog is bounded in bytes. A disk that takes nothing for long holds consensus up
//! after all, once so much has come in meanwhile.

use std::{collections::VecDeque, io, ops::RangeBounds, sync::Arc};

use openraft::EntryPayload;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    log_db::{self, LogDb},
    raft_types::{LogEntry, LogEntryId, ProposedCommand},
};

/// KiB that may wait at most; a single append may be larger, and takes one at least.
pub(super) const ROOM: u32 = 64 << 10;

/// Bytes that an entry takes beside its command.
const ENTRY: usize = 64;

/// Room for an append that waits, until it is dropped.
pub(super) type BacklogPermit = OwnedSemaphorePermit;

pub(super) struct LogBacklog {
    state: Mutex<BacklogState>,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct BacklogState {
    /// Entries that RocksDB may not have, in order and without a hole.
    entries: VecDeque<LogEntry>,
    /// Number of entries that were handed over and are not written, purged ones among them.
    handed: usize,
    /// The last entry that was purged since the log was opened.
    purged: Option<LogEntryId>,
    /// The last entry that openraft reported as committed since then.
    committed: Option<Option<LogEntryId>>,
    /// The part of these two that RocksDB does not have.
    unwritten: UnwrittenMarks,
}

/// Marks that are written beside entries, whenever something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UnwrittenMarks {
    /// The last entry that is purged.
    pub(super) purged: Option<LogEntryId>,
    /// The last entry that is committed.
    pub(super) committed: Option<Option<LogEntryId>>,
}

impl LogBacklog {
    pub(super) fn new() -> LogBacklog {
        LogBacklog {
            state: Mutex::default(),
            room: Arc::new(Semaphore::new(ROOM as usize)),
        }
    }

    /// Waits until there is room for these entries.
    pub(super) async fn room_for(&self, entries: &[LogEntry]) -> io::Result<BacklogPermit> {
        let bytes: usize = entries.iter().map(size).sum();
        let wanted = u32::try_from(bytes >> 10).unwrap_or(ROOM).clamp(1, ROOM);
        let room = self.room.clone().acquire_many_owned(wanted).await;
        room.map_err(io::Error::other)
    }

    /// Makes entries readable from now on.
    pub(super) fn append(&self, entries: &[LogEntry]) {
        let mut state = self.state.lock();
        state.handed += entries.len();
        state.entries.extend(entries.iter().cloned());
    }

    /// Takes in that RocksDB has `count` more entries, up to `upto`.
    pub(super) fn written(&self, upto: LogEntryId, count: usize) {
        let mut state = self.state.lock();
        state.handed -= count;
        state.forget(upto);
    }

    /// Lets nothing up to `upto` be read from now on, whether RocksDB has it yet or not.
    pub(super) fn purge(&self, upto: LogEntryId) {
        let mut state = self.state.lock();
        state.purged = state.purged.max(Some(upto));
        state.unwritten.purged = state.purged;
        state.forget(upto);
    }

    pub(super) fn commit(&self, committed: Option<LogEntryId>) {
        let mut state = self.state.lock();
        state.committed = Some(committed);
        state.unwritten.committed = Some(committed);
    }

    /// Takes the marks that are to be written beside `count` entries up to `last`; they count as
    /// written from now on. Marks of later entries are left: a log that marks an entry as
    /// committed has it, and an entry that is purged is not written after that.
    pub(super) fn take_unwritten(&self, last: Option<LogEntryId>, count: usize) -> UnwrittenMarks {
        let mut state = self.state.lock();
        let all = state.handed == count;
        let ready = |id: &LogEntryId| all || last.is_some_and(|last| id.index <= last.index);
        let unwritten = &mut state.unwritten;
        UnwrittenMarks {
            purged: unwritten.purged.take_if(|id| ready(id)),
            committed: unwritten
                .committed
                .take_if(|id| id.as_ref().is_none_or(ready)),
        }
    }

    pub(super) fn committed(&self, db: &LogDb) -> io::Result<Option<LogEntryId>> {
        let committed = self.state.lock().committed;
        committed.map_or_else(|| db.committed(), Ok)
    }

    pub(super) fn purged(&self, db: &LogDb) -> io::Result<Option<LogEntryId>> {
        let purged = self.state.lock().purged;
        Ok(purged.max(db.purged()?))
    }

    /// Returns the last entry that is not purged.
    pub(super) fn last(&self, db: &LogDb) -> io::Result<Option<LogEntryId>> {
        let (last, purged) = {
            let state = self.state.lock();
            (state.entries.back().map(|entry| entry.log_id), state.purged)
        };
        let last = match last {
            Some(last) => Some(last),
            None => db.last()?,
        };
        Ok(last.filter(|last| purged.is_none_or(|purged| last.index > purged.index)))
    }

    /// Returns the entries in `range`, in order: at most `max_bytes` of them, but at least one.
    pub(super) fn entries(
        &self,
        db: &LogDb,
        range: impl RangeBounds<u64>,
        max_bytes: usize,
    ) -> io::Result<Vec<LogEntry>> {
        let Some((start, end)) = log_db::bounds(range) else {
            return Ok(Vec::new());
        };
        loop {
            let (start, behind) = self.state.lock().behind(start, end, max_bytes);
            let Some(first) = behind.first().map(|entry| entry.log_id) else {
                return match end {
                    Some(end) => db.entries(start..end, max_bytes),
                    None => db.entries(start.., max_bytes),
                };
            };
            if first.index <= start {
                return Ok(behind);
            }
            let mut entries = db.entries(start..first.index, max_bytes)?;
            match entries.last().map(|last| last.log_id.index + 1) {
                Some(next) if next < first.index => return Ok(entries),
                None if !db.begins_after(start)? => {
                    // The entries that were found here may have been truncated since, and those
                    // before them too.
                    if self.state.lock().first() != Some(first) {
                        continue;
                    }
                    return Err(log_db::hole(start, first.index));
                }
                _ => (),
            }
            let mut bytes: usize = entries.iter().map(size).sum();
            for entry in behind {
                bytes += size(&entry);
                if bytes > max_bytes && !entries.is_empty() {
                    break;
                }
                entries.push(entry);
            }
            return Ok(entries);
        }
    }
}

impl BacklogState {
    fn first(&self) -> Option<LogEntryId> {
        self.entries.front().map(|entry| entry.log_id)
    }

    fn forget(&mut self, upto: LogEntryId) {
        let known = |entry: &LogEntry| entry.log_id.index <= upto.index;
        while self.entries.front().is_some_and(known) {
            self.entries.pop_front();
        }
    }

    /// Returns where to read from, given what is purged, and those entries from there to before
    /// `end` that are here.
    fn behind(&self, start: u64, end: Option<u64>, max_bytes: usize) -> (u64, Vec<LogEntry>) {
        let start = self
            .purged
            .map_or(start, |purged| start.max(purged.index + 1));
        let first = self
            .entries
            .front()
            .map_or(start, |entry| entry.log_id.index);
        let skipped = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut entries: Vec<LogEntry> = Vec::new();
        for entry in self.entries.iter().skip(skipped) {
            bytes += size(entry);
            let within = end.is_none_or(|end| entry.log_id.index < end);
            if !within || bytes > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        (start, entries)
    }
}

/// Returns the bytes that an entry takes, about.
fn size(entry: &LogEntry) -> usize {
    ENTRY
        + match &entry.payload {
            EntryPayload::Normal(ProposedCommand(command)) => command.len(),
            EntryPayload::Blank | EntryPayload::Membership(_) => 0,
        }
}
