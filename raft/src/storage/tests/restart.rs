//! Restart: the state of a member that comes back.

use openraft::StorageHelper;
use openraft::storage::RaftStateMachine;

use super::snapshots::apply;
use super::*;

#[tokio::test]
async fn committed_entries_are_applied_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_new(dir.path());
    let log = &mut opened.log;
    save_vote(log, 1).await;
    append(log, vec![membership_entry(1, 0, &[1])]).await;
    append(log, commands(1, 1..300)).await;
    log.save_committed(Some(log_id(1, 200))).await.unwrap();
    close(opened).await;

    let (ledger, seen) = Ledger::watched();
    let mut opened = super::super::open(dir.path(), DEADLINE, Box::new(ledger)).unwrap();
    let mut helper = StorageHelper::new(&mut opened.log, &mut opened.machine).with_id(1);
    helper.get_initial_state().await.unwrap();
    let (applied, membership) = opened.machine.applied_state().await.unwrap();
    assert_eq!(applied, Some(log_id(1, 200)));
    assert_eq!(membership.log_id(), &Some(log_id(1, 0)));
    assert_eq!(seen.lock().published, 200);
    assert_eq!(seen.lock().lines.len(), 200);
}

#[tokio::test]
async fn snapshot_replaces_the_entries_before() {
    use openraft::storage::RaftSnapshotBuilder;
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_new(dir.path());
    save_vote(&mut opened.log, 1).await;
    append(&mut opened.log, commands(1, 0..100)).await;
    opened
        .log
        .save_committed(Some(log_id(1, 79)))
        .await
        .unwrap();
    apply(&mut opened.machine, commands(1, 0..60)).await;
    let mut builder = opened.machine.get_snapshot_builder().await;
    builder.build_snapshot().await.unwrap();
    drop(builder);
    opened.log.purge(log_id(1, 49)).await.unwrap();
    close(opened).await;

    let (ledger, seen) = Ledger::watched();
    let mut opened = super::super::open(dir.path(), DEADLINE, Box::new(ledger)).unwrap();
    let mut helper = StorageHelper::new(&mut opened.log, &mut opened.machine).with_id(1);
    helper.get_initial_state().await.unwrap();
    let indexes: Vec<u64> = seen.lock().lines.iter().map(|line| line.0).collect();
    assert_eq!(indexes, (0..80).collect::<Vec<_>>(), "each once, in order");
}
