//! The log as openraft writes it.

use std::{io, sync::Arc};

use openraft::{
    LogState, OptionalSend,
    storage::{IOFlushed, RaftLogStorage},
};
use quorate_planted::{Mutant, planted};
use rocksdb::WriteBatch;

use super::{
    db::{self, Db},
    flusher::{Flusher, Job},
    keys,
    reader::LogReader,
    stats::Stats,
    types::{Entry, LogId, Types, Vote},
};

/// The log of one member: entries, vote, and what is purged and committed.
///
/// Entries are readable when `append` returns and flushed when its callback is called; a
/// vote or a truncation lasts when it returns.
pub(crate) struct LogStore {
    db: Arc<Db>,
    flusher: Flusher,
}

impl LogStore {
    pub(super) fn new(db: Arc<Db>, flusher: Flusher) -> LogStore {
        LogStore { db, flusher }
    }

    /// What the log has done since it was opened.
    pub(crate) fn stats(&self) -> Arc<Stats> {
        self.db.stats.clone()
    }

    /// A reader, to be had without waiting.
    pub(crate) fn reader(&self) -> LogReader {
        LogReader::new(self.db.clone())
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let last_purged_log_id = self.db.purged()?;
        let last = self.db.last()?;
        Ok(LogState {
            last_purged_log_id,
            last_log_id: last.or(last_purged_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        if planted(Mutant::VoteNotPersisted) {
            return Ok(());
        }
        self.db.put_vote(vote)?;
        let vote = *vote;
        self.flusher.call(|done| Job::Voted { vote, done }).await
    }

    /// Needs no fsync: what is lost is learnt again from the leader.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let mut batch = WriteBatch::default();
        match committed {
            Some(id) => db::put_log_id(&mut batch, keys::COMMITTED, &id),
            None => batch.delete(keys::COMMITTED),
        }
        self.db.write(batch)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.db.committed()
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let (batch, last, count) = {
            let mut batch = WriteBatch::default();
            let mut last = None;
            let mut count = 0;
            for entry in entries {
                db::put_entry(&mut batch, &entry);
                #[cfg(feature = "mutants")]
                crate::early::appended(&entry);
                last = Some(entry.log_id);
                count += 1;
            }
            (batch, last, count)
        };
        let Some(last) = last else {
            flushed.io_completed(Ok(()));
            return Ok(());
        };
        self.db.write(batch)?;
        self.db.stats.count_entries(count);
        self.flusher.send(Job::Appended { last, flushed }).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let after = last_log_id;
        self.flusher
            .call(|done| Job::Truncate { after, done })
            .await
    }

    /// One write that says what is purged and deletes it: a crash leaves both or neither.
    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let mut batch = WriteBatch::default();
        db::put_log_id(&mut batch, keys::PURGED, &upto);
        batch.delete_range(keys::entry(0), keys::entry(upto.index + 1));
        self.db.write(batch)
    }
}
