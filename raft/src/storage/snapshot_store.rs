//! Snapshot store: the folder of snapshots, the current one, and how another takes its place.
//!
//! A snapshot is written under a temporary name, sealed, fsynced, renamed to a name that
//! says what it covers, and the directory is fsynced; only then are older ones removed
//! and only then may the log be purged behind it. A kill at any point leaves the old
//! snapshot, or the old and the new one, and perhaps a temporary file that the next open
//! removes. The newest must be sound, or the member doesn't start; older ones are not
//! looked at.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task;

use super::{
    data_folder::{DataFolder, sync_dir},
    error::OpenError,
    raft_types::{FileSnapshotMeta, LogEntryId},
    snapshot_file::{FileSnapshot, SnapshotFile, SnapshotReadError, SnapshotWriter},
};

const TEMPORARY: &str = "tmp";

/// Last entry that a snapshot covers, as in its file name; `None` is an empty state.
type SnapshotCoverage = Option<(u64, u64, u64)>;

/// The snapshots of a member.
pub(crate) struct SnapshotStore {
    folder: Arc<DataFolder>,
    dir: PathBuf,
    current: Mutex<Option<FileSnapshot>>,
    committing: Mutex<()>,
    temporaries: AtomicU64,
}

impl SnapshotStore {
    /// Finds the newest snapshot, checks all of it, and changes nothing.
    pub(super) fn open(folder: Arc<DataFolder>) -> Result<SnapshotStore, OpenError> {
        let dir = folder.snapshots();
        let newest = match fs::read_dir(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(OpenError::io(&dir, "reading")(e)),
            Ok(files) => {
                let mut newest = None;
                for file in files {
                    let file = file.map_err(OpenError::io(&dir, "reading"))?;
                    if let Some(covers) = parse_name(&file.file_name().to_string_lossy()) {
                        newest = newest.max(Some((covers, file.path())));
                    }
                }
                newest
            }
        };
        let current = match newest {
            None => None,
            Some((covers, path)) => Some(read_newest(covers, &path, &folder)?),
        };
        Ok(SnapshotStore {
            folder,
            dir,
            current: Mutex::new(current),
            committing: Mutex::new(()),
            temporaries: AtomicU64::new(0),
        })
    }

    /// Makes the folder if it is absent and removes what a kill has left behind. Done once
    /// everything has been found sound.
    pub(super) fn tidy(&self) -> Result<(), OpenError> {
        fs::create_dir_all(&self.dir).map_err(OpenError::io(&self.dir, "making"))?;
        sync_dir(self.folder.root()).map_err(OpenError::io(self.folder.root(), "fsync"))?;
        self.remove_others(true)
            .map_err(OpenError::io(&self.dir, "removing old snapshots"))
    }

    pub(crate) fn current(&self) -> Option<FileSnapshot> {
        self.current.lock().clone()
    }

