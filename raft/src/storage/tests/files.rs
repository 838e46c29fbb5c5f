//! Folders to be damaged, and the tools for it.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::{FileExt, PermissionsExt},
    path::PathBuf,
    sync::mpsc,
    thread,
};

use super::*;
use crate::storage::durable_mark::DurableMarkFile;

pub(super) const LAST: u64 = 29;

/// Contents that must be there again after a start.
#[derive(Debug, PartialEq)]
pub(super) struct KeptFolder {
    vote: Option<StoredVote>,
    state: (Option<LogEntryId>, Option<LogEntryId>),
    entries: Vec<LogEntry>,
}

pub(super) async fn kept(opened: &mut OpenedStorage) -> KeptFolder {
    use openraft::storage::RaftLogReader;
    let state = opened.log.get_log_state().await.unwrap();
    KeptFolder {
        vote: opened.log.reader().read_vote().await.unwrap(),
        state: (state.last_purged_log_id, state.last_log_id),
        entries: entries(&opened.log, ..),
    }
}

/// A member with two votes and entries 0..=LAST, all acknowledged, in one write-ahead log.
pub(super) async fn in_wal(dir: &Path) -> KeptFolder {
    let mut opened = open_new(dir);
    let log = &mut opened.log;
    save_vote(log, 1).await;
    for index in 0..10 {
        append(log, commands(1, index..index + 1)).await;
    }
    save_vote(log, 2).await;
    append(log, commands(2, 10..20)).await;
    append(log, commands(2, 20..LAST + 1)).await;
    let kept = kept(&mut opened).await;
    close(opened).await;
    kept
}

/// The same, but in a table and with some of it purged behind a snapshot.
pub(super) async fn in_table(dir: &Path) -> KeptFolder {
    in_wal(dir).await;
    // Recovery writes what it finds to a table.
    let mut opened = open(dir).unwrap();
    super::snapshots::apply(&mut opened.machine, commands(1, 0..10)).await;
    let mut builder = {
        use openraft::storage::RaftStateMachine;
        opened.machine.get_snapshot_builder().await
    };
    use openraft::storage::RaftSnapshotBuilder;
    builder.build_snapshot().await.unwrap();
    drop(builder);
    opened.log.purge(log_id(1, 5)).await.unwrap();
    close(opened).await;
    let mut opened = open(dir).unwrap();
    let kept = kept(&mut opened).await;
    close(opened).await;
    kept
}

pub(super) fn with_suffix(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(dir.join("log")).unwrap();
    let mut files: Vec<PathBuf> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(suffix))
        .filter(|path| fs::metadata(path).unwrap().len() > 0)
        .collect();
    files.sort();
    files
}

pub(super) fn manifest(dir: &Path) -> PathBuf {
    let name = fs::read_to_string(dir.join("log/CURRENT")).unwrap();
    dir.join("log").join(name.trim())
}

pub(super) fn wal(dir: &Path) -> PathBuf {
    with_suffix(dir, ".log").pop().expect("a write-ahead log")
}

/// Where `what` stands in a file, the first time.
pub(super) fn find(path: &Path, what: &[u8]) -> usize {
    let bytes = fs::read(path).unwrap();
    let at = bytes.windows(what.len()).position(|part| part == what);
    at.unwrap_or_else(|| panic!("{what:?} in {path:?}"))
}

pub(super) fn flip(path: &Path, at: usize, mask: u8) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ mask], at as u64).unwrap();
}

/// Opens, but not for ever: RocksDB can read a damaged header again and again.
pub(super) fn open_in_time(dir: &Path) -> Result<OpenedStorage, OpenError> {
    let (done, opened) = mpsc::sync_channel(1);
    let dir = dir.to_owned();
    thread::spawn(move || {
        // Nobody listens any more if it took too long.
        let _ = done.send(open(&dir));
    });
    opened
        .recv_timeout(DEADLINE)
        .expect("it opens or refuses in time")
}

pub(super) fn refused(dir: &Path, named: &Path, said: &str) {
    let before = listing(dir);
    let err = open_in_time(dir).err().expect("it is refused");
    assert!(matches!(err, OpenError::Damaged { .. }), "{err}");
    let text = err.to_string();
    let name = named.file_name().unwrap().to_str().unwrap();
    assert!(text.contains(name), "{name} is named: {text}");
    assert!(text.contains(said), "{said}: {text}");
    assert!(
        text.contains("as a new member it is given everything"),
        "{text}"
    );
    assert_eq!(listing(dir), before, "nothing was changed");
}

/// Names and contents, but for RocksDB's own diary.
pub(super) fn listing(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for part in ["", "log", "snapshots"] {
        for file in fs::read_dir(dir.join(part)).into_iter().flatten() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_file() && !name.starts_with("LOG") && name != "lock" {
                files.push((path.clone(), fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}
/// Waits until the mark has followed what is acknowledged.
pub(super) async fn marked(dir: &Path, last: LogEntryId) {
    let path = dir.join("acknowledged");
    let reached = async {
        while DurableMarkFile::open(&path).unwrap().unwrap().1.last != Some(last) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, reached).await;
    in_time.expect("the mark follows");
}
pub(super) fn copy_of(dir: &Path) -> tempfile::TempDir {
    let private = fs::Permissions::from_mode(0o700);
    let copy = tempfile::Builder::new()
        .permissions(private)
        .tempdir()
        .unwrap();
    for part in ["log", "snapshots"] {
        fs::create_dir_all(copy.path().join(part)).unwrap();
    }
    for (path, bytes) in listing(dir) {
        fs::write(path_in(copy.path(), &path), bytes).unwrap();
    }
    copy
}

/// The same file in another data folder.
pub(super) fn path_in(dir: &Path, path: &Path) -> PathBuf {
    let name = path.file_name().unwrap();
    match path
        .parent()
        .unwrap()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
    {
        part @ ("log" | "snapshots") => dir.join(part).join(name),
        _ => dir.join(name),
    }
}
