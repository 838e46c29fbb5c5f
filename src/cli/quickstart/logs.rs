//! The rotation of a quickstart's logs: a log that has grown is copied aside and emptied.
//!
//! It is emptied in place and not renamed, since a member and its connector processes hold it open,
//! and append to it. Lines written in the moment between the last look and the emptying are lost,
//! and on a full disk those written while it is copied.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{task::spawn_blocking, time::sleep};

/// The length from which a log is put aside.
const BYTES_MAX: u64 = 16 << 20;
/// The number of old logs that are kept: `quorate.log.1` is the latest.
const KEPT: u32 = 3;
const LOOK: Duration = Duration::from_secs(1);

/// Rotates these logs for as long as it is not dropped.
pub(super) async fn keep_small(logs: Vec<PathBuf>) {
    loop {
        let logs = logs.clone();
        let looked = spawn_blocking(move || logs.iter().for_each(|log| look(log, BYTES_MAX)));
        // A log that can't be put aside stays: the next look tries again.
        let _ = looked.await;
        sleep(LOOK).await;
    }
}

fn look(log: &Path, bytes_max: u64) {
    let grown = fs::metadata(log).is_ok_and(|it| it.is_file() && it.len() > bytes_max);
    if grown && let Err(error) = put_aside(log) {
        // An incomplete copy only takes room.
        let _ = fs::remove_file(numbered(log, 0));
        if matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ) {
            // The oldest log makes room for the next try.
            let _ = (1..=KEPT)
                .rev()
                .any(|n| fs::remove_file(numbered(log, n)).is_ok());
        }
    }
}

fn put_aside(log: &Path) -> io::Result<()> {
    let mut from = File::open(log)?;
    let open = File::options().write(true).open(log)?;
    let mut to = File::create(numbered(log, 0))?;
    let mut copied = io::copy(&mut from, &mut to)?;
    for n in (0..KEPT).rev() {
        match fs::rename(numbered(log, n), numbered(log, n + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    // Lines that have come meanwhile. Where there is no room for them, they are lost: a log that
    // was put aside and stays long would be put aside again, and again.
    while open.metadata().is_ok_and(|it| it.len() > copied) {
        match io::copy(&mut from, &mut to) {
            Ok(more) if more > 0 => copied += more,
            _ => break,
        }
    }
    open.set_len(0)
}

/// Returns the path of `quorate.log.N`; 0 while the copy is being made.
fn numbered(log: &Path, n: u32) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn grown_log_is_put_aside_while_writer_continues() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("quorate.log");
        let mut writer = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        for round in 0..10 {
            writer
                .write_all(format!("round {round}\n").as_bytes())
                .unwrap();
            look(&log, 10);
            assert_eq!(
                fs::read_to_string(&log).unwrap(),
                format!("round {round}\n")
            );
            writer.write_all(b"more\n").unwrap();
            look(&log, 10);
            assert_eq!(fs::metadata(&log).unwrap().len(), 0);
        }
        let there = fs::read_dir(dir.path()).unwrap();
        let mut there: Vec<_> = there.map(|it| it.unwrap().file_name()).collect();
        there.sort();
        let names = [
            "quorate.log",
            "quorate.log.1",
            "quorate.log.2",
            "quorate.log.3",
        ];
        assert_eq!(there, names);
        for n in 1..=KEPT {
            let text = fs::read_to_string(numbered(&log, n)).unwrap();
            assert_eq!(text, format!("round {}\nmore\n", 10 - n));
        }
    }

    #[test]
    fn log_that_fails_to_copy_stays() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("quorate.log");
        fs::write(&log, "line\n").unwrap();
        // A folder in its place can't be written.
        fs::create_dir(numbered(&log, 0)).unwrap();
        look(&log, 1);
        assert_eq!(fs::read_to_string(&log).unwrap(), "line\n");
        look(&dir.path().join("nowhere"), 1);
    }
}
