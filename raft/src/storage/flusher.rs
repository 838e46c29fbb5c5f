//! Flusher: the one thread that writes the log, and waits for the disk.
//!
//! All that is to stand in the log is handed to this thread, readable meanwhile from the
//! [`backlog`](super::backlog); the thread writes it and makes it last. While the thread waits
//! for one fsync more appends arrive, and the next write and fsync are for all of them. Votes,
//! truncations and all else pass through the same queue, so that everything happens in the
//! order in which it was asked for.
//!
//! A vote lasts by the mark (see [`durable_mark`](super::durable_mark)), not by the log: one
//! small write in place, instead of one that makes the log grow and another for the mark.
//! That a vote has become that of a leader, elected by a quorum, needs no disk at all where
//! the vote itself is under the mark: it binds this member to nothing new. A member that
//! forgets it has still voted for that candidate in that term, grants nothing that it would
//! not have granted, and hears of the leader with its next append. But openraft takes a vote
//! that lasts to mean that everything before it does, so appends that wait in front of a
//! vote are made to last first.
//!
//! After a failed fsync nobody knows what is on the disk, and another fsync may succeed without
//! cause. So the first failure is the last: everything after it fails too.

use std::{io, thread, time::Duration};

use openraft::storage::IOFlushed;
use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};
use rocksdb::WriteBatch;
use tokio::{
    runtime,
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time,
};

use super::{
    backlog::{BacklogPermit, ROOM},
    durable_mark::{DurableMark, DurableMarkFile, LAG},
    keys, log_db,
    raft_types::{LogEntry, LogEntryId, StoredVote, Types},
    reader::LogReader,
};

/// Number of appends that may wait for the disk: each takes some of the backlog's room, which is
/// over before this is.
const QUEUE: usize = ROOM as usize + 64;

/// Number of jobs that are done together.
const GROUP: usize = 4096;

/// Job for the thread: something to be written.
pub(super) enum FlushJob {
    /// Entries, one at least, to be made last.
    Appended {
        entries: Vec<LogEntry>,
        /// Their part of the backlog's room.
        room: BacklogPermit,
        flushed: IOFlushed<Types>,
    },
    /// Nothing but the marks that the backlog has to be written beside entries; they may be lost
    /// again.
    Marks,
    /// A vote, which lasts once it is under the mark.
    Voted {
        vote: StoredVote,
        done: oneshot::Sender<io::Result<()>>,
    },
    /// The entries behind `after`, up to index `last`, are to be deleted.
    Truncate {
        after: Option<LogEntryId>,
        done: oneshot::Sender<io::Result<()>>,
    },
}

/// Sender to the thread, which ends when the last sender is dropped.
#[derive(Clone)]
pub(super) struct LogFlusher(mpsc::Sender<FlushJob>);

impl LogFlusher {
    pub(super) fn start(
        log: LogReader,
        file: DurableMarkFile,
        mark: DurableMark,
    ) -> io::Result<LogFlusher> {
        let clock = runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let mut state = FlusherState {
            log,
            file,
            mark,
            synced: Instant::now(),
            dirty: None,
            failed: None,
        };
        thread::Builder::new()
            .name("log-flusher".to_owned())
            .spawn(move || clock.block_on(state.run(queue)))?;
        Ok(LogFlusher(jobs))
    }

    /// Makes a flusher whose jobs are taken by the holder of the other end alone.
    #[cfg(test)]
    pub(super) fn standing_still() -> (LogFlusher, mpsc::Receiver<FlushJob>) {
        let (jobs, queue) = mpsc::channel(QUEUE);
        (LogFlusher(jobs), queue)
    }

    /// Hands a job over; waits while the queue is full.
    pub(super) async fn send(&self, job: FlushJob) -> io::Result<()> {
        let sent = self.0.send(job).await;
        sent.map_err(|_| ended())
    }

    /// Has the marks in the backlog written, and waits for nothing: where the queue is full, they
    /// go with what is in it.
    pub(super) fn request_marks(&self) -> io::Result<()> {
        match self.0.try_send(FlushJob::Marks) {
            Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(ended()),
        }
    }

    /// Hands over a job that is answered, and waits for the answer.
    pub(super) async fn call(
        &self,
        job: impl FnOnce(oneshot::Sender<io::Result<()>>) -> FlushJob,
    ) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.send(job(done)).await?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

fn ended() -> io::Error {
    io::Error::other("the thread that writes the log to disk has ended")
}

struct FlusherState {
    log: LogReader,
    file: DurableMarkFile,
    /// The mark by now.
    mark: DurableMark,
    /// Time at which entries were made to last the last time.
    synced: Instant,
    /// Time since which the file is behind.
    dirty: Option<Instant>,
    failed: Option<String>,
}

impl FlusherState {
    async fn run(&mut self, mut queue: mpsc::Receiver<FlushJob>) {
        let mut group = Vec::new();
        loop {
            let first = match self.dirty {
                None => queue.recv().await,
                Some(since) => {
                    let due = since + LAG;
                    match time::timeout_at(due, queue.recv()).await {
                        Ok(job) => job,
                        Err(_) => {
                            self.write_mark_or_fail();
                            continue;
                        }
                    }
                }
            };
            let Some(first) = first else {
                break;
            };
            group.push(first);
            while group.len() < GROUP
                && let Ok(job) = queue.try_recv()
            {
                group.push(job);
            }
            self.run_group(&mut group);
            if self.dirty.is_some_and(|since| since.elapsed() >= LAG) {
                self.write_mark_or_fail();
            }
        }
        if self.dirty.is_some() {
            self.write_mark_or_fail();
        }
    }

