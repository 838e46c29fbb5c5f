//! Log store: the log as openraft writes it.

use std::{io, sync::Arc};

use openraft::{
    LogState, OptionalSend,
    storage::{IOFlushed, RaftLogStorage},
};
use quorate_planted::{Mutant, planted};

use super::{
    flusher::{FlushJob, LogFlusher},
    log_counters::LogCounters,
    raft_types::{LogEntry, LogEntryId, StoredVote, Types},
    reader::LogReader,
};

/// Log of one member: entries, vote, and what is purged and committed.
///
/// Entries are readable when `append` returns and flushed when its callback is called; a
/// vote or a truncation lasts when it returns. Nothing else waits for the disk.
pub(crate) struct LogStore {
    reader: LogReader,
    flusher: LogFlusher,
}

impl LogStore {
    pub(super) fn new(reader: LogReader, flusher: LogFlusher) -> LogStore {
        LogStore { reader, flusher }
    }

    #[cfg(test)]
    pub(super) fn flusher(&self) -> &LogFlusher {
        &self.flusher
    }

    /// Returns the counters of what the log has done since it was opened.
    pub(crate) fn stats(&self) -> Arc<LogCounters> {
        self.reader.db.stats.clone()
    }

    /// Returns a reader, without waiting.
    pub(crate) fn reader(&self) -> LogReader {
        self.reader.clone()
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let LogReader { db, backlog } = &self.reader;
        let last_purged_log_id = backlog.purged(db)?;
        let last = backlog.last(db)?;
        Ok(LogState {
            last_purged_log_id,
            last_log_id: last.or(last_purged_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader()
    }

    async fn save_vote(&mut self, vote: &StoredVote) -> io::Result<()> {
        if planted(Mutant::VoteNotPersisted) {
            return Ok(());
        }
        let vote = *vote;
        self.flusher
            .call(|done| FlushJob::Voted { vote, done })
            .await
    }

    /// Saves without an fsync: what is lost is learnt again from the leader.
    async fn save_committed(&mut self, committed: Option<LogEntryId>) -> io::Result<()> {
        self.reader.backlog.commit(committed);
        self.flusher.request_marks()
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogEntryId>> {
        self.reader.backlog.committed(&self.reader.db)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<LogEntry> = entries.into_iter().collect();
        if entries.is_empty() {
            flushed.io_completed(Ok(()));
            return Ok(());
        }
        let LogReader { db, backlog } = &self.reader;
        #[cfg(feature = "mutants")]
        entries.iter().for_each(|it| db.stats.early.appended(it));
        let room = backlog.room_for(&entries).await?;
        backlog.append(&entries);
        db.stats.count_entries(entries.len() as u64);
        let appended = FlushJob::Appended {
            entries,
            room,
            flushed,
        };
        self.flusher.send(appended).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogEntryId>) -> io::Result<()> {
        let after = last_log_id;
        self.flusher
            .call(|done| FlushJob::Truncate { after, done })
            .await
    }

    async fn purge(&mut self, upto: LogEntryId) -> io::Result<()> {
        self.reader.backlog.purge(upto);
        self.flusher.request_marks()
    }
}
