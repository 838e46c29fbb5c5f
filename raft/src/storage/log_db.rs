//! RocksDB as a log: its options, and typed reads and writes.
//!
//! There is one column family, so that its write-ahead log is the one order of everything:
//! what is recovered after a crash is a prefix of what was written.

use std::{
    io,
    ops::{Bound, RangeBounds},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use prost::Message;
use quorate_clock::Instant;
use rocksdb::{
    BlockBasedOptions, DB, DBCompressionType, DBRecoveryMode, Direction, IteratorMode, LogLevel,
    Options, ReadOptions, WriteBatch,
};

use super::{
    convert::{
        MalformedProto, entry_from_proto, entry_to_proto, log_id_from_proto, log_id_to_proto,
        vote_from_proto, vote_to_proto,
    },
    data_folder::DataFolder,
    keys,
    log_counters::LogCounters,
    raft_types::{LogEntry, LogEntryId, StoredVote},
    sealed_record::{self, RecordError},
};

/// Name that RocksDB gives the only column family.
const COLUMN_FAMILY: &str = "default";

/// Open log.
pub(super) struct LogDb {
    rocks: DB,
    pub(super) stats: Arc<LogCounters>,
    // After `rocks`: the lock of the folder goes last.
    _folder: Arc<DataFolder>,
}

fn options(create: bool) -> Options {
    let mut options = Options::default();
    options.create_if_missing(create);
    // Recovery stops at the first record that is not sound, and keeps what is before it.
    // Whether that is enough is decided against the durable mark; see `log_check`.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_paranoid_checks(true);
    // Opens every table at once, which checks its footer and index.
    options.set_max_open_files(-1);
    options.set_write_buffer_size(32 << 20);
    // RocksDB holds up a write when all buffers are full and none is flushed yet, or when
    // tables wait for compaction. So there are several buffers, and many tables may wait:
    // what they cost is a slower start.
    options.set_max_write_buffer_number(5);
    options.set_level_zero_slowdown_writes_trigger(64);
    options.set_level_zero_stop_writes_trigger(128);
    options.set_max_total_wal_size(128 << 20);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_max_background_jobs(2);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    let mut table = BlockBasedOptions::default();
    table.set_block_size(16 << 10);
    options.set_block_based_table_factory(&table);
    options
}

impl LogDb {
    /// Opens the log for use, and makes it if `create` is set.
    pub(super) fn open(folder: Arc<DataFolder>, create: bool) -> Result<LogDb, rocksdb::Error> {
        let rocks = DB::open(&options(create), folder.log())?;
        Ok(LogDb {
            rocks,
            stats: Arc::default(),
            _folder: folder,
        })
    }

    /// Opens the log so that nothing in it is changed, whatever state it is in.
    pub(super) fn open_read_only(folder: Arc<DataFolder>) -> Result<LogDb, rocksdb::Error> {
        let families = [(COLUMN_FAMILY, options(false))];
        let rocks =
            DB::open_cf_with_opts_for_read_only(&options(false), folder.log(), families, false)?;
        Ok(LogDb {
            rocks,
            stats: Arc::default(),
            _folder: folder,
        })
    }

    /// Returns whether there is a log in `dir`.
    pub(super) fn exists(dir: &Path) -> bool {
        dir.join("CURRENT").exists()
    }

    /// Writes without waiting for the disk; readable at once.
    pub(super) fn write(&self, batch: WriteBatch) -> io::Result<()> {
        let begun = Instant::now();
        let result = self.rocks.write(batch).map_err(io::Error::other);
        self.stats.count_write(begun.elapsed());
        result
    }

    /// Makes everything that was written before the call last.
    pub(super) fn sync(&self) -> io::Result<()> {
        let begun = Instant::now();
        self.rocks.flush_wal(true).map_err(io::Error::other)?;
        self.stats.count_fsync(begun.elapsed().as_secs_f64());
        Ok(())
    }

    pub(super) fn vote(&self) -> io::Result<Option<StoredVote>> {
        self.record(keys::VOTE, "the vote", vote_from_proto)
    }

    pub(super) fn purged(&self) -> io::Result<Option<LogEntryId>> {
        self.record(
            keys::PURGED,
            "the record of what is purged",
            log_id_from_proto,
        )
    }

    pub(super) fn committed(&self) -> io::Result<Option<LogEntryId>> {
        self.record(
            keys::COMMITTED,
            "the record of what is committed",
            log_id_from_proto,
        )
    }

    fn record<M: Message + Default, T>(
        &self,
        key: &[u8],
        what: &str,
        read: impl FnOnce(&M) -> Result<T, MalformedProto>,
    ) -> io::Result<Option<T>> {
        let Some(record) = self.rocks.get(key).map_err(io::Error::other)? else {
            return Ok(None);
        };
        let payload = sealed_record::unseal(sealed_record::LOG_RECORD, key, record.into());
        let decoded = payload.and_then(|payload| Ok(read(&sealed_record::decode_whole(payload)?)?));
        decoded.map(Some).map_err(|e| invalid(what, e))
    }

    /// Returns the id of the last entry that is not purged.
    pub(super) fn last(&self) -> io::Result<Option<LogEntryId>> {
        let end = keys::entries_end();
        let mut entries = self
            .rocks
            .iterator(IteratorMode::From(&end, Direction::Reverse));
        let Some(found) = entries.next() else {
            return Ok(None);
        };
        let (key, record) = found.map_err(io::Error::other)?;
        match keys::index_of(&key) {
            Some(index) => Ok(Some(decode_entry(index, record.into())?.log_id)),
            None => Ok(None),
        }
    }

    /// Returns the entries in `range`, in order: at most `max_bytes` of them, but at least one.
    pub(super) fn entries(
        &self,
        range: impl RangeBounds<u64>,
        max_bytes: usize,
    ) -> io::Result<Vec<LogEntry>> {
        let (start, end) = match bounds(range) {
            Some(bounds) => bounds,
            None => return Ok(Vec::new()),
        };
        let mut read = ReadOptions::default();
        match end {
            Some(end) => read.set_iterate_upper_bound(keys::entry(end)),
            None => read.set_iterate_upper_bound(keys::entries_end()),
        }
        let from = keys::entry(start);
        let mode = IteratorMode::From(&from, Direction::Forward);
        let mut entries: Vec<LogEntry> = Vec::new();
        let mut bytes = 0;
        for found in self.rocks.iterator_opt(mode, read) {
            let (key, record) = found.map_err(io::Error::other)?;
            let Some(index) = keys::index_of(&key) else {
                break;
            };
            let expected = entries.last().map_or(start, |last| last.log_id.index + 1);
            if index != expected && !(entries.is_empty() && self.begins_after(start)?) {
                return Err(hole(expected, index));
            }
            bytes += record.len();
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push(decode_entry(index, record.into())?);
        }
        Ok(entries)
    }

    /// Returns whether the log begins behind `start`: nothing stands before it.
    pub(super) fn begins_after(&self, start: u64) -> io::Result<bool> {
        let mut read = ReadOptions::default();
        read.set_iterate_upper_bound(keys::entry(start));
        let found = self.rocks.iterator_opt(IteratorMode::Start, read).next();
        Ok(found.transpose().map_err(io::Error::other)?.is_none())
    }

    /// Calls `f` with every entry behind `purged`, in order, with its place in the log
    /// checked as far as keys go. Every block of every table is read on the way.
    pub(super) fn scan(
        &self,
        purged: Option<LogEntryId>,
        mut f: impl FnMut(LogEntry) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut read = ReadOptions::default();
        // Tables that hold nothing but what was purged are read too: a later compaction
        // would stumble over what is wrong in them. Truncated entries are deleted one by
        // one and stay hidden. Deprecated for bringing no speed, which is not wanted here.
        #[allow(deprecated)]
        read.set_ignore_range_deletions(true);
        read.fill_cache(false);
        let first = purged.map_or(0, |id| id.index + 1);
        for found in self.rocks.iterator_opt(IteratorMode::Start, read) {
            let (key, record) = found.map_err(io::Error::other)?;
            match keys::index_of(&key) {
                Some(index) if index >= first => f(decode_entry(index, record.into())?)?,
                _ => (),
            }
        }
        Ok(())
    }
}

fn invalid(what: &str, e: RecordError) -> io::Error {
    let kind = if e.is_newer() {
        io::ErrorKind::Unsupported
    } else {
        io::ErrorKind::InvalidData
    };
    io::Error::new(kind, format!("{what}: {e}"))
}

pub(super) fn hole(expected: u64, found: u64) -> io::Error {
    let what = format!("entry {expected} is missing: entry {found} stands in its place");
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Returns the first index, and the one behind the last; `None` if the range is empty.
pub(super) fn bounds(range: impl RangeBounds<u64>) -> Option<(u64, Option<u64>)> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.checked_add(1)?,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.checked_add(1),
        Bound::Excluded(end) => Some(*end),
        Bound::Unbounded => None,
    };
    (end.is_none_or(|end| start < end)).then_some((start, end))
}

