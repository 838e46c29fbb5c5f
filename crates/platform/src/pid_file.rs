//! PID file: the id of the process that holds a folder.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// File with our own id; removed when dropped, unless another process has replaced it.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes the file whole or not at all, so that nobody reads half an id.
    pub fn write(path: &Path) -> io::Result<PidFile> {
        let told = |cause: io::Error| {
            io::Error::new(
                cause.kind(),
                format!("can't write {}: {cause}", path.display()),
            )
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
        // One that a process of the same id has left; a link there would be followed.
        let _ = fs::remove_file(&beside);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&beside)
            .and_then(|mut file| writeln!(file, "{}", std::process::id()))
            .map_err(told)?;
        fs::rename(&beside, path).map_err(told)?;
        Ok(PidFile {
            path: path.to_owned(),
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if read(&self.path) == Some(std::process::id()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Returns the id in a file, if there is one.
pub fn read(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holder_removes_pid_file_unless_owned_by_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let held = PidFile::write(&path).unwrap();
        assert_eq!(read(&path), Some(std::process::id()));
        drop(held);
        assert_eq!(read(&path), None);

        let held = PidFile::write(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(held);
        assert_eq!(read(&path), Some(1));
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = PidFile::write(Path::new("/nowhere/at/all/pid")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all/pid"), "{error}");
    }
}
