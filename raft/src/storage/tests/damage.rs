//! Each kind of damage on real files: cut where nothing acknowledged was lost, refused
//! with the file named where something was.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::mpsc,
    thread,
};

use super::*;
use crate::storage::{acknowledged::AcknowledgedFile, format, keys, types::LogId};

const LAST: u64 = 29;

/// What must be there again after a start.
#[derive(Debug, PartialEq)]
struct Kept {
    vote: Option<Vote>,
    state: (Option<LogId>, Option<LogId>),
    entries: Vec<Entry>,
}

async fn kept(opened: &mut Opened) -> Kept {
    use openraft::storage::RaftLogReader;
    let state = opened.log.get_log_state().await.unwrap();
    Kept {
        vote: opened.log.reader().read_vote().await.unwrap(),
        state: (state.last_purged_log_id, state.last_log_id),
        entries: entries(&opened.log, ..),
    }
}

/// A member with two votes and entries 0..=LAST, all acknowledged, in one write-ahead log.
async fn in_wal(dir: &Path) -> Kept {
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
async fn in_table(dir: &Path) -> Kept {
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

fn with_suffix(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(dir.join("log")).unwrap();
    let mut files: Vec<PathBuf> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(suffix))
        .filter(|path| fs::metadata(path).unwrap().len() > 0)
        .collect();
    files.sort();
    files
}

fn manifest(dir: &Path) -> PathBuf {
    let name = fs::read_to_string(dir.join("log/CURRENT")).unwrap();
    dir.join("log").join(name.trim())
}

fn wal(dir: &Path) -> PathBuf {
    with_suffix(dir, ".log").pop().expect("a write-ahead log")
}

/// Where `what` stands in a file, the first time.
fn find(path: &Path, what: &[u8]) -> usize {
    let bytes = fs::read(path).unwrap();
    let at = bytes.windows(what.len()).position(|part| part == what);
    at.unwrap_or_else(|| panic!("{what:?} in {path:?}"))
}

fn flip(path: &Path, at: usize, mask: u8) {
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
fn open_in_time(dir: &Path) -> Result<Opened, OpenError> {
    let (done, opened) = mpsc::channel();
    let dir = dir.to_owned();
    thread::spawn(move || done.send(open(&dir)));
    opened
        .recv_timeout(DEADLINE)
        .expect("it opens or refuses in time")
}

fn refused(dir: &Path, named: &Path, said: &str) {
    let before = listing(dir);
    let err = open_in_time(dir).err().expect("it is refused");
    assert!(matches!(err, OpenError::Damaged { .. }), "{err}");
    let text = err.to_string();
    let name = named.file_name().unwrap().to_str().unwrap();
    assert!(text.contains(name), "{name} is named: {text}");
    assert!(text.contains(said), "{said}: {text}");
    assert!(
        text.contains("join again, as a new member with a new id"),
        "{text}"
    );
    assert_eq!(listing(dir), before, "nothing was changed");
}

/// Names and contents, but for RocksDB's own diary.
fn listing(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
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

#[tokio::test]
async fn a_sound_folder_opens_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let before = in_wal(dir.path()).await;
    for _ in 0..3 {
        let mut opened = open(dir.path()).unwrap();
        assert_eq!(kept(&mut opened).await, before);
        close(opened).await;
    }
}

/// Waits until the mark has followed what is acknowledged.
async fn marked(dir: &Path, last: LogId) {
    let path = dir.join("acknowledged");
    let reached = async {
        while AcknowledgedFile::open(&path).unwrap().unwrap().1.last != Some(last) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, reached).await;
    in_time.expect("the mark follows");
}

/// Bytes that were written and never fsynced, in every form that a crash leaves.
#[tokio::test]
async fn a_torn_tail_that_was_never_acknowledged_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_new(dir.path());
    save_vote(&mut opened.log, 1).await;
    append(&mut opened.log, commands(1, 0..LAST + 1)).await;
    marked(dir.path(), log_id(1, LAST)).await;
    let before = kept(&mut opened).await;
    let acknowledged = fs::read(dir.path().join("acknowledged")).unwrap();
    let path = wal(dir.path());
    let sound = fs::metadata(&path).unwrap().len() as usize;
    append(&mut opened.log, commands(1, LAST + 1..LAST + 3)).await;
    marked(dir.path(), log_id(1, LAST + 2)).await;
    // As a kill leaves it.
    let killed = copy_of(dir.path());
    close(opened).await;
    let path = path_in(killed.path(), &path);
    let whole = fs::read(&path).unwrap();
    let tail = whole.len() - sound;

    // Had the tail been acknowledged, it would be missed.
    fs::write(&path, &whole[..sound + 5]).unwrap();
    refused(
        killed.path(),
        &path,
        "was acknowledged, but the log ends with",
    );

    // Now the kill came before the fsync: the mark had not moved.
    fs::write(killed.path().join("acknowledged"), &acknowledged).unwrap();
    let mut forms: Vec<Vec<u8>> = (1..tail)
        .step_by(5)
        .map(|n| whole[..sound + n].to_vec())
        .collect();
    forms.push([&whole[..sound], &vec![0; 3000][..]].concat());
    forms.push([&whole[..whole.len() - 20], &[0; 20][..]].concat());
    forms.push([&whole[..sound + 7], &vec![0xa5; tail][..]].concat());
    for (n, torn) in forms.into_iter().enumerate() {
        let copy = copy_of(killed.path());
        fs::write(path_in(copy.path(), &path), torn).unwrap();
        let mut opened = open_in_time(copy.path()).unwrap_or_else(|e| panic!("form {n}: {e}"));
        assert_eq!(kept(&mut opened).await, before, "form {n}");
        // What is cut stays cut, and the log goes on from there.
        append(&mut opened.log, commands(1, LAST + 1..LAST + 2)).await;
        close(opened).await;
        let opened = open(copy.path()).unwrap();
        assert_eq!(entries(&opened.log, ..).len() as u64, LAST + 2);
    }
}

#[tokio::test]
async fn a_flipped_byte_in_the_middle_of_the_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    in_wal(dir.path()).await;
    let path = wal(dir.path());
    let at = find(&path, b"command 15");
    flip(&path, at, 0x10);
    let said = format!("in {}", path.file_name().unwrap().to_str().unwrap());
    refused(dir.path(), &path, &said);
    refused(dir.path(), &path, "wrong checksum");
}

