//! The balancer's `pid` file, whose lock keeps a second balancer out of the folder.

use std::{
    fs::{self, File, OpenOptions},
    io::{Seek, Write},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use super::{BalancerError, files::failed};

/// The `pid` file, locked for as long as this value lives; removed with it.
pub(super) struct BalancerPidFile {
    path: PathBuf,
    _lock: Flock<File>,
}

impl BalancerPidFile {
    /// Takes the folder for this process.
    pub(super) fn take(dir: &Path) -> Result<BalancerPidFile, BalancerError> {
        let path = dir.join("pid");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| failed("can't write", &path, error))?;
        let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
            let pid = fs::read_to_string(&path).unwrap_or_default();
            BalancerError::Taken {
                dir: dir.to_owned(),
                pid: pid.trim().to_owned(),
            }
        })?;
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(|error| failed("can't write", &path, error))?;
        Ok(BalancerPidFile { path, _lock: lock })
    }
}

impl Drop for BalancerPidFile {
    fn drop(&mut self) {
        // Removed while the lock is held; a process that comes now makes a file of its own.
        let _ = fs::remove_file(&self.path);
    }
}
