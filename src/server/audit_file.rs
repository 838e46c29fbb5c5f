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
                sleep(PAUSE).await;
            }
            // The member is ending.
            Err(_) => return,
        }
    }
}

/// Returns the number of the first line that is not in the file yet; makes the file's folder.
fn next_seq(path: &Path) -> io::Result<u64> {
    let folder = path.parent().unwrap_or(Path::new("."));
    private_folder::make(folder, HOLDS).map_err(io::Error::other)?;
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let rows = tail.split(|byte| *byte == b'\n').rev();
    let mut rows = rows.filter_map(|line| serde_json::from_slice::<AuditRow>(line).ok());
    let last = rows.next().and_then(|row| row.line["seq"].as_u64());
    Ok(last.map_or(0, |seq| seq + 1))
}

/// Appends lines; returns the number that follows the last one.
fn append(path: &Path, lines: &[Arc<AuditLine>]) -> io::Result<u64> {
    rotate(path)?;
    let mut text = Vec::new();
    // A line that was torn by a full disk is no line.
    if !ends_with_line(path)? {
        text.push(b'\n');
    }
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

fn ends_with_line(path: &Path) -> io::Result<bool> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        opened => opened?,
    };
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Puts a large file aside: `audit.jsonl.1` is the youngest of the old ones.
fn rotate(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(it) if it.len() >= BYTES_MAX => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let old = |n: u32| PathBuf::from(format!("{}.{n}", path.display()));
    for n in (1..KEPT_MAX).rev() {
        match fs::rename(old(n), old(n + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, old(1))
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

    // guarantee: AUDIT-2
    #[test]
    fn lines_go_on_where_file_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit").join("audit.jsonl");
        assert_eq!(next_seq(&path).unwrap(), 0);
        assert_eq!(append(&path, &[line(1), line(2)]).unwrap(), 3);
        assert_eq!(next_seq(&path).unwrap(), 3);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"line\": torn").unwrap();
        assert_eq!(next_seq(&path).unwrap(), 3);
        assert_eq!(append(&path, &[line(3)]).unwrap(), 4);
        assert_eq!(next_seq(&path).unwrap(), 4);
        let text = fs::read_to_string(&path).unwrap();
        let rows = text
            .lines()
            .filter_map(|it| serde_json::from_str::<AuditRow>(it).ok());
        let seqs: Vec<u64> = rows.filter_map(|it| it.line["seq"].as_u64()).collect();
        assert_eq!(seqs, [1, 2, 3]);
    }
}
