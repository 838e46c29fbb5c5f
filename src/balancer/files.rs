//! The balancer's folder: its files are replaced as a whole or not at all.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use quorate_platform::trusted_path;

use super::BalancerError;

/// Makes the folder, for its owner alone. The settings may lie in it, so that others may read
/// there; a user who could write there would command HAProxy.
pub(super) fn make_folder(dir: &Path) -> Result<(), BalancerError> {
    trusted_path::make_folder(dir).map_err(|error| failed("can't work in", dir, error))
}

/// Writes a file in place.
pub(super) fn write(path: &Path, text: &str) -> Result<(), BalancerError> {
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| failed("can't write", path, error))
}

/// Renames `from` to `to`, replacing it.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), BalancerError> {
    fs::rename(from, to).map_err(|error| failed("can't replace", to, error))
}

/// Replaces a file; a reader sees the old text or the new one.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), BalancerError> {
    let new = path.with_extension("new");
    write(&new, text)?;
    rename(&new, path)
}

/// Makes the error of a file, with the action that failed.
pub(super) fn failed(what: &'static str, path: &Path, error: std::io::Error) -> BalancerError {
    BalancerError::File {
        what,
        path: path.to_owned(),
        error,
    }
}
