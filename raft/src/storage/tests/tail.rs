//! Tail of a log: what may be missing there, what may not, and logs that make no sense.

use std::fs;

use super::{files::*, *};
use crate::storage::{keys, sealed_record};

/// Bytes that were written and never fsynced, in every form that a crash leaves.
#[tokio::test]
async fn unacknowledged_torn_tail_is_cut() {
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

/// Neither a folder nor a record of a later version is taken for rot.
#[tokio::test]
async fn newer_record_is_refused_as_newer() {
    let dir = tempfile::tempdir().unwrap();
    in_wal(dir.path()).await;
    {
        let log = dir.path().join("log");
        let db = rocksdb::DB::open_default(log).unwrap();
        let key = keys::entry(7);
        let record = sealed_record::seal(2, &key, |out| out.extend(b"whatever it will be"));
        db.put(key, record).unwrap();
    }
    let err = open_in_time(dir.path()).err().unwrap();
    assert!(matches!(err, OpenError::Future { .. }), "{err}");
    let text = err.to_string();
    assert!(text.contains("entry 7: it has format version 2"), "{text}");
}

/// Contents that a fault in RocksDB, or a copy of an old folder, could leave.
#[tokio::test]
async fn sound_records_that_do_not_fit_are_refused() {
    type TailFault = (&'static str, fn(&rocksdb::DB), &'static str);
    let faults: [TailFault; 4] = [
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
                let record =
                    sealed_record::seal(sealed_record::LOG_RECORD, &keys::entry(LAST + 1), |out| {
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
