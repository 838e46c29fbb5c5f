//! Data folder: its lock, its paths, and writes that last.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use quorate_clock::Instant;
use quorate_platform::private_folder::{self, DATA_HOLDS};
use tokio::sync::watch;

use super::error::OpenError;

/// Pause between two attempts at the lock.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Data folder that is ours while this lives. Everything that reads or writes in it holds a
/// reference, so the lock is free exactly when all of them are gone.
#[derive(Debug)]
pub(super) struct DataFolder {
    root: PathBuf,
    // Dropped in this order: a caller that waits for the release finds the lock free.
    _lock: File,
    _alive: watch::Sender<()>,
}

/// Notice that a data folder is no longer in use.
pub(crate) struct FolderRelease(watch::Receiver<()>);

impl FolderRelease {
    /// Returns once everything that was opened with the folder is dropped and its lock free.
    pub(crate) async fn wait(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

impl DataFolder {
    /// Takes the lock on `root`, which is made if absent; waits at most `wait` for it.
    pub(super) fn lock(
        root: &Path,
        wait: Duration,
    ) -> Result<(DataFolder, FolderRelease), OpenError> {
        private_folder::make(root, DATA_HOLDS)?;
        let path = root.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(OpenError::io(&path, "opening the lock"))?;
        let deadline = Instant::now() + wait;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(e)) => return Err(OpenError::io(&path, "locking")(e)),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    return Err(OpenError::Locked {
                        dir: root.to_owned(),
                        pid: read_pid(&mut file),
                        waited: wait,
                    });
                }
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_POLL),
            }
        }
        // For people only; what counts is the lock itself.
        write_pid(&mut file).map_err(OpenError::io(&path, "writing the process id"))?;
        let (alive, watch) = watch::channel(());
        let folder = DataFolder {
            root: root.to_owned(),
            _lock: file,
            _alive: alive,
        };
        Ok((folder, FolderRelease(watch)))
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(super) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    pub(super) fn marker(&self) -> PathBuf {
        marker_path(&self.root)
    }

    pub(super) fn durable_mark(&self) -> PathBuf {
        self.root.join("acknowledged")
    }
}

pub(super) fn marker_path(root: &Path) -> PathBuf {
    root.join("marker")
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

/// Makes it last that files were created, renamed or removed in `dir`.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Writes `path` whole or not at all, and makes it last.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temp = path.with_extension("tmp");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temp)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temp, path)?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Reads the whole of a small file; `None` if there is none.
pub(super) fn read_small(path: &Path) -> Result<Option<Vec<u8>>, OpenError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(OpenError::io(path, "reading")(e)),
    }
}
