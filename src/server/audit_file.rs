//! The audit trail on disk: each member writes the lines of the log into a file of its own.
//!
//! The lines are those of the state, so a member that was down has those that it missed, as long as
//! the state keeps them. The last one that was written is found in the file, so that none is written
//! twice. A file that can't be written holds up nothing: it is tried again, and counted.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use quorate_log::RateLimit;
use quorate_platform::private_folder;
use quorate_state::AuditLine;
use tokio::{task::spawn_blocking, time::sleep};

use crate::{admin::audit::AuditRow, cluster::ClusterHandle};

/// Contents of the folder, in words.
const HOLDS: &str = "who has changed what is in it";
/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// The most lines that are written at once.
const BATCH_MAX: usize = 1000;
/// The size at which a file is put aside, and how many old ones are kept.
const BYTES_MAX: u64 = 256 << 20;
const KEPT_MAX: u32 = 10;
/// The end of a file in which its last line is looked for; longer than any line.
const TAIL_BYTES: u64 = 256 << 10;

/// Writes the lines for as long as the member runs.
pub(super) async fn keep(cluster: ClusterHandle, file: PathBuf) {
    let log_limit = RateLimit::new(Duration::from_secs(60));
    let mut states = cluster.watch_state();
    let mut next = None;
    loop {
        let lines = match next {
            None => Vec::new(),
            Some(seq) => {
                let state = states.borrow_and_update().clone();
                let lines = state.audit().lines_from(seq);
                lines.take(BATCH_MAX).cloned().collect()
            }
        };
        if next.is_some() && lines.is_empty() {
            if states.changed().await.is_err() {
                return;
            }
            continue;
        }
        let path = file.clone();
        let written = spawn_blocking(move || match next {
            None => next_seq(&path),
            Some(_) => append(&path, &lines),
        });
        match written.await {
            Ok(Ok(seq)) => next = Some(seq),
            Ok(Err(error)) => {
                metrics::counter!("quorate_audit_errors_total").increment(1);
                if let Some(left_out) = log_limit.due("") {
                    tracing::error!(%error, left_out, file = %file.display(), "the audit trail can't be written");
                }
                // Some of the lines may be there: the file is asked again.
                next = None;
                sleep(PAUSE).await;
            }
            // The member is ending.
            Err(_) => return,
        }
    }
}

/// Returns the number of the first line that is not in the file yet; makes the file's folder. What a
/// full disk has left of a line is cut off.
fn next_seq(path: &Path) -> io::Result<u64> {
    let folder = path.parent().unwrap_or(Path::new("."));
    private_folder::make(folder, HOLDS).map_err(io::Error::other)?;
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        // It was put aside a moment ago, or there is none yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => match File::open(old(path, 1)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            opened => return Ok(after_last(&tail(&mut opened?)?.1)),
        },
        opened => opened?,
    };
    let (start, tail) = tail(&mut file)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n');
    let whole = whole.map_or(0, |newline| newline + 1);
    if whole < tail.len() {
        file.set_len(start + whole as u64)?;
    }
    Ok(after_last(&tail[..whole]))
}

/// Reads the end of a file; with the place where it begins.
fn tail(file: &mut File) -> io::Result<(u64, Vec<u8>)> {
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok((start, tail))
}

/// Returns the number that follows the last line.
fn after_last(tail: &[u8]) -> u64 {
    let rows = tail.split(|byte| *byte == b'\n').rev();
    let mut rows = rows.filter_map(|line| serde_json::from_slice::<AuditRow>(line).ok());
    let last = rows.next().and_then(|row| row.line["seq"].as_u64());
    last.map_or(0, |seq| seq + 1)
}

/// Appends lines; returns the number that follows the last one.
fn append(path: &Path, lines: &[Arc<AuditLine>]) -> io::Result<u64> {
    rotate(path)?;
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, &AuditRow::new(line))?;
        text.push(b'\n');
    }
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&text)?;
    Ok(lines.last().map_or(0, |it| it.seq + 1))
}

/// Returns the path of a file that was put aside.
fn old(path: &Path, n: u32) -> PathBuf {
    PathBuf::from(format!("{}.{n}", path.display()))
}

/// Puts a large file aside: `audit.jsonl.1` is the youngest of the old ones.
fn rotate(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(it) if it.len() >= BYTES_MAX => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    for n in (1..KEPT_MAX).rev() {
        match fs::rename(old(path, n), old(path, n + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, old(path, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: u64) -> Arc<AuditLine> {
        Arc::new(AuditLine {
            seq,
            text: format!("{{\"seq\":{seq}}}").into(),
            prev: [0; 32],
            hash: [1; 32],
        })
    }

    fn seqs(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.ends_with('\n'));
        let rows = text.lines().map(serde_json::from_str::<AuditRow>);
        let seqs = rows.map(|it| it.expect("a whole line").line["seq"].as_u64().unwrap());
        seqs.collect()
    }

    // guarantee: AUDIT-2
    #[test]
    fn lines_go_on_where_file_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit").join("audit.jsonl");
        assert_eq!(next_seq(&path).unwrap(), 0);
        assert_eq!(append(&path, &[line(1), line(2)]).unwrap(), 3);
        assert_eq!(next_seq(&path).unwrap(), 3);
        for torn in [&b"{\"line\": torn"[..], b"\xff", b"{}"] {
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            file.write_all(torn).unwrap();
            assert_eq!(next_seq(&path).unwrap(), 3);
            assert_eq!(seqs(&path), [1, 2]);
        }
        assert_eq!(append(&path, &[line(3)]).unwrap(), 4);
        assert_eq!(seqs(&path), [1, 2, 3]);
        // Put aside, and ended before the next line was written.
        fs::rename(&path, old(&path, 1)).unwrap();
        assert_eq!(next_seq(&path).unwrap(), 4);
    }
}
