//! Why a data folder is refused, in words for the one who has to mend it.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::format::Unsound;

const REJOIN: &str = "Nothing was changed. If a quorum of the other members is up, put the folder \
    aside and start with --join, under another `name` and another peer address: as a new member \
    it is given everything, while the old one stays in the list. If this was the only member, restore the folder from a snapshot or a copy";

/// Why a data folder can't be opened. Each says what was found and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(
        "the data folder {} is in use by {}; waited {waited:?} for it. Stop that one, or give \
         this member a folder of its own",
        dir.display(), holder(*.pid)
    )]
    Locked {
        dir: PathBuf,
        pid: Option<u32>,
        waited: Duration,
    },

    #[error(
        "others may look into the data folder {shown} (its mode is {mode:04o}), and passwords of \
         brokers are in it. Nothing was changed. Close it: chmod -R go-rwx {}",
        quoted(dir), shown = dir.display()
    )]
    Exposed { dir: PathBuf, mode: u32 },

    #[error("{} can't be trusted: {found}. {REJOIN}", path.display())]
    Damaged { path: PathBuf, found: String },

    #[error(
        "{} was written by a newer version: {found}. Start the version that wrote it, or a later one",
        path.display()
    )]
    Future { path: PathBuf, found: String },

    #[error(
        "the data folder {} belongs to member {have_member} of cluster {have_cluster}, not to \
         member {want_member} of cluster {want_cluster}. Give each member a folder of its own",
        dir.display()
    )]
    Foreign {
        dir: PathBuf,
        have_cluster: String,
        have_member: u64,
        want_cluster: String,
        want_member: u64,
    },

    #[error("{}: {action} failed: {source}", path.display())]
    Io {
        path: PathBuf,
        action: &'static str,
        source: io::Error,
    },
}

/// A path in a command that is printed to be typed: in quotes where a shell would otherwise
/// take it for something else.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "/._-+,:@%".contains(it);
    if !path.is_empty() && path.chars().all(is_plain) {
        return path;
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}

fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

impl OpenError {
    pub(super) fn damaged(path: &Path, found: impl Into<String>) -> Self {
        OpenError::Damaged {
            path: path.to_owned(),
            found: found.into(),
        }
    }

    /// What an unsound record in `path` amounts to.
    pub(super) fn unsound(path: &Path, what: &str, unsound: &Unsound) -> Self {
        let path = path.to_owned();
        let found = format!("{what}: {unsound}");
        match unsound.is_newer() {
            true => OpenError::Future { path, found },
            false => OpenError::Damaged { path, found },
        }
    }

    pub(super) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| OpenError::Io {
            path,
            action,
            source,
        }
    }
}