    /// Begins to write a snapshot.
    pub(super) fn writer(&self, meta: &FileSnapshotMeta) -> io::Result<SnapshotWriter> {
        let n = self.temporaries.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("{n}.{TEMPORARY}"));
        SnapshotWriter::create(path, meta, self.folder.clone())
    }

    /// Returns a snapshot that lies in our folder: `file` itself, or a copy. Blocks.
    pub(super) fn adopt(
        &self,
        meta: &FileSnapshotMeta,
        file: SnapshotFile,
    ) -> io::Result<SnapshotFile> {
        if file.path().parent() == Some(&self.dir) {
            return Ok(file);
        }
        let mut writer = self.writer(meta)?;
        io::copy(&mut file.reader(), &mut writer)?;
        writer.seal()
    }

    /// Begins to receive a snapshot from the leader; it must come to `length` bytes with
    /// the checksum `crc32c`.
    pub(crate) async fn receive(
        self: &Arc<Self>,
        meta: FileSnapshotMeta,
        length: u64,
        crc32c: u32,
    ) -> io::Result<IncomingSnapshot> {
        let snapshots = self.clone();
        let writer = blocking(move || snapshots.writer(&meta)).await?;
        Ok(IncomingSnapshot {
            writer: Some(writer),
            length,
            crc32c,
        })
    }

    /// Gives a sealed snapshot its lasting name and removes the older ones; one that is
    /// older than the current one stays temporary. Blocks.
    pub(super) fn commit(
        &self,
        meta: FileSnapshotMeta,
        file: SnapshotFile,
    ) -> io::Result<FileSnapshot> {
        let _one_at_a_time = self.committing.lock();
        let covers = covers(meta.last_log_id.as_ref());
        let newer = self
            .current()
            .is_some_and(|c| self::covers(c.meta.last_log_id.as_ref()) > covers);
        if newer || !file.is_temporary() {
            return Ok(FileSnapshot {
                meta,
                snapshot: file,
            });
        }
        let path = self.dir.join(name(covers));
        super::crash_points::point("install sealed");
        file.rename(&path)?;
        super::crash_points::point("install renamed");
        sync_dir(&self.dir)?;
        let (meta, file) = SnapshotFile::open(&path, &self.folder)?;
        let snapshot = FileSnapshot {
            meta,
            snapshot: file,
        };
        *self.current.lock() = Some(snapshot.clone());
        if let Err(e) = self.remove_others(false) {
            tracing::warn!(dir = %self.dir.display(), error = %e, "old snapshots could not be removed");
        }
        Ok(snapshot)
    }

    /// Removes every snapshot that is older than the current one, and temporary files too
    /// while nothing is being written.
    fn remove_others(&self, temporaries: bool) -> io::Result<()> {
        let keep = self.current();
        let keep = keep.map(|c| covers(c.meta.last_log_id.as_ref()));
        for file in fs::read_dir(&self.dir)? {
            let file = file?;
            let file_name = file.file_name();
            let file_name = file_name.to_string_lossy();
            let older = parse_name(&file_name).is_some_and(|covers| Some(covers) < keep);
            let left_over = temporaries && file_name.ends_with(&format!(".{TEMPORARY}"));
            if older || left_over {
                fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }
}

fn read_newest(
    covers: SnapshotCoverage,
    path: &Path,
    folder: &Arc<DataFolder>,
) -> Result<FileSnapshot, OpenError> {
    let what = "the newest snapshot";
    let unreadable = |e| match e {
        SnapshotReadError::Io(e) => OpenError::io(path, "reading")(e),
        SnapshotReadError::Unsound(unsound) => OpenError::unsound(path, what, &unsound),
    };
    let (meta, file) = SnapshotFile::open(path, folder).map_err(unreadable)?;
    if self::covers(meta.last_log_id.as_ref()) != covers {
        let found = format!("{what} covers something else than its name says");
        return Err(OpenError::damaged(path, found));
    }
    file.verify().map_err(unreadable)?;
    Ok(FileSnapshot {
        meta,
        snapshot: file,
    })
}

fn covers(last: Option<&LogEntryId>) -> SnapshotCoverage {
    last.map(|id| (id.index, id.leader_id.term, id.leader_id.node_id))
}

fn name(covers: SnapshotCoverage) -> String {
    match covers {
        Some((index, term, member)) => format!("{index:020}-{term}-{member}.snapshot"),
        None => "empty.snapshot".to_owned(),
    }
}

/// Reads a file name; `None` for a file that is no snapshot.
fn parse_name(name: &str) -> Option<SnapshotCoverage> {
    let stem = name.strip_suffix(".snapshot")?;
    if stem == "empty" {
        return Some(None);
    }
    let mut parts = stem.split('-').map(|part| part.parse().ok());
    let covers = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(Some(covers))
}

/// Snapshot on its way in. Dropped before the end, it leaves nothing behind.
pub(crate) struct IncomingSnapshot {
    writer: Option<SnapshotWriter>,
    length: u64,
    crc32c: u32,
}

impl IncomingSnapshot {
    /// Takes the next part.
    pub(crate) async fn write(&mut self, data: Bytes) -> io::Result<()> {
        use io::Write;
        let mut writer = self.writer.take().ok_or_else(failed_before)?;
        if writer.length() + data.len() as u64 > self.length {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "the snapshot has more than the {} bytes announced",
                    self.length
                ),
            ));
        }
        let writer = blocking(move || writer.write_all(&data).map(|()| writer)).await?;
        self.writer = Some(writer);
        Ok(())
    }

    /// Checks that all has come, whole, and makes it last. The next step is to install it.
    pub(crate) async fn finish(mut self) -> io::Result<SnapshotFile> {
        let writer = self.writer.take().ok_or_else(failed_before)?;
        let (length, crc32c) = (writer.length(), writer.crc32c());
        if (length, crc32c) != (self.length, self.crc32c) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "the snapshot came with {length} bytes and checksum {crc32c:08x} instead of \
                     {} bytes and {:08x}",
                    self.length, self.crc32c
                ),
            ));
        }
        blocking(move || writer.seal()).await
    }
}

fn failed_before() -> io::Error {
    io::Error::other("an earlier part of the snapshot could not be written")
}

/// Runs blocking work on a thread for it; a panic there is an error here.
pub(super) async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match task::spawn_blocking(f).await {
        Ok(result) => result,
        Err(e) => Err(io::Error::other(format!(
            "work on a snapshot was cut short: {e}"
        ))),
    }
}