    /// Runs jobs in order, with one fsync for as many as possible.
    fn run_group(&mut self, group: &mut Vec<FlushJob>) {
        let mut waiting = Vec::new();
        for job in group.drain(..) {
            match job {
                FlushJob::Truncate { after, done } => {
                    self.flush(&mut waiting);
                    let result = self.or_failed(|state| state.truncate(after));
                    let _ = done.send(result);
                }
                job => waiting.push(job),
            }
        }
        self.flush(&mut waiting);
    }

    /// Does at most one write and one fsync of the log and one of the mark for all that wait, and
    /// then answers them.
    fn flush(&mut self, waiting: &mut Vec<FlushJob>) {
        if waiting.is_empty() {
            return;
        }
        let result = self.or_failed(|state| state.write(waiting));
        for job in waiting.drain(..) {
            let result = copy(&result);
            match job {
                FlushJob::Appended { room, flushed, .. } => {
                    drop(room);
                    flushed.io_completed(result);
                }
                FlushJob::Voted { done, .. } | FlushJob::Truncate { done, .. } => {
                    let _ = done.send(result);
                }
                // The next append fails.
                FlushJob::Marks => (),
            }
        }
    }

    fn write(&mut self, waiting: &[FlushJob]) -> io::Result<()> {
        let mut batch = WriteBatch::default();
        let (mut last, mut count, mut given) = (None, 0, false);
        let mut mark = self.mark;
        for job in waiting {
            match job {
                FlushJob::Appended { entries, .. } => {
                    for entry in entries {
                        log_db::put_entry(&mut batch, entry);
                        last = Some(entry.log_id);
                    }
                    count += entries.len();
                }
                FlushJob::Voted { vote, .. } => {
                    log_db::put_vote(&mut batch, vote);
                    let known = mark.vote.map(|vote| vote.leader_id);
                    given |= known != Some(vote.leader_id);
                    mark.vote = Some(*vote);
                }
                FlushJob::Truncate { .. } | FlushJob::Marks => (),
            }
        }
        let beside = self.log.backlog.take_unwritten(last, count);
        match beside.committed {
            Some(Some(id)) => log_db::put_log_id(&mut batch, keys::COMMITTED, &id),
            Some(None) => batch.delete(keys::COMMITTED),
            None => (),
        }
        if let Some(upto) = beside.purged {
            // After the entries, of which some may be meant. One write that marks what is purged
            // and deletes it: a crash leaves both or neither.
            log_db::put_log_id(&mut batch, keys::PURGED, &upto);
            batch.delete_range(keys::entry(0), keys::entry(upto.index + 1));
        }
        self.log.db.write(batch)?;
        if let Some(last) = last {
            self.log.backlog.written(last, count);
            let unsynced =
                planted(Mutant::LogNotSynced) && self.synced.elapsed() < Duration::from_secs(1);
            if !unsynced {
                self.log.db.sync()?;
                self.synced = Instant::now();
                mark.last = Some(last);
            }
        }
        if mark != self.mark {
            self.mark = mark;
            self.dirty.get_or_insert_with(Instant::now);
        }
        // A vote is given only once it is under the mark.
        if given { self.write_mark() } else { Ok(()) }
    }

    /// Lowers the mark, then deletes, each made last before the next.
    fn truncate(&mut self, after: Option<LogEntryId>) -> io::Result<()> {
        let first = after.map_or(0, |id| id.index + 1);
        if self.mark.last.is_some_and(|last| last.index >= first) {
            self.mark.last = after;
            self.write_mark()?;
        }
        let Some(last) = self.log.db.last()? else {
            return Ok(());
        };
        // One by one: `LogDb::scan` looks under range deletions.
        let mut batch = WriteBatch::default();
        for index in first..=last.index {
            batch.delete(keys::entry(index));
        }
        self.log.db.write(batch)?;
        self.log.db.sync()
    }

    fn write_mark(&mut self) -> io::Result<()> {
        self.file.write(&self.mark)?;
        self.dirty = None;
        Ok(())
    }

    fn write_mark_or_fail(&mut self) {
        // The next append fails.
        let _ = self.or_failed(FlusherState::write_mark);
        self.dirty = None;
    }

    fn or_failed(&mut self, f: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        if let Some(failed) = &self.failed {
            let what = format!("the log could not be written to disk before: {failed}");
            return Err(io::Error::other(what));
        }
        let result = f(self);
        if let Err(e) = &result {
            tracing::error!(error = %e, "the log could not be written to disk; it takes nothing more");
            self.failed = Some(e.to_string());
        }
        result
    }
}

fn copy(result: &io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(e) => Err(io::Error::new(e.kind(), e.to_string())),
    }
}
