//! Temporary folder named after its process, so that the next process removes what is left.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// Folder that is removed in the end, with all that is mounted there.
pub struct ScratchFolder(TempDir);

impl ScratchFolder {
    /// Removes the folders of processes that are gone, and makes one.
    pub fn make(prefix: &str) -> io::Result<ScratchFolder> {
        sweep(prefix);
        let dir = tempfile::Builder::new()
            .prefix(&format!("{prefix}{}-", std::process::id()))
            .tempdir()?;
        Ok(ScratchFolder(dir))
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        unmount_under(self.path());
    }
}

fn sweep(prefix: &str) {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.split_once('-'));
        if owner.is_some_and(|(pid, _)| gone(pid)) {
            unmount_under(&entry.path());
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Returns whether a process is gone.
pub fn gone(pid: &str) -> bool {
    pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()
}

/// Unmounts everything below a folder.
fn unmount_under(folder: &Path) {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let points = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from)
        .filter(|point| point.starts_with(folder));
    for point in points {
        let _ = Command::new("umount").arg("--lazy").arg(point).status();
    }
}
