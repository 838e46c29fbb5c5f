//! Installation of a snapshot: whole or not at all, also when the process dies on the way.

use std::{env, process::Command as Process};

use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};

use super::snapshots::{apply, files, read};
use super::*;
use crate::storage::{FileSnapshot, MachineStore, SnapshotFile, crash_points};

const FOLDER: &str = "QUORATE_TEST_FOLDER";
const CRASH: &str = "QUORATE_TEST_CRASH";

/// Snapshot that a leader with a longer history would send: `lines` as of entry `last`.
async fn from_leader(last: u64) -> (tempfile::TempDir, OpenedStorage, FileSnapshot) {
    let dir = tempfile::tempdir().unwrap();
    let mut leader = open_new(dir.path());
    apply(&mut leader.machine, vec![membership_entry(1, 0, &[1, 2])]).await;
    apply(&mut leader.machine, commands(1, 1..last + 1)).await;
    let mut builder = leader.machine.get_snapshot_builder().await;
    let snapshot = builder.build_snapshot().await.unwrap();
    (dir, leader, snapshot)
}

async fn receive(opened: &OpenedStorage, snapshot: &FileSnapshot) -> SnapshotFile {
    let file = &snapshot.snapshot;
    let mut incoming = opened
        .snapshots
        .receive(snapshot.meta.clone(), file.length(), file.crc32c())
        .await
        .unwrap();
    incoming.write(read(snapshot).into()).await.unwrap();
    incoming.finish().await.unwrap()
}

/// A member that has applied up to entry 5, with a snapshot of that.
async fn prepare(dir: &Path) {
    let mut opened = open_new(dir);
    save_vote(&mut opened.log, 1).await;
    append(&mut opened.log, commands(1, 0..6)).await;
    apply(&mut opened.machine, commands(1, 0..6)).await;
    let mut builder = opened.machine.get_snapshot_builder().await;
    builder.build_snapshot().await.unwrap();
    drop(builder);
    close(opened).await;
}

async fn applied(machine: &mut MachineStore) -> Option<LogEntryId> {
    machine.applied_state().await.unwrap().0
}

#[tokio::test]
async fn an_installed_snapshot_replaces_everything() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path()).await;
    let (_leader_dir, _leader, snapshot) = from_leader(40).await;
    let (ledger, seen) = Ledger::watched();
    let mut opened = super::super::open(dir.path(), DEADLINE, Box::new(ledger)).unwrap();
    assert_eq!(applied(&mut opened.machine).await, Some(log_id(1, 5)));
    let file = receive(&opened, &snapshot).await;
    opened
        .machine
        .install_snapshot(&snapshot.meta, file)
        .await
        .unwrap();
    opened.log.purge(log_id(1, 40)).await.unwrap();
    assert_eq!(seen.lock().published, 40);
    assert_eq!(seen.lock().lines.len(), 40);
    assert_eq!(files(dir.path()), ["00000000000000000040-1-1.snapshot"]);
    let (_, membership) = opened.machine.applied_state().await.unwrap();
    assert_eq!(membership.voter_ids().collect::<Vec<_>>(), [1, 2]);
    close(opened).await;
    let mut opened = open(dir.path()).unwrap();
    assert_eq!(applied(&mut opened.machine).await, Some(log_id(1, 40)));
    let state = opened.log.get_log_state().await.unwrap();
    assert_eq!(state.last_log_id, Some(log_id(1, 40)));
}

/// Not a test by itself: the process that dies in `a_kill_leaves_the_old_or_the_new`.
#[tokio::test]
#[ignore = "run by another test"]
async fn dies_while_installing() {
    let Ok(dir) = env::var(FOLDER) else { return };
    let (_leader_dir, _leader, snapshot) = from_leader(40).await;
    let mut opened = open(Path::new(&dir)).unwrap();
    let file = receive(&opened, &snapshot).await;
    // Only now: the leader built its snapshot in this process too.
    crash_points::arm(&env::var(CRASH).unwrap());
    let result = opened.machine.install_snapshot(&snapshot.meta, file).await;
    panic!("still alive: {result:?}");
}

#[tokio::test]
async fn a_kill_leaves_the_old_or_the_new() {
    for (point, left) in [
        ("install received", 5),
        ("install restored", 5),
        ("install sealed", 5),
        ("install renamed", 40),
    ] {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path()).await;
        let child = Process::new(env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "storage::tests::install::dies_while_installing",
            ])
            .env(FOLDER, dir.path())
            .env(CRASH, point)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(
            !child.status.success() && !said.contains("still alive"),
            "{point}: {said}"
        );
        assert_eq!(child.status.code(), None, "{point}: it was aborted: {said}");

        let mut opened = open(dir.path()).unwrap();
        assert_eq!(
            applied(&mut opened.machine).await,
            Some(log_id(1, left)),
            "{point}"
        );
        assert_eq!(files(dir.path()).len(), 1, "{point}: nothing is left over");
        // And it can be done again.
        let (_leader_dir, _leader, snapshot) = from_leader(40).await;
        let file = receive(&opened, &snapshot).await;
        opened
            .machine
            .install_snapshot(&snapshot.meta, file)
            .await
            .unwrap();
        assert_eq!(applied(&mut opened.machine).await, Some(log_id(1, 40)));
    }
}

