//! Storage of a member: its data folder, and the checks with which that is opened.
//!
//! ```text
//! lock           held for as long as anything here is in use
//! marker         which member of which cluster this is
//! acknowledged   the vote that was given and the last entry that was acknowledged: the mark
//! lease          how long a lease may run that this member had a part in
//! log/           RocksDB: entries, vote, what is purged and committed
//! snapshots/     the newest snapshot; the machine's state is nowhere else on disk
//! ```
//! A folder that can't be trusted is refused before anything in it is changed; `log_check` has
//! the argument.

#[cfg(test)]
mod tests;

mod backlog;
pub(crate) mod convert;
mod crash_points;
mod data_folder;
mod durable_mark;
mod error;
mod flusher;
mod keys;
mod log;
mod log_check;
mod log_counters;
mod log_db;
mod longest_lease;
mod machine_store;
mod marker;
pub(crate) mod raft_types;
mod reader;
mod rocksdb_framing;
mod sealed_record;
mod snapshot_access;
mod snapshot_file;
mod snapshot_store;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use quorate_clock::Instant;

pub(crate) use data_folder::FolderRelease;
pub(crate) use error::OpenError;
pub(crate) use log::LogStore;
pub(crate) use log_counters::LogCounters;
pub(crate) use longest_lease::LongestLease;
pub(crate) use machine_store::MachineStore;
pub(crate) use marker::{FolderMarker, read_marker};
pub(crate) use snapshot_access::SnapshotAccess;
pub(crate) use snapshot_file::{FileSnapshot, SnapshotFile};
pub(crate) use snapshot_store::SnapshotStore;

use data_folder::{DataFolder, sync_dir};
use durable_mark::{DurableMark, DurableMarkFile};
use flusher::LogFlusher;
use log_check::LogContents;
use log_db::LogDb;
use reader::LogReader;
use rocksdb::WriteBatch;
use rocksdb_framing::{FramingError, FramingFault};

use crate::StateMachine;

/// Open data folder. Its lock is free again, and `released` reports it, once all parts and what
/// came from them are dropped.
pub(crate) struct OpenedStorage {
    pub(crate) log: LogStore,
    pub(crate) machine: MachineStore,
    /// For receiving snapshots from a leader.
    pub(crate) snapshots: Arc<SnapshotStore>,
    pub(crate) longest: LongestLease,
    /// Absent in a folder that was new: see [`OpenedStorage::claim_folder`].
    pub(crate) marker: Option<FolderMarker>,
    pub(crate) released: FolderRelease,
    root: PathBuf,
}

impl OpenedStorage {
    /// Makes a new folder that of `marker`; refuses a folder that belongs to another member.
    pub(crate) fn claim_folder(&mut self, marker: FolderMarker) -> Result<(), OpenError> {
        match &self.marker {
            None => {
                marker::write_marker(&self.root, &marker)?;
                self.marker = Some(marker);
                Ok(())
            }
            Some(have) if *have == marker => Ok(()),
            Some(have) => Err(OpenError::Foreign {
                dir: self.root.clone(),
                have_cluster: have.cluster.clone(),
                have_member: have.member,
                want_cluster: marker.cluster,
                want_member: marker.member,
            }),
        }
    }
}

/// Data folder that has been read and found sound, before anything in it is changed.
struct CheckedFolder {
    marker: Option<FolderMarker>,
    snapshots: Arc<SnapshotStore>,
    /// The file of the mark, if there is one.
    mark_file: Option<DurableMarkFile>,
    mark: DurableMark,
    log_exists: bool,
    /// The vote in the log.
    voted: Option<raft_types::StoredVote>,
}

/// Opens the data folder `dir`, making it if it is absent: takes its lock (waiting at most
/// `lock_wait`), checks everything in it, and restores `machine` from the newest snapshot.
/// Blocks for as long as reading the log and the snapshot takes.
pub(crate) fn open(
    dir: &Path,
    lock_wait: Duration,
    machine: Box<dyn StateMachine>,
) -> Result<OpenedStorage, OpenError> {
    let (folder, released) = DataFolder::lock(dir, lock_wait)?;
    let folder = Arc::new(folder);
    let checked = check_folder(dir, &folder)?;
    let snapshots = checked.snapshots.clone();
    let machine = MachineStore::open(machine, snapshots.clone());
    let machine = machine.map_err(|e| restore_error(&snapshots, &e))?;
    let longest = LongestLease::open(&folder, Instant::now())?;

    // Sound: from here on things are changed.
    snapshots.tidy()?;
    let marker = checked.marker.clone();
    let log = open_log(dir, &folder, checked)?;
    Ok(OpenedStorage {
        log,
        machine,
        snapshots,
        longest,
        marker,
        released,
        root: dir.to_owned(),
    })
}