#[tokio::test]
async fn a_flipped_byte_in_the_last_acknowledged_entry_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    in_wal(dir.path()).await;
    let path = wal(dir.path());
    let at = find(&path, format!("command {LAST}").as_bytes());
    flip(&path, at, 1);
    refused(dir.path(), &path, &format!("{LAST} was acknowledged"));
}

#[tokio::test]
async fn a_flipped_byte_in_a_vote_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    in_wal(dir.path()).await;
    let path = wal(dir.path());
    let at = find(&path, keys::VOTE);
    flip(&path, at + keys::VOTE.len() + 3, 4);
    refused(dir.path(), &path, "wrong checksum");
}

/// Where the vote is the last thing that was written, nothing stands behind it.
#[tokio::test]
async fn a_lost_vote_is_missed_even_at_the_end_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_new(dir.path());
    save_vote(&mut opened.log, 1).await;
    let path = wal(dir.path());
    let sound = fs::metadata(&path).unwrap().len();
    save_vote(&mut opened.log, 2).await;
    // At once: a vote is under the mark before it is given.
    let killed = copy_of(dir.path());
    close(opened).await;
    let path = path_in(killed.path(), &path);
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(sound)
        .unwrap();
    refused(
        killed.path(),
        &killed.path().join("log"),
        "this member has voted <T2-N1:Q>",
    );
}

