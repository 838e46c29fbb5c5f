//! Check of a log at open, before anything is changed: whether it can be trusted.
//!
//! # The argument
//!
//! A tail of the write-ahead log that was never fsynced may be missing after a crash: it was
//! never acknowledged, but for a vote, which the mark has. Everything else must not be
//! missing. RocksDB, asked to recover to a point in time, stops at the first record that is
//! not sound and drops what follows; alone it can't say whether that was a torn tail or the
//! middle of the log, and some damage (a header turned to zeros, a wrong length near the end
//! of a block) it takes for an end without a word. So the whole log is read once, and must
//! satisfy:
//!
//! 1. Every record is sealed with a checksum of its own, over its key too: it is read as it
//!    was written, under the key under which it was written.
//! 2. Entries follow each other without a hole from the one behind `purged`, and their
//!    leaders never go back: a lost write in the middle, or an undone truncation, shows.
//! 3. The log reaches the acknowledged mark (see [`durable_mark`](super::durable_mark)): the
//!    very entry under the mark is there, or purged behind a snapshot. A log cut below what
//!    was promised shows. A vote is not missed in the log: the mark has it.
//! 4. The newest snapshot is sound and reaches `purged`: it has what the log lacks at its
//!    beginning. `committed` is not beyond log and snapshot.
//!
//! The manifest is fsynced with every change and changes seldom, so a torn one is taken for
//! damage without asking further.
//!
//! A torn tail passes: it lies above the mark and takes only what follows it. (If the disk
//! has lost a part of the tail and kept a later one, RocksDB can step over the gap; then 2
//! refuses what could have been cut. That errs on the safe side.) Any other loss, in any file
//! of the log, either breaks one of these, or has taken nothing that counts: the log is then
//! the one before some write that was acknowledged to nobody. Tables are read to the last
//! block, so that rot is found at the start and not by a compaction later. All this happens on
//! a read-only view: a log that is refused stays as it was.

use std::io;

use super::{
    durable_mark::DurableMark,
    log_db::{LogDb, hole},
    raft_types::{LogEntryId, StoredVote},
};

/// Promise that a log does not keep.
#[derive(Debug, thiserror::Error)]
pub(super) enum BrokenPromise {
    #[error("entry {0} was acknowledged, but the log has {1}")]
    OtherEntry(LogEntryId, LogEntryId),

    #[error("entry {0} was acknowledged, but the log ends with {1}")]
    EndsBefore(LogEntryId, LogEntryId),

    #[error("entry {0} was acknowledged, but the log is empty")]
    Empty(LogEntryId),

    #[error(
        "the log begins behind entry {0}, which needs a snapshot up to there, but there is none"
    )]
    NoSnapshot(LogEntryId),

    #[error(
        "the log begins behind entry {0}, which needs a snapshot up to there, but the newest \
         ends with entry {1}"
    )]
    OldSnapshot(LogEntryId, LogEntryId),

    #[error("entry {0} was committed, but the log ends before it")]
    Committed(LogEntryId),
}

/// Contents of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LogContents {
    pub(super) vote: Option<StoredVote>,
    pub(super) purged: Option<LogEntryId>,
    pub(super) committed: Option<LogEntryId>,
    pub(super) last: Option<LogEntryId>,
    /// The entry at the index of the mark.
    at_mark: Option<LogEntryId>,
}

impl LogContents {
    /// Reads all of a log (1 and 2).
    pub(super) fn read(db: &LogDb, mark: &DurableMark) -> io::Result<LogContents> {
        let purged = db.purged()?;
        let mut contents = LogContents {
            vote: db.vote()?,
            purged,
            committed: db.committed()?,
            last: purged,
            at_mark: None,
        };
        db.scan(purged, |entry| {
            let id = entry.log_id;
            let expected = contents.last.map_or(0, |last| last.index + 1);
            if id.index != expected {
                return Err(hole(expected, id.index));
            }
            if let Some(last) = contents.last
                && id.leader_id < last.leader_id
            {
                let what = format!("entry {id} follows entry {last} of a later leader");
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            if mark.last.is_some_and(|last| last.index == id.index) {
                contents.at_mark = Some(id);
            }
            contents.last = Some(id);
            Ok(())
        })?;
        Ok(contents)
    }

    /// Returns whether nothing was ever written to the log.
    pub(super) fn is_pristine(&self) -> bool {
        *self == LogContents::default()
    }

    /// Compares the log with what was promised (3 and 4).
    pub(super) fn check_promises(
        &self,
        mark: &DurableMark,
        snapshot: Option<LogEntryId>,
    ) -> Result<(), BrokenPromise> {
        if let Some(promised) = mark.last {
            let purged = self.purged.is_some_and(|id| id.index >= promised.index);
            if !purged && self.at_mark != Some(promised) {
                return Err(match (self.at_mark, self.last) {
                    (Some(other), _) => BrokenPromise::OtherEntry(promised, other),
                    (None, Some(last)) => BrokenPromise::EndsBefore(promised, last),
                    (None, None) => BrokenPromise::Empty(promised),
                });
            }
        }
        if let Some(purged) = self.purged {
            match snapshot {
                None => return Err(BrokenPromise::NoSnapshot(purged)),
                Some(newest) if newest.index < purged.index => {
                    return Err(BrokenPromise::OldSnapshot(purged, newest));
                }
                Some(_) => {}
            }
        }
        if let Some(committed) = self.committed {
            let reach = self
                .last
                .map(|id| id.index)
                .max(snapshot.map(|id| id.index));
            if reach.is_none_or(|reach| reach < committed.index) {
                return Err(BrokenPromise::Committed(committed));
            }
        }
        Ok(())
    }
}
