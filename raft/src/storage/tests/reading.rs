//! Reads of the log: bounds, batches, streams.

use futures_util::StreamExt;
use openraft::storage::{LeaderBoundedStreamError, RaftLogReader};

use super::*;
use crate::storage::reader::BATCH_BYTES;

const BIG: usize = BATCH_BYTES / 2 - 100;

/// Ten entries of nearly half a batch each, and a single one of three batches.
async fn big(dir: &Path) -> OpenedStorage {
    let mut opened = open_new(dir);
    let log = &mut opened.log;
    save_vote(log, 1).await;
    for index in 0..10 {
        append(log, vec![command(1, index, vec![7; BIG])]).await;
    }
    append(log, vec![command(1, 10, vec![7; 3 * BATCH_BYTES])]).await;
    opened
}

fn indexes(entries: &[LogEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.log_id.index).collect()
}

#[tokio::test]
async fn batch_is_bounded_but_never_empty() {
    let dir = tempfile::tempdir().unwrap();
    let opened = big(dir.path()).await;
    let mut reader = opened.log.reader();
    let batch = reader.limited_get_log_entries(0, 11).await.unwrap();
    assert_eq!(indexes(&batch), [0, 1]);
    let batch = reader.limited_get_log_entries(9, 11).await.unwrap();
    assert_eq!(indexes(&batch), [9]);
    let batch = reader.limited_get_log_entries(10, 11).await.unwrap();
    assert_eq!(indexes(&batch), [10]);
    let all = reader.try_get_log_entries(..).await.unwrap();
    assert_eq!(all.len(), 11);
    assert!(reader.try_get_log_entries(5..5).await.unwrap().is_empty());
    assert_eq!(
        indexes(&reader.try_get_log_entries(4..=5).await.unwrap()),
        [4, 5]
    );
}

#[tokio::test]
async fn streams_bring_everything_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let opened = big(dir.path()).await;
    let mut reader = opened.log.reader();
    let stream = reader.entries_stream(2..11).await;
    let read: Vec<LogEntry> = stream.map(Result::unwrap).collect().await;
    assert_eq!(indexes(&read), (2..11).collect::<Vec<_>>());
}

#[tokio::test]
async fn leader_stream_ends_with_its_leadership() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = big(dir.path()).await;
    let leader = LeaderId {
        term: 1,
        node_id: 1,
    };
    let mut reader = opened.log.reader();
    {
        let stream = reader.leader_bounded_stream(leader, ..).await;
        futures_util::pin_mut!(stream);
        assert_eq!(stream.next().await.unwrap().unwrap().log_id.index, 0);
        save_vote(&mut opened.log, 2).await;
        // The second entry was read with the first.
        assert_eq!(stream.next().await.unwrap().unwrap().log_id.index, 1);
        let changed = stream.next().await.unwrap().unwrap_err();
        assert!(
            matches!(changed, LeaderBoundedStreamError::LeaderChanged(_)),
            "{changed}"
        );
        assert!(stream.next().await.is_none());
    }
    let stream = reader.leader_bounded_stream(leader, ..).await;
    futures_util::pin_mut!(stream);
    assert!(stream.next().await.unwrap().is_err());
}

#[tokio::test]
async fn truncated_and_purged_entries_are_gone_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_new(dir.path());
    let log = &mut opened.log;
    save_vote(log, 1).await;
    append(log, commands(1, 0..100)).await;
    log.truncate_after(Some(log_id(1, 79))).await.unwrap();
    save_vote(log, 2).await;
    append(log, commands(2, 80..90)).await;
    log.purge(log_id(1, 49)).await.unwrap();
    let read = entries(log, ..);
    assert_eq!(indexes(&read), (50..90).collect::<Vec<_>>());
    assert_eq!(read[30].log_id, log_id(2, 80));
    assert!(entries(log, 0..10).is_empty());
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(1, 49)));
    assert_eq!(state.last_log_id, Some(log_id(2, 89)));

    log.purge(log_id(2, 89)).await.unwrap();
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_log_id, Some(log_id(2, 89)));
    assert!(entries(log, ..).is_empty());
    log.truncate_after(None).await.unwrap();
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_log_id, Some(log_id(2, 89)));
}
