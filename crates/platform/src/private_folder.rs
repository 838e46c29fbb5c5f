//! Private folders, which only the member's user may enter.
//!
//! Passwords of brokers are in the log and in snapshots, and a socket serves every process that
//! can reach it.
//!
//! One rule for all of them. A folder that isn't there is made with mode 0700. One with
//! nothing in it is closed: the one who made it for the member may have set no mode, and it has
//! no secrets yet. One that has something in it and that others may enter is refused: what
//! was in it may have been read already, and to close it may cut off a program of someone else.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Contents of a data folder, in words.
pub const DATA_HOLDS: &str = "it is the data folder, and passwords of brokers are in it";

/// Reason for which a folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Others may enter the folder.
    #[error(
        "others may look into the folder {shown} (its mode is {mode:04o}): {holds}. Nothing was \
         changed. Close it: chmod -R go-rwx {}",
        quoted(dir), shown = dir.display()
    )]
    Exposed {
        /// The folder.
        dir: PathBuf,
        /// The mode of the folder.
        mode: u32,
        /// The contents of the folder, in words.
        holds: &'static str,
    },

    /// The system refused.
    #[error("{action} the folder {}: {error}", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// The step that failed.
        action: &'static str,
        /// The error of the system.
        error: io::Error,
    },
}

/// Makes the folder, and those above it that are absent, or holds the one that is there to the
/// rule above. `holds` names the contents, for the person who has to close it. Blocks.
pub fn make(dir: &Path, holds: &'static str) -> Result<(), FolderError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(failed(dir, "making"))?;
    check(dir, holds)
}

/// Holds the folder to the rule above, if it is there. Blocks.
pub fn check(dir: &Path, holds: &'static str) -> Result<(), FolderError> {
    let looking = || failed(dir, "looking at");
    let seen = match fs::metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        seen => seen.map_err(looking())?,
    };
    if seen.mode() & 0o077 == 0 {
        return Ok(());
    }
    if fs::read_dir(dir).map_err(looking())?.next().is_none() {
        return fs::set_permissions(dir, Permissions::from_mode(0o700))
            .map_err(failed(dir, "closing to others"));
    }
    Err(FolderError::Exposed {
        dir: dir.to_owned(),
        mode: seen.mode() & 0o7777,
        holds,
    })
}

fn failed(dir: &Path, action: &'static str) -> impl FnOnce(io::Error) -> FolderError {
    let dir = dir.to_owned();
    move |error| FolderError::Io { dir, action, error }
}

/// Quotes a path for a command that is printed to be typed, where a shell would otherwise take
/// it for something else.
pub fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "/._-+,:@%".contains(it);
    if !path.is_empty() && path.chars().all(is_plain) {
        return path;
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLDS: &str = "secrets are in it";

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    // guarantee: SECURITY-2
    #[test]
    fn folder_is_made_private_or_refused_when_exposed() {
        let dir = tempfile::tempdir().unwrap();
        let made = dir.path().join("deep/its own");
        check(&made, HOLDS).unwrap();
        assert!(!made.exists());
        make(&made, HOLDS).unwrap();
        assert_eq!((mode(&made), mode(made.parent().unwrap())), (0o700, 0o700));
        fs::set_permissions(&made, Permissions::from_mode(0o755)).unwrap();
        make(&made, HOLDS).unwrap();
        assert_eq!(mode(&made), 0o700);
        fs::write(made.join("file"), "").unwrap();
        make(&made, HOLDS).unwrap();
        for wide in [0o755, 0o750, 0o701, 0o770] {
            fs::set_permissions(&made, Permissions::from_mode(wide)).unwrap();
            for error in [make(&made, HOLDS), check(&made, HOLDS)] {
                let text = error.unwrap_err().to_string();
                let command = format!("chmod -R go-rwx '{}'", made.display());
                for part in [command.as_str(), HOLDS, &format!("{wide:04o}")] {
                    assert!(text.contains(part), "{part} is not in: {text}");
                }
            }
            assert_eq!(mode(&made), wide);
        }
    }

    #[test]
    fn chmod_hint_for_exposed_folder_is_shell_quoted() {
        for (dir, command) in [
            ("/srv/member-1/data", "chmod -R go-rwx /srv/member-1/data"),
            ("/srv/it's $1", r"chmod -R go-rwx '/srv/it'\''s $1'"),
        ] {
            let exposed = FolderError::Exposed {
                dir: dir.into(),
                mode: 0o755,
                holds: HOLDS,
            };
            let text = exposed.to_string();
            assert!(text.ends_with(command), "{text}");
        }
    }
}
