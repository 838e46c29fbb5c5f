//! Writer of the connectors' progress into the replicated state.
//!
//! Reports are gathered for a [`TICK`] and written as one command, only the latest of each
//! connector: a report that comes meanwhile replaces the one before, and goes into the next
//! command. So no report waits longer than a tick, a write under way and its own write, up to
//! [`ADVANCE_MAX`] connectors and [`ADVANCE_BYTES_MAX`] bytes; beyond that connectors take turns.
//! Where a release waits nothing is gathered. Progress is written under the epoch under which it
//! was reported, so that nothing of a former holder stands in the way of its successor.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_state::{ADVANCE_BYTES_MAX, ADVANCE_MAX, ConnectorProgress, PROGRESS_BYTES_MAX};
use quorate_types::backoff::Backoff;
use tokio::{
    sync::Notify,
    time::{sleep, sleep_until, timeout},
};
use tracing::{debug, warn};

use super::{connector_spec::ConnectorKey, reign_driver::CommandProposer};

/// Time between the beginnings of two writes, unless a release waits. It bounds the entries in the
/// log, however many connectors there are.
const TICK: Duration = Duration::from_millis(100);
/// Deadline of one write.
const ANSWER: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(2);
/// Longest time for which a release waits for unwritten progress. Without the progress messages
/// are repeated or tried once more; a release that has waited in vain loses nothing else.
const PATIENCE: Duration = Duration::from_secs(1);

/// Progress that one connector has reported and that is not written yet.
#[derive(Clone, PartialEq)]
struct PendingProgress {
    created: u64,
    epoch: u64,
    progress: Bytes,
}

/// Progress that connectors have reported and that is to be written.
#[derive(Default)]
pub(crate) struct ProgressWriter {
    waiting: Mutex<ProgressQueue>,
    changed: Notify,
    hurried: Notify,
}

#[derive(Default)]
struct ProgressQueue {
    unwritten: BTreeMap<ConnectorKey, PendingProgress>,
    /// Time of the last report.
    last: Option<Instant>,
}

/// Content of one command, all of it reported under one epoch.
struct ProgressBatch {
    epoch: u64,
    progress: Vec<(ConnectorKey, PendingProgress)>,
}

impl ProgressBatch {
    fn connectors(&self) -> Vec<ConnectorProgress> {
        let one = |(key, unwritten): &(ConnectorKey, PendingProgress)| {
            Some(ConnectorProgress {
                // A connector is of a kind of resource.
                kind: key.kind.parse().ok()?,
                name: key.name.clone(),
                created: unwritten.created,
                progress: unwritten.progress.clone(),
            })
        };
        self.progress.iter().filter_map(one).collect()
    }
}

impl ProgressWriter {
    /// Takes the progress of the connector that was created at this revision, as reported under
    /// this epoch.
    pub(crate) fn set(&self, key: &ConnectorKey, (created, epoch): (u64, u64), progress: Bytes) {
        if progress.len() > PROGRESS_BYTES_MAX {
            // The command would be refused, with everything else in it.
            let bytes = progress.len();
            warn!(connector = %key, bytes, most = PROGRESS_BYTES_MAX, "its progress is too long to be written");
            return;
        }
        let mut waiting = self.waiting.lock();
        let newer = waiting.unwritten.get(key);
        if newer.is_some_and(|it| (it.epoch, it.created) > (epoch, created)) {
            return;
        }
        let unwritten = PendingProgress {
            created,
            epoch,
            progress,
        };
        waiting.unwritten.insert(key.clone(), unwritten);
        waiting.last = Some(Instant::now());
        drop(waiting);
        self.changed.notify_one();
    }

    /// Returns until when a release is to wait for unwritten progress.
    pub(crate) fn wanted_until(&self) -> Option<Instant> {
        self.waiting.lock().last.map(|last| last + PATIENCE)
    }

    /// Stops gathering: a release waits.
    pub(crate) fn hurry(&self) {
        self.hurried.notify_one();
    }

    /// Returns the last progress that the connector of this creation reported under this epoch, if
    /// that is not written yet.
    pub(crate) fn unwritten(&self, key: &ConnectorKey, of: (u64, u64)) -> Option<Bytes> {
        let waiting = self.waiting.lock();
        let reported = waiting.unwritten.get(key);
        let reported = reported.filter(|it| (it.created, it.epoch) == of);
        reported.map(|it| it.progress.clone())
    }

    /// Returns the next batch, beginning after the connector `last`: each connector has its turn,
    /// however often others report.
    fn next(&self, last: Option<&ConnectorKey>) -> Option<ProgressBatch> {
        let waiting = self.waiting.lock();
        let after = |key: &ConnectorKey| last.is_none_or(|last| key > last);
        let from_there = waiting.unwritten.iter().filter(|(key, _)| after(key));
        let before = waiting.unwritten.iter().filter(|(key, _)| !after(key));
        let mut in_turn = from_there.chain(before).peekable();
        let epoch = in_turn.peek()?.1.epoch;
        let mut bytes = 0;
        let fits = |(_, it): &(&ConnectorKey, &PendingProgress)| {
            bytes += it.progress.len();
            bytes <= ADVANCE_BYTES_MAX
        };
        let of_one_epoch = in_turn.filter(|(_, it)| it.epoch == epoch);
        let taken = of_one_epoch.take_while(fits).take(ADVANCE_MAX);
        let progress = taken.map(|(key, it)| (key.clone(), it.clone()));
        Some(ProgressBatch {
            epoch,
            progress: progress.collect(),
        })
    }

    /// Forgets a batch that was written, or can't be any more.
    fn done(&self, batch: ProgressBatch) {
        let mut waiting = self.waiting.lock();
        for (key, written) in batch.progress {
            if waiting.unwritten.get(&key) == Some(&written) {
                waiting.unwritten.remove(&key);
            }
        }
        if waiting.unwritten.is_empty() {
            waiting.last = None;
        }
    }

    /// Writes for as long as this member runs connectors. Calls `written` when nothing is left to
    /// be written.
    pub(crate) async fn run(
        self: Arc<Self>,
        proposer: Arc<dyn CommandProposer>,
        written: impl Fn(),
    ) {
        let mut retry = Backoff::new(RETRY_FIRST, RETRY_LAST);
        let mut last: Option<ConnectorKey> = None;
        loop {
            let Some(batch) = self.next(last.as_ref()) else {
                written();
                self.changed.notified().await;
                continue;
            };
            let began = Instant::now();
            let deadline = began + ANSWER;
            let writing = proposer.advance(batch.epoch, batch.connectors(), deadline);
            last = batch.progress.last().map(|(key, _)| key.clone());
            match timeout(ANSWER, writing).await {
                Ok(Ok(())) => {
                    retry.reset();
                    self.done(batch);
                    if self.wanted_until().is_none() {
                        // Nothing is left, and a release may wait for that.
                        written();
                    }
                    tokio::select! {
                        () = sleep_until(began + TICK) => {}
                        () = self.hurried.notified() => {}
                    }
                    continue;
                }
                Ok(Err(error)) => debug!(%error, "the progress of connectors is not written yet"),
                Err(_) => debug!("the progress of connectors was not written in time"),
            }
            sleep(retry.step()).await;
        }
    }
}

#[cfg(test)]
mod tests;
