//! Log reader: the log as openraft reads it, to replicate and to apply.
//!
//! Replication reads with `limited_get_log_entries`, applying with `entries_stream`; the
//! latter reads a part at a time, however long the range is.

use std::{collections::VecDeque, fmt::Debug, io, ops::RangeBounds, sync::Arc};

use futures_util::stream::{self, Stream};
use openraft::{
    OptionalSend,
    errors::LeaderChanged,
    storage::{LeaderBoundedStreamError, RaftLogReader},
};

use super::{
    backlog::LogBacklog,
    log_db::{self, LogDb},
    raft_types::{LeaderId, LogEntry, StoredVote, Types},
};

/// Bytes that are read at once, unless a single entry is larger.
pub(super) const BATCH_BYTES: usize = 2 << 20;

/// Reads the log. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LogReader {
    pub(super) db: Arc<LogDb>,
    pub(super) backlog: Arc<LogBacklog>,
}

impl LogReader {
    pub(super) fn new(db: Arc<LogDb>) -> LogReader {
        LogReader {
            db,
            backlog: Arc::new(LogBacklog::new()),
        }
    }

    /// Returns the entries in `range`: at most `max_bytes` of them, but at least one.
    pub(crate) fn read(
        &self,
        range: impl RangeBounds<u64>,
        max_bytes: usize,
    ) -> io::Result<Vec<LogEntry>> {
        self.backlog.entries(&self.db, range, max_bytes)
    }

    fn stream<E: From<io::Error>>(
        &self,
        range: impl RangeBounds<u64>,
        check: impl Fn(&LogDb) -> Result<(), E>,
    ) -> impl Stream<Item = Result<LogEntry, E>> {
        let rest = RemainingEntries {
            reader: self.clone(),
            check,
            bounds: log_db::bounds(range),
            read: VecDeque::new(),
        };
        stream::try_unfold(rest, |mut rest| async move {
            Ok(rest.next()?.map(|entry| (entry, rest)))
        })
    }
}

/// Part of a stream that is still to be read.
struct RemainingEntries<F> {
    reader: LogReader,
    check: F,
    bounds: Option<(u64, Option<u64>)>,
    read: VecDeque<LogEntry>,
}

impl<F> RemainingEntries<F> {
    fn next<E>(&mut self) -> Result<Option<LogEntry>, E>
    where
        E: From<io::Error>,
        F: Fn(&LogDb) -> Result<(), E>,
    {
        if self.read.is_empty()
            && let Some((start, end)) = self.bounds
        {
            (self.check)(&self.reader.db)?;
            let entries = match end {
                Some(end) => self.reader.read(start..end, BATCH_BYTES)?,
                None => self.reader.read(start.., BATCH_BYTES)?,
            };
            (self.check)(&self.reader.db)?;
            let next = entries.last().map(|last| last.log_id.index + 1);
            self.bounds = next
                .filter(|next| end.is_none_or(|end| *next < end))
                .map(|next| (next, end));
            self.read = entries.into();
        }
        Ok(self.read.pop_front())
    }
}

impl RaftLogReader<Types> for LogReader {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<LogEntry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.read(range, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<LogEntry>> {
        self.read(start..end, BATCH_BYTES)
    }

    async fn read_vote(&mut self) -> io::Result<Option<StoredVote>> {
        self.db.vote()
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<LogEntry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.stream(range, |_| Ok(()))
    }

    /// Streams entries while `leader` leads. openraft 0.10.0-alpha.37 replicates with
    /// `limited_get_log_entries` and does not use this.
    async fn leader_bounded_stream<RB>(
        &mut self,
        leader: LeaderId,
        range: RB,
    ) -> impl Stream<Item = Result<LogEntry, LeaderBoundedStreamError<Types>>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.stream(range, move |db: &LogDb| match db.vote()? {
            Some(vote) if vote.committed && vote.leader_id == leader => Ok(()),
            vote => Err(LeaderChanged::new(leader, vote).into()),
        })
    }
}