/// Reads the folder without changing it, and refuses it if it can't be trusted.
fn check_folder(dir: &Path, folder: &Arc<DataFolder>) -> Result<CheckedFolder, OpenError> {
    let marker = read_marker(dir)?;
    let snapshots = Arc::new(SnapshotStore::open(folder.clone())?);
    let newest = snapshots.current().and_then(|s| s.meta.last_log_id);

    let found = DurableMarkFile::open(&folder.durable_mark())?;
    let log_exists = LogDb::exists(&folder.log());
    match (&marker, &found, log_exists) {
        (Some(_), None, _) => {
            let path = folder.durable_mark();
            return Err(OpenError::damaged(&path, "the file is missing"));
        }
        (Some(_), _, false) => {
            return Err(OpenError::damaged(&folder.log(), "the log is missing"));
        }
        (None, _, _) if snapshots.current().is_some() => {
            return Err(without_marker(folder, "a snapshot"));
        }
        _ => (),
    }
    let (mark_file, mark) = found.unzip();
    let mark = mark.unwrap_or_default();
    let mut voted = None;
    if log_exists {
        let contents = check_log(folder, &mark, newest)?;
        if marker.is_none() && !contents.is_pristine() {
            return Err(without_marker(folder, "a log"));
        }
        voted = contents.vote;
    }
    if marker.is_none() && mark != DurableMark::default() {
        return Err(without_marker(folder, "an acknowledged vote or entry"));
    }
    Ok(CheckedFolder {
        marker,
        snapshots,
        mark_file,
        mark,
        log_exists,
        voted,
    })
}

/// Opens the log of a sound folder for use, and makes what a new folder lacks.
fn open_log(
    dir: &Path,
    folder: &Arc<DataFolder>,
    checked: CheckedFolder,
) -> Result<LogStore, OpenError> {
    let CheckedFolder {
        mark_file,
        mark,
        log_exists,
        voted,
        ..
    } = checked;
    let log = folder.log();
    fs::create_dir_all(&log).map_err(OpenError::io(&log, "making"))?;
    let db = LogDb::open(folder.clone(), !log_exists).map_err(|e| rocks_error(&log, &e))?;
    if let Some(given) = mark.vote.filter(|given| Some(*given) > voted) {
        let mut batch = WriteBatch::default();
        log_db::put_vote(&mut batch, &given);
        db.write(batch)
            .map_err(OpenError::io(&log, "writing the vote to the log"))?;
    }
    let file = match mark_file {
        Some(file) => file,
        None => {
            DurableMarkFile::create(folder)?;
            let opened = DurableMarkFile::open(&folder.durable_mark())?;
            opened.expect("invariant: it was just written").0
        }
    };
    sync_dir(dir).map_err(OpenError::io(dir, "fsync"))?;
    let reader = LogReader::new(Arc::new(db));
    let flusher = LogFlusher::start(reader.clone(), file, mark);
    let flusher = flusher.map_err(OpenError::io(&log, "starting the flusher"))?;
    Ok(LogStore::new(reader, flusher))
}

/// Reads the whole log without changing it, and refuses it if it can't be trusted.
fn check_log(
    folder: &Arc<DataFolder>,
    mark: &DurableMark,
    newest_snapshot: Option<raft_types::LogEntryId>,
) -> Result<LogContents, OpenError> {
    let dir = folder.log();
    let manifest =
        rocksdb_framing::unframed_manifest(&dir).map_err(OpenError::io(&dir, "reading"))?;
    let unframed = rocksdb_framing::unframed_logs(&dir).map_err(OpenError::io(&dir, "reading"))?;
    let endless = |u: &&FramingError| matches!(u.why, FramingFault::Recycled(_));
    if let Some(bad) = manifest.as_ref().or(unframed.iter().find(endless)) {
        return Err(OpenError::damaged(&bad.path, bad.to_string()));
    }
    let refuse = |found: String| {
        let places: Vec<String> = unframed.iter().map(FramingError::to_string).collect();
        if places.is_empty() {
            OpenError::damaged(&dir, found)
        } else {
            OpenError::damaged(&dir, format!("{found}; {}", places.join("; ")))
        }
    };
    let db = LogDb::open_read_only(folder.clone()).map_err(|e| refuse(e.to_string()))?;
    let contents = match LogContents::read(&db, mark) {
        Ok(contents) => contents,
        Err(e) if e.kind() == io::ErrorKind::Unsupported => {
            return Err(OpenError::Future {
                path: dir,
                found: e.to_string(),
            });
        }
        Err(e) => return Err(refuse(e.to_string())),
    };
    contents
        .check_promises(mark, newest_snapshot)
        .map_err(|broken| refuse(broken.to_string()))?;
    for cut in &unframed {
        tracing::warn!(dir = %dir.display(), "{cut}; no acknowledged entry was in it or behind it, it is cut");
    }
    Ok(contents)
}

fn without_marker(folder: &DataFolder, what: &str) -> OpenError {
    let found = format!("the file is missing, but there is {what}");
    OpenError::damaged(&folder.marker(), found)
}

fn rocks_error(path: &Path, e: &rocksdb::Error) -> OpenError {
    match e.kind() {
        rocksdb::ErrorKind::Corruption => OpenError::damaged(path, e.to_string()),
        _ => OpenError::io(path, "opening the log")(io::Error::other(e.to_string())),
    }
}

fn restore_error(snapshots: &SnapshotStore, e: &io::Error) -> OpenError {
    let current = snapshots.current();
    let path = current.map(|s| s.snapshot.path().to_owned());
    OpenError::damaged(&path.unwrap_or_default(), e.to_string())
}