#[tokio::test]
async fn snapshot_differing_from_announcement_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open_new(dir.path());
    let (_leader_dir, _leader, snapshot) = from_leader(3).await;
    let data = read(&snapshot);
    let crc = snapshot.snapshot.crc32c();
    let length = data.len() as u64;
    let begin = |length, crc| opened.snapshots.receive(snapshot.meta.clone(), length, crc);

    let mut short = begin(length, crc).await.unwrap();
    short.write(data[1..].to_vec().into()).await.unwrap();
    let text = short.finish().await.unwrap_err().to_string();
    assert!(
        text.contains(&format!("instead of {length} bytes")),
        "{text}"
    );

    let mut wrong = begin(length, crc ^ 1).await.unwrap();
    wrong.write(data.clone().into()).await.unwrap();
    let text = wrong.finish().await.unwrap_err().to_string();
    assert!(text.contains("checksum"), "{text}");

    let mut long = begin(length - 1, crc).await.unwrap();
    let text = long.write(data.into()).await.unwrap_err().to_string();
    assert!(text.contains("more than"), "{text}");
    drop(long);
    assert!(files(dir.path()).is_empty(), "nothing is left over");
}

/// Machine that fails on request.
struct Failing(&'static str);

impl StateMachine for Failing {
    fn apply(&mut self, _command: CommittedCommand<'_>) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn publish(&mut self, _applied: u64) {}

    fn freeze(&self) -> Box<dyn MachineSnapshot> {
        Box::new(FrozenLedger(Vec::new()))
    }

    fn restore(&mut self, _snapshot: &mut dyn Read) -> io::Result<()> {
        assert_ne!(self.0, "panic", "can't read this");
        Err(io::Error::other("no such field"))
    }
}

#[tokio::test]
async fn failed_restore_is_fatal_and_keeps_old_snapshot() {
    for (how, said) in [
        ("fail", "failed: no such field"),
        ("panic", "the machine panicked while restoring the snapshot"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (_leader_dir, _leader, snapshot) = from_leader(40).await;
        let mut opened = super::super::open(dir.path(), DEADLINE, Box::new(Failing(how))).unwrap();
        opened.claim_folder(marker()).unwrap();
        let file = receive(&opened, &snapshot).await;
        let failed = opened.machine.install_snapshot(&snapshot.meta, file).await;
        let text = failed.unwrap_err().to_string();
        assert!(text.contains(said), "{text}");
        assert!(files(dir.path()).is_empty(), "the bad one is gone");
        // From now on nothing works.
        let one = futures_util::stream::iter([Ok((command(1, 0, "x"), None))]);
        let text = opened.machine.apply(one).await.unwrap_err().to_string();
        assert!(text.contains("has failed before"), "{text}");
        close(opened).await;
    }
}

#[tokio::test]
async fn unreadable_snapshot_for_machine_prevents_start() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path()).await;
    let failed = super::super::open(dir.path(), DEADLINE, Box::new(Failing("fail")));
    let text = failed.err().unwrap().to_string();
    assert!(text.contains("no such field"), "{text}");
    assert!(text.contains("00000000000000000005-1-1.snapshot"), "{text}");
    open(dir.path()).unwrap();
}

#[tokio::test]
async fn panic_while_applying_is_fatal_and_names_entry() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_new(dir.path());
    let bad = command(1, 0, "panic");
    let stream = futures_util::stream::iter([Ok((bad, None))]);
    let text = opened.machine.apply(stream).await.unwrap_err().to_string();
    assert!(text.contains("panicked while applying entry"), "{text}");
    assert!(text.contains("told to"), "{text}");
    let mut builder = opened.machine.get_snapshot_builder().await;
    assert!(builder.build_snapshot().await.is_err());
}

#[tokio::test]
async fn refused_command_is_fatal_and_names_its_entry() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_new(dir.path());
    let newer = [
        command(1, 0, "a"),
        command(1, 1, "newer"),
        command(1, 2, "b"),
    ];
    let stream = futures_util::stream::iter(newer.map(|entry| Ok((entry, None))));
    let text = opened.machine.apply(stream).await.unwrap_err().to_string();
    let says = "failed: a newer version wrote it";
    assert!(
        text.contains("applying entry") && text.contains(says),
        "{text}"
    );
    let later = futures_util::stream::iter([Ok((command(1, 3, "c"), None))]);
    let text = opened.machine.apply(later).await.unwrap_err().to_string();
    assert!(text.contains(says), "nothing is applied any more: {text}");
    let mut builder = opened.machine.get_snapshot_builder().await;
    assert!(builder.build_snapshot().await.is_err());
}
