//! Backlog with a disk that takes nothing for a while: the log is readable all the same.
//!
//! Nobody waits but for writes that must last.

use futures_util::FutureExt;
use openraft::{storage::IOFlushed, storage::RaftLogReader, type_config::TypeConfigExt};
use tokio::{sync::mpsc, time::timeout};

use super::*;
use crate::storage::{
    flusher::{FlushJob, LogFlusher},
    raft_types::Types,
};

/// The log of a folder whose jobs nobody does, and those jobs.
fn standing_still(opened: &OpenedStorage) -> (LogStore, mpsc::Receiver<FlushJob>) {
    let (flusher, jobs) = LogFlusher::standing_still();
    (LogStore::new(opened.log.reader(), flusher), jobs)
}

/// The same with ten entries written, and ten more that are not, in two jobs.
async fn half_written(opened: &mut OpenedStorage) -> (LogStore, mpsc::Receiver<FlushJob>) {
    append(&mut opened.log, commands(1, 0..10)).await;
    let (mut log, jobs) = standing_still(opened);
    append_unflushed(&mut log, commands(1, 10..15)).await;
    append_unflushed(&mut log, commands(1, 15..20)).await;
    (log, jobs)
}

async fn append_unflushed(log: &mut LogStore, entries: Vec<LogEntry>) {
    let (done, _) = Types::oneshot();
    timeout(DEADLINE, log.append(entries, IOFlushed::signal(done)))
        .await
        .expect("it doesn't wait for the disk")
        .unwrap();
}

fn indexes(entries: &[LogEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.log_id.index).collect()
}

// guarantee: FAILOVER-6
#[tokio::test]
async fn unflushed_entries_are_read_after_flushed_ones() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_new(dir.path());
    let (mut log, mut jobs) = half_written(&mut opened).await;

    assert_eq!(entries(&log, ..), commands(1, 0..20));
    assert_eq!(entries(&log, 3..12), commands(1, 3..12));
    assert_eq!(entries(&log, 12..=17), commands(1, 12..18));
    assert_eq!(entries(&log, 5..7), commands(1, 5..7));
    assert!(entries(&log, 20..).is_empty());
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_log_id, Some(log_id(1, 19)));
    // Bounded over the border too: a command takes less than its 64 bytes beside it.
    let read = log.reader().read(8.., 4 * 64).unwrap();
    assert!(read.len() > 1 && read.len() < 12, "{}", read.len());
    assert_eq!(read, commands(1, 8..8 + read.len() as u64));

    // Written after all: as before, from RocksDB now.
    for _ in 0..2 {
        let job = jobs.recv().await.unwrap();
        opened.log.flusher().send(job).await.unwrap();
    }
    opened.log.save_vote(&StoredVote::new(1, 1)).await.unwrap();
    assert_eq!(entries(&log, ..), commands(1, 0..20));
    assert_eq!(entries(&log, 12..=17), commands(1, 12..18));
}

#[tokio::test]
async fn purged_and_committed_count_before_they_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_new(dir.path());
    append(&mut opened.log, commands(1, 0..10)).await;
    let (mut log, _jobs) = standing_still(&opened);
    append_unflushed(&mut log, commands(1, 10..20)).await;
    log.save_committed(Some(log_id(1, 17))).await.unwrap();
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 17)));

    log.purge(log_id(1, 4)).await.unwrap();
    assert_eq!(indexes(&entries(&log, ..)), (5..20).collect::<Vec<_>>());
    log.purge(log_id(1, 14)).await.unwrap();
    assert_eq!(indexes(&entries(&log, ..)), (15..20).collect::<Vec<_>>());
    assert!(entries(&log, ..15).is_empty());
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(1, 14)));
    assert_eq!(state.last_log_id, Some(log_id(1, 19)));

    // As after the snapshot of a leader that is far ahead.
    log.purge(log_id(1, 99)).await.unwrap();
    assert!(entries(&log, ..).is_empty());
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_log_id, Some(log_id(1, 99)));
    append_unflushed(&mut log, commands(1, 100..103)).await;
    assert_eq!(entries(&log, ..), commands(1, 100..103));
    assert_eq!(entries(&log, 101..), commands(1, 101..103));
}

#[tokio::test]
async fn hole_between_database_and_backlog_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_new(dir.path());
    append(&mut opened.log, commands(1, 0..10)).await;
    let (mut log, _jobs) = standing_still(&opened);
    append_unflushed(&mut log, commands(1, 12..15)).await;
    let mut reader = log.reader();
    let told = reader.try_get_log_entries(10..15).await.unwrap_err();
    assert!(told.to_string().contains("entry 10 is missing"), "{told}");
}

// guarantee: FAILOVER-6
#[tokio::test]
async fn backlog_is_bounded_and_appends_wait_for_room() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open_new(dir.path());
    let (mut log, mut jobs) = standing_still(&opened);
    let large = |index| vec![command(1, index, vec![7; 16 << 20])];
    for index in 0..4 {
        append_unflushed(&mut log, large(index)).await;
    }
    {
        let (done, _) = Types::oneshot();
        let mut fifth = Box::pin(log.append(large(4), IOFlushed::signal(done)));
        assert!((&mut fifth).now_or_never().is_none());
        drop(jobs.recv().await.unwrap());
        timeout(DEADLINE, fifth).await.unwrap().unwrap();
    }
    // One that is larger than all room is taken when there is nothing else.
    while jobs.try_recv().is_ok() {}
    append_unflushed(&mut log, vec![command(1, 5, vec![7; 80 << 20])]).await;
}

#[tokio::test]
async fn marks_are_not_written_before_their_entries() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_new(dir.path());
    let (mut log, mut jobs) = half_written(&mut opened).await;
    log.save_committed(Some(log_id(1, 17))).await.unwrap();
    log.purge(log_id(1, 16)).await.unwrap();
    let db = log.reader().db;
    let mut next = async || {
        let job = jobs.recv().await.unwrap();
        opened.log.flusher().send(job).await.unwrap();
        // Whatever was handed over before it is done when a vote is.
        opened.log.save_vote(&StoredVote::new(1, 1)).await.unwrap();
        (db.committed().unwrap(), db.purged().unwrap())
    };
    assert_eq!(next().await, (None, None));
    let both = (Some(log_id(1, 17)), Some(log_id(1, 16)));
    assert_eq!(next().await, both);
    assert_eq!(db.entries(.., usize::MAX).unwrap(), commands(1, 17..20));
    assert_eq!(entries(&log, ..), commands(1, 17..20));
    assert_eq!(next().await, both);
}