#[tokio::test]
async fn a_record_type_that_is_never_written_is_refused_and_not_read_for_ever() {
    for file in [wal as fn(&Path) -> PathBuf, manifest] {
        let dir = tempfile::tempdir().unwrap();
        in_wal(dir.path()).await;
        let path = file(dir.path());
        // The second record's type: from "full" to "full, of a recycled log".
        let bytes = fs::read(&path).unwrap();
        let second = 7 + usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
        flip(&path, second + 6, 4);
        refused(
            dir.path(),
            &path,
            &format!("the record at byte {second} is of a kind (5)"),
        );
    }
}

#[tokio::test]
async fn a_flipped_byte_in_the_manifest_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    in_table(dir.path()).await;
    let path = manifest(dir.path());
    let at = fs::metadata(&path).unwrap().len() as usize / 2;
    flip(&path, at, 0x20);
    refused(dir.path(), &path, "the record at byte");
}

#[tokio::test]
async fn a_flipped_byte_in_current_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    in_wal(dir.path()).await;
    flip(&dir.path().join("log/CURRENT"), 12, 1);
    refused(dir.path(), &dir.path().join("log"), "MANIFEST");
}

#[tokio::test]
async fn a_flipped_byte_in_a_table_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    in_table(dir.path()).await;
    let tables = with_suffix(dir.path(), ".sst");
    flip(&tables[0], 40, 1);
    refused(dir.path(), &tables[0], "checksum");
}

#[tokio::test]
async fn a_file_of_the_log_that_is_gone_is_missed() {
    for suffix in [".log", ".sst", "MANIFEST"] {
        let dir = tempfile::tempdir().unwrap();
        match suffix {
            ".log" => in_wal(dir.path()).await,
            _ => in_table(dir.path()).await,
        };
        let path = match suffix {
            "MANIFEST" => manifest(dir.path()),
            suffix => with_suffix(dir.path(), suffix).remove(0),
        };
        fs::remove_file(&path).unwrap();
        let err = open_in_time(dir.path()).err().expect(suffix).to_string();
        assert!(
            err.contains("can't be trusted") || err.contains("failed"),
            "{suffix}: {err}"
        );
    }
}

/// The snapshot that the purged part of the log needs.
#[tokio::test]
async fn a_snapshot_that_is_gone_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    in_table(dir.path()).await;
    fs::remove_dir_all(dir.path().join("snapshots")).unwrap();
    refused(
        dir.path(),
        &dir.path().join("log"),
        "needs a snapshot up to there, but there is none",
    );
}

/// Neither a folder nor a record of a later version is taken for rot.
#[tokio::test]
async fn a_record_from_the_future_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    in_wal(dir.path()).await;
    {
        let log = dir.path().join("log");
        let db = rocksdb::DB::open_default(log).unwrap();
        let key = keys::entry(7);
        let record = format::seal(2, &key, |out| out.extend(b"whatever it will be"));
        db.put(key, record).unwrap();
    }
    let err = open_in_time(dir.path()).err().unwrap();
    assert!(matches!(err, OpenError::Future { .. }), "{err}");
    let text = err.to_string();
    assert!(text.contains("entry 7: it has format version 2"), "{text}");
}

