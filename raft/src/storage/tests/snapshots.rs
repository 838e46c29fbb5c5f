//! Snapshots: built, kept, found again, refused.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, mpsc},
};

use futures_util::stream;
use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};

use super::*;
use crate::storage::{
    FileSnapshot, MachineStore,
    raft_types::FileSnapshotMeta,
    sealed_record::{self, RecordError},
};

pub(super) async fn apply(machine: &mut MachineStore, entries: Vec<LogEntry>) {
    let stream = stream::iter(entries.into_iter().map(|entry| Ok((entry, None))));
    machine.apply(stream).await.unwrap();
}

async fn build(machine: &mut MachineStore) -> FileSnapshot {
    let mut builder = machine.get_snapshot_builder().await;
    builder.build_snapshot().await.unwrap()
}

pub(super) fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir.join("snapshots")).unwrap();
    let mut names: Vec<String> = names
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(super) fn read(snapshot: &FileSnapshot) -> Vec<u8> {
    let mut data = Vec::new();
    snapshot.snapshot.reader().read_to_end(&mut data).unwrap();
    data
}

/// A member with the commands 1..=n applied and a snapshot of them.
async fn with_snapshot(dir: &Path, n: u64) -> OpenedStorage {
    let mut opened = open_new(dir);
    apply(&mut opened.machine, vec![membership_entry(1, 0, &[1])]).await;
    apply(&mut opened.machine, commands(1, 1..n + 1)).await;
    build(&mut opened.machine).await;
    opened
}

#[tokio::test]
async fn newest_snapshot_is_found_and_older_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = with_snapshot(dir.path(), 10).await;
    let first = opened.snapshots.current().unwrap();
    apply(&mut opened.machine, commands(1, 11..=20)).await;
    let second = build(&mut opened.machine).await;
    assert_eq!(files(dir.path()), ["00000000000000000020-1-1.snapshot"]);
    // Whoever still sends the first one can read it to its end.
    assert_eq!(read(&first).len() as u64, first.snapshot.length());
    drop((first, second));
    close(opened).await;

    let (ledger, seen) = Ledger::watched();
    let mut opened = super::super::open(dir.path(), DEADLINE, Box::new(ledger)).unwrap();
    let (applied, membership) = opened.machine.applied_state().await.unwrap();
    assert_eq!(applied, Some(log_id(1, 20)));
    assert_eq!(membership.log_id(), &Some(log_id(1, 0)));
    assert_eq!(membership.get_node(&1).unwrap().name, "member-1");
    assert_eq!(seen.lock().published, 20);
    assert_eq!(seen.lock().lines.len(), 20);
}

#[tokio::test]
async fn leftovers_are_removed_and_older_snapshots_ignored() {
    let dir = tempfile::tempdir().unwrap();
    close(with_snapshot(dir.path(), 5).await).await;
    let snapshots = dir.path().join("snapshots");
    fs::write(snapshots.join("7.tmp"), "half of one").unwrap();
    fs::write(
        snapshots.join("00000000000000000003-1-1.snapshot"),
        "rotten",
    )
    .unwrap();
    fs::write(snapshots.join("empty.snapshot"), "rotten too").unwrap();
    let opened = open(dir.path()).unwrap();
    assert_eq!(files(dir.path()), ["00000000000000000005-1-1.snapshot"]);
    close(opened).await;
}

#[tokio::test]
async fn an_empty_state_has_a_snapshot_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_new(dir.path());
    let snapshot = build(&mut opened.machine).await;
    assert_eq!(snapshot.meta, FileSnapshotMeta::default());
    assert_eq!(files(dir.path()), ["empty.snapshot"]);
    drop(snapshot);
    close(opened).await;
    assert!(open(dir.path()).unwrap().snapshots.current().is_some());
}

#[tokio::test]
async fn every_flipped_byte_of_the_newest_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    close(with_snapshot(dir.path(), 3).await).await;
    let path = dir.path().join("snapshots").join(&files(dir.path())[0]);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, &bad).unwrap();
        refused(dir.path(), &path, &format!("byte {at}"));
    }
    for length in [0, 10, good.len() / 2, good.len() - 1] {
        fs::write(&path, &good[..length]).unwrap();
        refused(dir.path(), &path, &format!("cut to {length}"));
    }
    fs::write(&path, [&good[..], b"more"].concat()).unwrap();
    refused(dir.path(), &path, "longer");
    let renamed = path.with_file_name("00000000000000000099-1-1.snapshot");
    fs::write(&renamed, &good).unwrap();
    refused(dir.path(), &renamed, "renamed");
    fs::remove_file(&renamed).unwrap();
    fs::write(&path, &good).unwrap();
    open(dir.path()).unwrap();
}

fn refused(dir: &Path, path: &Path, what: &str) {
    let err = open(dir).err().expect(what);
    assert!(matches!(err, OpenError::Damaged { .. }), "{what}: {err}");
    let text = err.to_string();
    assert!(text.contains(path.to_str().unwrap()), "{what}: {text}");
    assert!(text.contains("the newest snapshot"), "{what}: {text}");
}

#[tokio::test]
async fn newer_snapshot_is_refused_as_newer() {
    let dir = tempfile::tempdir().unwrap();
    close(with_snapshot(dir.path(), 3).await).await;
    let path = dir.path().join("snapshots").join(&files(dir.path())[0]);
    let old = fs::read(&path).unwrap();
    let magic = &old[..8];
    let head = 29 + u32::from_le_bytes(old[13..17].try_into().unwrap()) as usize;
    let resealed = sealed_record::seal(9, magic, |out| out.extend(&old[13..head]));
    fs::write(&path, [magic, &resealed, &old[head..]].concat()).unwrap();
    let err = open(dir.path()).err().unwrap();
    assert!(matches!(err, OpenError::Future { .. }), "{err}");
    let what = RecordError::Future { found: 9, known: 1 }.to_string();
    assert!(err.to_string().contains(&what), "{err}");
}

