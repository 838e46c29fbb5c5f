//! Trusted paths, where nobody but root and this user can put something else.
//!
//! A user who may write a file, or any folder on the way to it, decides what is found there. So
//! each of them must belong to root or to this user, and nobody else may write it; a folder
//! like `/tmp`, in which everybody may make files and nobody may replace another's, will do.
//!
//! What was looked at stays so until it is used: those who could change it are trusted. What
//! access control lists and a read-only mount say on top of the mode is not looked at.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::unistd::{getegid, geteuid};

use crate::private_folder::quoted;

/// Reason why a path is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum UntrustedPath {
    /// The system does not show it.
    #[error("{} can't be looked at: {error}", path.display())]
    NotShown {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// It belongs to a user who is not trusted.
    #[error(
        "{} belongs to user {owner}, who could replace what is there: chown {} {}",
        path.display(), geteuid(), quoted(path)
    )]
    OthersOwn {
        /// The file or folder.
        path: PathBuf,
        /// The number of the user.
        owner: u32,
    },
    /// Users who are not trusted may write it.
    #[error("others may write {}: chmod go-w {}", .0.display(), quoted(.0))]
    OthersWrite(PathBuf),
}

/// Checks a path without links in it, and each folder above it. `also` is another owner that is
/// trusted. Blocks.
pub fn check(path: &Path, also: Option<u32>) -> Result<(), UntrustedPath> {
    path.ancestors().try_for_each(|it| check_one(it, also))
}

/// Checks one file or folder alone. Blocks.
pub fn check_one(path: &Path, also: Option<u32>) -> Result<(), UntrustedPath> {
    let path = path.to_owned();
    let seen = match fs::metadata(&path) {
        Ok(seen) => seen,
        Err(error) => return Err(UntrustedPath::NotShown { path, error }),
    };
    let (me, owner, mode) = (geteuid().as_raw(), seen.uid(), seen.permissions().mode());
    if ![0, me].contains(&owner) && also != Some(owner) {
        return Err(UntrustedPath::OthersOwn { path, owner });
    }
    // Of a folder like /tmp its entries' owners alone can replace them, and they are looked at.
    let is_sticky = seen.is_dir() && mode & 0o1000 != 0;
    let others = if is_own_group(seen.gid()) {
        0o002
    } else {
        0o022
    };
    if mode & others == 0 || is_sticky {
        return Ok(());
    }
    Err(UntrustedPath::OthersWrite(path))
}

/// Makes a folder for this user alone, and those above it that are absent; one that is there
/// may be looked into by others, and written by none of them. For what has no secrets in files
/// that others may read, but would obey whoever could replace them. Blocks.
pub fn make_folder(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    check_one(dir, None).map_err(io::Error::other)
}

/// Returns `true` if a group is this user's alone, as systems make one beside each user with the
/// user's number. Root's has other members on many a system.
fn is_own_group(group: u32) -> bool {
    let me = geteuid().as_raw();
    me != 0 && group == me && getegid().as_raw() == me
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    // guarantee: SECURITY-3
    #[test]
    fn trusted_path_has_no_component_writable_by_others() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (upper, lower) = (root.join("upper"), root.join("upper/lower"));
        fs::create_dir_all(&lower).unwrap();
        let file = lower.join("file");
        fs::write(&file, "").unwrap();
        let paths: [PathBuf; 3] = [upper, lower, file.clone()];
        for path in &paths {
            set(path, 0o755);
        }
        check(&file, None).unwrap();
        for path in &paths {
            for wide in [0o757, 0o777, 0o702] {
                set(path, wide);
                let refused = check(&file, None).unwrap_err().to_string();
                let command = format!("chmod go-w {}", path.display());
                assert!(refused.ends_with(&command), "{refused}");
            }
            set(path, 0o755);
        }
        set(&paths[0], 0o1777);
        check(&file, None).unwrap();
        set(&file, 0o1777);
        assert!(check(&file, None).is_err(), "of a file it means nothing");
        assert!(check(&root.join("absent"), None).is_err());
    }

    #[test]
    fn folder_writable_by_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let made = dir.path().join("deep/its own");
        make_folder(&made).unwrap();
        let mode = fs::metadata(&made).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        set(&made, 0o755);
        make_folder(&made).unwrap();
        set(&made, 0o777);
        let refused = make_folder(&made).unwrap_err().to_string();
        assert!(refused.contains("chmod go-w '"), "{refused}");
    }

    // guarantee: SECURITY-3
    #[test]
    fn path_owned_by_trusted_user_is_trusted() {
        if !geteuid().is_root() {
            return println!("only root can give a file away");
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().canonicalize().unwrap().join("file");
        fs::write(&file, "").unwrap();
        set(&file, 0o775);
        assert!(check(&file, None).is_err(), "root's group has others in it");
        set(&file, 0o755);
        std::os::unix::fs::chown(&file, Some(4242), None).unwrap();
        let refused = check(&file, None).unwrap_err().to_string();
        assert!(refused.contains("belongs to user 4242"), "{refused}");
        check(&file, Some(4242)).unwrap();
    }
}
