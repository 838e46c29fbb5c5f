//! Group commit: one fsync for many appends.

use openraft::{alias::OneshotReceiverOf, storage::IOFlushed, type_config::TypeConfigExt};

use super::*;
use crate::storage::{durable_mark::DurableMarkFile, raft_types::Types};

type Flushed = OneshotReceiverOf<Types, io::Result<()>>;

async fn append_one(log: &mut LogStore, index: u64) -> Flushed {
    let (done, flushed) = Types::oneshot();
    log.append([command(1, index, "x")], IOFlushed::signal(done))
        .await
        .unwrap();
    flushed
}

/// As openraft appends: one entry after the other, up to 64 of them not yet flushed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_writers_share_their_fsyncs() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_new(dir.path());
    let log = &mut opened.log;
    let stats = log.stats();
    let mut waiting = std::collections::VecDeque::new();
    for index in 0..6400 {
        waiting.push_back(append_one(log, index).await);
        if waiting.len() == 64 {
            let oldest = waiting.pop_front().unwrap();
            tokio::time::timeout(DEADLINE, oldest)
                .await
                .unwrap()
                .unwrap()
                .unwrap();
            // Whatever the same fsync has answered makes room too.
            while let Some(next) = waiting.front_mut()
                && let Ok(result) = next.try_recv()
            {
                result.unwrap();
                waiting.pop_front();
            }
        }
    }
    for flushed in waiting {
        tokio::time::timeout(DEADLINE, flushed)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
    let (entries, fsyncs) = (stats.entries(), stats.fsyncs());
    println!("{entries} entries in {fsyncs} fsyncs");
    assert_eq!(entries, 6400);
    assert!(
        fsyncs >= 100,
        "64 at once can't be more than 64 an fsync: {fsyncs}"
    );
    assert!(
        entries > 10 * fsyncs,
        "{entries} entries took {fsyncs} fsyncs"
    );
}

#[tokio::test]
async fn entries_are_readable_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_new(dir.path());
    let log = &mut opened.log;
    let flushed = append_one(log, 0).await;
    assert_eq!(entries(log, ..), [command(1, 0, "x")]);
    flushed.await.unwrap().unwrap();
}

/// Of a vote, only that it is given has to last; openraft takes it to mean that what was
/// appended before it does too.
#[tokio::test]
async fn votes_need_the_mark_alone_unless_appends_wait() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_new(dir.path());
    let log = &mut opened.log;
    let path = dir.path().join("acknowledged");
    let given = || DurableMarkFile::open(&path).unwrap().unwrap().1.vote;
    let before = log.stats().fsyncs();
    for term in 2..5 {
        log.save_vote(&StoredVote::new(term, 1)).await.unwrap();
        assert_eq!(given(), Some(StoredVote::new(term, 1)));
        save_vote(log, term).await;
    }
    assert_eq!(log.stats().fsyncs(), before);
    for term in 5..50 {
        let mut flushed = append_one(log, term - 5).await;
        log.save_vote(&StoredVote::new(term, 1)).await.unwrap();
        assert!(flushed.try_recv().is_ok(), "an append was passed by a vote");
    }
}
