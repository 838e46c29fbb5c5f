//! Errors with which a data folder is refused, in words for the person who has to mend it.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use quorate_platform::private_folder::FolderError;

use super::sealed_record::RecordError;

const REJOIN: &str = "Nothing was changed. If a quorum of the other members is up, put the folder \
    aside and start with --join, under another `name` and another peer address: as a new member \
    it is given everything, while the old one stays in the list. If this was the only member, restore the folder from a snapshot or a copy";

/// Reason why a data folder can't be opened. Each says what was found and what to do.
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

    #[error(transparent)]
    Folder(#[from] FolderError),

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

    #[error("{}: {action} failed: {error}", path.display())]
    Io {
        path: PathBuf,
        action: &'static str,
        error: io::Error,
    },
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

    /// Returns the error that an unsound record in `path` amounts to.
    pub(super) fn unsound(path: &Path, what: &str, unsound: &RecordError) -> Self {
        let path = path.to_owned();
        let found = format!("{what}: {unsound}");
        if unsound.is_newer() {
            OpenError::Future { path, found }
        } else {
            OpenError::Damaged { path, found }
        }
    }

    pub(super) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| OpenError::Io {
            path,
            action,
            error,
        }
    }
}