/// What a fault in RocksDB, or a copy of an old folder, could leave.
#[tokio::test]
async fn a_log_with_sound_records_that_do_not_fit_is_refused() {
    type Fault = (&'static str, fn(&rocksdb::DB), &'static str);
    let faults: [Fault; 4] = [
        (
            "a hole",
            |db| db.delete(keys::entry(12)).unwrap(),
            "entry 12 is missing: entry 13 stands in its place",
        ),
        (
            "moved",
            |db| {
                let record = db.get(keys::entry(12)).unwrap().unwrap();
                db.put(keys::entry(13), record).unwrap();
            },
            "entry 13: the checksum does not match",
        ),
        (
            "the truncated is back",
            |db| {
                let record = format::seal(format::LOG_RECORD, &keys::entry(LAST + 1), |out| {
                    use prost::Message;
                    let stale = command(1, LAST + 1, "stale");
                    let stale = crate::storage::convert::entry_to_proto(&stale);
                    stale.encode(out).unwrap();
                });
                db.put(keys::entry(LAST + 1), record).unwrap();
            },
            "of a later leader",
        ),
        (
            "the end is gone",
            |db| db.delete(keys::entry(LAST)).unwrap(),
            "T2-N1.29 was acknowledged, but the log ends with T2-N1.28",
        ),
    ];
    for (name, fault, said) in faults {
        let dir = tempfile::tempdir().unwrap();
        in_wal(dir.path()).await;
        fault(&rocksdb::DB::open_default(dir.path().join("log")).unwrap());
        let err = open_in_time(dir.path()).err().expect(name).to_string();
        assert!(err.contains(said), "{name}: {err}");
    }
}

/// Truncation lowers the mark before it deletes: neither order of a kill is refused.
#[tokio::test]
async fn a_truncated_log_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_new(dir.path());
    let log = &mut opened.log;
    save_vote(log, 1).await;
    append(log, commands(1, 0..20)).await;
    marked(dir.path(), log_id(1, 19)).await;
    let whole = copy_of(dir.path());
    log.truncate_after(Some(log_id(1, 9))).await.unwrap();
    // At once: the mark is lowered when the call returns.
    let truncated = copy_of(dir.path());
    let mut other = open(truncated.path()).unwrap();
    assert_eq!(entries(&other.log, ..).len(), 10);
    save_vote(&mut other.log, 2).await;
    append(&mut other.log, commands(2, 10..12)).await;
    close(other).await;
    assert_eq!(entries(&open(truncated.path()).unwrap().log, ..).len(), 12);
    // Killed between the two: the mark is down, the entries are still there.
    let lowered = fs::read(dir.path().join("acknowledged")).unwrap();
    fs::write(whole.path().join("acknowledged"), lowered).unwrap();
    assert_eq!(entries(&open(whole.path()).unwrap().log, ..).len(), 20);
    close(opened).await;
}

/// One flipped bit anywhere in the log is refused, or changes nothing of what is kept.
#[tokio::test]
async fn no_flipped_bit_anywhere_goes_unnoticed_and_matters() {
    type Make = fn(&Path) -> std::pin::Pin<Box<dyn Future<Output = Kept> + '_>>;
    let makers: [Make; 2] = [|dir| Box::pin(in_wal(dir)), |dir| Box::pin(in_table(dir))];
    let (mut flips, mut refusals) = (0, 0);
    for make in makers {
        let dir = tempfile::tempdir().unwrap();
        let before = make(dir.path()).await;
        for (path, bytes) in listing(dir.path()) {
            let name = path.file_name().unwrap().to_str().unwrap();
            // Not read at a start.
            if name.starts_with("OPTIONS") || name == "IDENTITY" {
                continue;
            }
            let step = (bytes.len() / 60).max(1);
            for at in (0..bytes.len()).step_by(step) {
                let copy = copy_of(dir.path());
                flip(&path_in(copy.path(), &path), at, 1 << (at % 8));
                flips += 1;
                match open_in_time(copy.path()) {
                    Err(_) => refusals += 1,
                    Ok(mut opened) => {
                        let after = kept(&mut opened).await;
                        assert_eq!(after, before, "byte {at} of {name}");
                    }
                }
            }
        }
    }
    println!("{flips} flipped bits, {refusals} refused");
    assert!(refusals * 2 > flips, "{refusals} of {flips}");
}

fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for part in ["log", "snapshots"] {
        fs::create_dir_all(copy.path().join(part)).unwrap();
    }
    for (path, bytes) in listing(dir) {
        fs::write(path_in(copy.path(), &path), bytes).unwrap();
    }
    copy
}

/// The same file in another data folder.
fn path_in(dir: &Path, path: &Path) -> PathBuf {
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