/// A machine whose state is many blocks, and whose snapshot waits half-way.
struct Blocks {
    blocks: Vec<Arc<Vec<u8>>>,
    gate: Arc<parking_lot::Mutex<Option<FreezeGate>>>,
}

struct FreezeGate {
    half_way: mpsc::SyncSender<()>,
    go_on: mpsc::Receiver<()>,
}

impl StateMachine for Blocks {
    fn apply(&mut self, command: CommittedCommand<'_>) -> io::Result<Vec<u8>> {
        self.blocks.push(Arc::new(command.bytes.to_vec()));
        Ok(Vec::new())
    }

    fn publish(&mut self, _applied: u64) {}

    fn freeze(&self) -> Box<dyn MachineSnapshot> {
        Box::new(FrozenBlocks(self.blocks.clone(), self.gate.lock().take()))
    }

    fn restore(&mut self, snapshot: &mut dyn Read) -> io::Result<()> {
        self.blocks.clear();
        loop {
            let mut block = Vec::new();
            if (&mut *snapshot)
                .take(BLOCK as u64)
                .read_to_end(&mut block)?
                == 0
            {
                return Ok(());
            }
            self.blocks.push(Arc::new(block));
        }
    }
}

struct FrozenBlocks(Vec<Arc<Vec<u8>>>, Option<FreezeGate>);

impl MachineSnapshot for FrozenBlocks {
    fn write_to(self: Box<Self>, out: &mut dyn Write) -> io::Result<()> {
        let half = self.0.len() / 2;
        for (n, block) in self.0.iter().enumerate() {
            if n == half
                && let Some(gate) = &self.1
            {
                gate.half_way.send(()).unwrap();
                gate.go_on.recv_timeout(DEADLINE).unwrap();
            }
            out.write_all(block)?;
        }
        Ok(())
    }
}

const BLOCK: usize = 1 << 20;
const BLOCKS: u64 = 110;

fn block(index: u64) -> LogEntry {
    command(1, index, vec![index as u8; BLOCK])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_snapshot_is_written_while_entries_apply() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::default();
    let blocks = |gate: &Arc<_>| {
        Box::new(Blocks {
            blocks: Vec::new(),
            gate: Arc::clone(gate),
        })
    };
    let mut opened = super::super::open(dir.path(), Duration::ZERO, blocks(&gate)).unwrap();
    opened.claim_folder(marker()).unwrap();
    for index in 0..BLOCKS {
        apply(&mut opened.machine, vec![block(index)]).await;
    }
    let (half_way, at_half) = mpsc::sync_channel(1);
    let (go, go_on) = mpsc::sync_channel(1);
    *gate.lock() = Some(FreezeGate { half_way, go_on });
    let mut builder = opened.machine.get_snapshot_builder().await;
    let building = tokio::spawn(async move { builder.build_snapshot().await });
    tokio::task::spawn_blocking(move || at_half.recv_timeout(DEADLINE).unwrap())
        .await
        .unwrap();
    for index in BLOCKS..BLOCKS + 10 {
        apply(&mut opened.machine, vec![block(index)]).await;
    }
    let (applied, _) = opened.machine.applied_state().await.unwrap();
    assert_eq!(
        applied,
        Some(log_id(1, BLOCKS + 9)),
        "applied while it is written"
    );
    assert!(
        opened.snapshots.current().is_none(),
        "not there before it is whole"
    );
    go.send(()).unwrap();
    let snapshot = building.await.unwrap().unwrap();
    assert_eq!(snapshot.meta.last_log_id, Some(log_id(1, BLOCKS - 1)));
    assert_eq!(snapshot.snapshot.length(), BLOCKS * BLOCK as u64);

    // Sent to another member, it restores the same.
    let other_dir = tempfile::tempdir().unwrap();
    let other_gate = Arc::default();
    let mut other = super::super::open(other_dir.path(), DEADLINE, blocks(&other_gate)).unwrap();
    other.claim_folder(marker()).unwrap();
    let file = &snapshot.snapshot;
    let meta = snapshot.meta.clone();
    let mut incoming = other
        .snapshots
        .receive(meta.clone(), file.length(), file.crc32c())
        .await
        .unwrap();
    let mut offset = 0;
    while offset < file.length() {
        let chunk = file.read_at(offset, BLOCK).unwrap();
        offset += chunk.len() as u64;
        incoming.write(chunk).await.unwrap();
    }
    let received = incoming.finish().await.unwrap();
    other
        .machine
        .install_snapshot(&meta, received)
        .await
        .unwrap();
    let again = build(&mut other.machine).await;
    assert_eq!(again.snapshot.crc32c(), file.crc32c());
    assert_eq!(files(other_dir.path()), files(dir.path()));
}

#[tokio::test]
async fn late_snapshot_does_not_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = with_snapshot(dir.path(), 5).await;
    let mut late = opened.machine.get_snapshot_builder().await;
    apply(&mut opened.machine, commands(1, 6..=9)).await;
    build(&mut opened.machine).await;
    let late = late.build_snapshot().await.unwrap();
    assert_eq!(late.meta.last_log_id, Some(log_id(1, 5)));
    let current = opened.snapshots.current().unwrap();
    assert_eq!(current.meta.last_log_id, Some(log_id(1, 9)));
    drop(late);
    let left: Vec<PathBuf> = files(dir.path()).iter().map(PathBuf::from).collect();
    assert_eq!(left, [PathBuf::from("00000000000000000009-1-1.snapshot")]);
}