fn decode_entry(index: u64, record: Bytes) -> io::Result<LogEntry> {
    let key = keys::entry(index);
    let decode = || -> Result<LogEntry, RecordError> {
        let payload = sealed_record::unseal(sealed_record::LOG_RECORD, &key, record)?;
        let entry = entry_from_proto(sealed_record::decode_whole(payload)?)?;
        if entry.log_id.index == index {
            Ok(entry)
        } else {
            Err(RecordError::Undecodable(
                "it tells another index".to_owned(),
            ))
        }
    };
    decode().map_err(|e| invalid(&format!("entry {index}"), e))
}

/// Adds an entry to a batch.
pub(super) fn put_entry(batch: &mut WriteBatch, entry: &LogEntry) {
    let key = keys::entry(entry.log_id.index);
    put(batch, &key, &entry_to_proto(entry));
}

pub(super) fn put_vote(batch: &mut WriteBatch, vote: &StoredVote) {
    put(batch, keys::VOTE, &vote_to_proto(vote));
}

pub(super) fn put_log_id(batch: &mut WriteBatch, key: &[u8], id: &LogEntryId) {
    put(batch, key, &log_id_to_proto(id));
}

fn put(batch: &mut WriteBatch, key: &[u8], message: &impl Message) {
    let record = sealed_record::seal(sealed_record::LOG_RECORD, key, |out| {
        message
            .encode(out)
            .expect("invariant: a vector grows as far as it has to");
    });
    batch.put(key, record);
}
