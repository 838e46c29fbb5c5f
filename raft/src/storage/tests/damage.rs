//! Damage by kind, on real files: refused with the file named, nothing changed.

use std::{fs, path::PathBuf};

use super::{files::*, *};
use crate::storage::{durable_mark::APART, keys};

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

#[tokio::test]
async fn flipped_byte_in_middle_of_log_is_refused() {
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
async fn flipped_byte_in_last_acknowledged_entry_is_refused() {
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

/// A vote lasts by the mark: a log that ends before it, as a crash leaves it, is sound.
#[tokio::test]
async fn vote_lost_by_log_is_under_mark() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_new(dir.path());
    save_vote(&mut opened.log, 1).await;
    let path = wal(dir.path());
    let sound = fs::metadata(&path).unwrap().len();
    opened.log.save_vote(&StoredVote::new(2, 1)).await.unwrap();
    // At once: a vote is under the mark before it is given.
    let killed = copy_of(dir.path());
    close(opened).await;
    let path = path_in(killed.path(), &path);
    let shorten = || {
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(sound).unwrap();
    };
    shorten();
    assert_eq!(voted(killed.path()).await, Some(StoredVote::new(2, 1)));
    // It stands in the log again.
    let file = killed.path().join("acknowledged");
    let slots = fs::read(&file).unwrap();
    for slot in [0, APART] {
        let mut rotten = slots.clone();
        rotten[slot + 20] ^= 1;
        fs::write(&file, rotten).unwrap();
        assert_eq!(voted(killed.path()).await, Some(StoredVote::new(2, 1)));
    }
}

async fn voted(dir: &Path) -> Option<StoredVote> {
    use openraft::storage::RaftLogReader;
    let opened = open_in_time(dir).unwrap();
    let vote = opened.log.reader().read_vote().await.unwrap();
    close(opened).await;
    vote
}

#[tokio::test]
async fn recycled_record_type_is_refused() {
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
async fn missing_file_of_log_is_refused() {
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

/// One flipped bit anywhere in the log is refused, or changes nothing of what is kept. With
/// `FLIPS=all` each bit of each file, a quarter of an hour; else some thirty of a file.
#[tokio::test]
async fn no_flipped_bit_anywhere_goes_unnoticed_and_matters() {
    type Make = fn(&Path) -> std::pin::Pin<Box<dyn Future<Output = KeptFolder> + '_>>;
    let makers: [Make; 2] = [|dir| Box::pin(in_wal(dir)), |dir| Box::pin(in_table(dir))];
    let all = std::env::var("FLIPS").is_ok_and(|it| it == "all");
    let (mut flips, mut refusals) = (0, 0);
    let mut unnoticed = Vec::new();
    for make in makers {
        let dir = tempfile::tempdir().unwrap();
        let before = make(dir.path()).await;
        for (path, bytes) in listing(dir.path()) {
            let name = path.file_name().unwrap().to_str().unwrap();
            // Not read at a start.
            if name.starts_with("OPTIONS") || name == "IDENTITY" {
                continue;
            }
            let (step, bits) = if all {
                (1, 0..8)
            } else {
                ((bytes.len() / 30).max(1), 0..1)
            };
            for (at, bit) in (0..bytes.len())
                .step_by(step)
                .flat_map(|at| bits.clone().map(move |bit| (at, (at + bit) % 8)))
            {
                let copy = copy_of(dir.path());
                flip(&path_in(copy.path(), &path), at, 1 << bit);
                flips += 1;
                match open_in_time(copy.path()) {
                    Err(_) => refusals += 1,
                    Ok(mut opened) => {
                        if kept(&mut opened).await != before {
                            unnoticed.push(format!("bit {bit} of byte {at} of {name}"));
                        }
                        // So that no more than one is open at a time.
                        close(opened).await;
                    }
                }
            }
        }
    }
    println!("{flips} flipped bits, {refusals} refused");
    assert_eq!(unnoticed, Vec::<String>::new());
    assert!(refusals > 0);
}
