//! File with the private key of this member: `seal.key` in the folder of keys.
//!
//! The folder lies outside of the data folder, so that a copy of the data opens nothing. It is made
//! with mode 0700 and the file with 0600, whatever the umask; either is refused when others may
//! read it. The file comes to be whole or not at all: it is written under another name, synced, and
//! linked to its own, which a second process that does the same can't replace.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use quorate_keyring::{KEY_BYTES, NoRandomness, SealKey};
use quorate_platform::private_folder::{self, FolderError, quoted};
use zeroize::Zeroizing;

/// Name of the file.
pub const FILE: &str = "seal.key";
/// What the folder holds, for whoever has to close it.
pub const KEYS_HOLD: &str = "the key that opens the cluster's secrets is in it";
/// First line of the file.
const FORM: &str = "quorate-seal-key-1";

/// Reason why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The folder can't be used.
    #[error(
        "{0}. The folder is `security.keys_dir`, which the settings can put elsewhere outside of the data folder"
    )]
    Folder(#[from] FolderError),
    /// Others than the owner may read the file.
    #[error(
        "{} has mode {mode:04o}, and {KEYS_HOLD}: others can read it. If nobody else has, close it: chmod 600 {}",
        .file.display(),
        quoted(.file)
    )]
    Exposed {
        /// The file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file holds no key.
    #[error(
        "{} holds no sealing key that this version reads: bring back the file from a copy of the keys folder; without one, move it away, start the member, and accept its new key with `quorate secret rewrap`",
        .0.display()
    )]
    Unreadable(PathBuf),
    /// The file can't be read or written.
    #[error("{}: {error}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// No key can be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Reads the key of this member, or makes one where there is none. Blocks.
pub fn read_or_make(dir: &Path) -> Result<SealKey, KeyFileError> {
    private_folder::make(dir, KEYS_HOLD)?;
    let file = dir.join(FILE);
    if let Some(key) = read(&file)? {
        return Ok(key);
    }
    let key = SealKey::generate()?;
    let failed = |error| KeyFileError::Io {
        file: file.clone(),
        error,
    };
    match write(dir, &file, &key) {
        Ok(()) => Ok(key),
        // Another process was faster: its key is the member's.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(&file)?.ok_or_else(|| failed(error))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Reads the key, if the file is there.
fn read(file: &Path) -> Result<Option<SealKey>, KeyFileError> {
    let failed = |error| KeyFileError::Io {
        file: file.to_owned(),
        error,
    };
    let mode = match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        seen => seen.map_err(failed)?.mode() & 0o7777,
    };
    if mode & 0o077 != 0 {
        let file = file.to_owned();
        return Err(KeyFileError::Exposed { file, mode });
    }
    let text = Zeroizing::new(fs::read_to_string(file).map_err(failed)?);
    let key = parse(&text).ok_or_else(|| KeyFileError::Unreadable(file.to_owned()))?;
    Ok(Some(key))
}

fn parse(text: &str) -> Option<SealKey> {
    let (form, key) = text.trim_end().split_once('\n')?;
    let key = Zeroizing::new(BASE64_STANDARD.decode(key).ok()?);
    let key: &[u8; KEY_BYTES] = key[..].try_into().ok()?;
    (form == FORM).then(|| SealKey::from_bytes(key))
}

fn write(dir: &Path, file: &Path, key: &SealKey) -> io::Result<()> {
    let new = dir.join(format!("{FILE}.{}.new", std::process::id()));
    // What a process of this number left behind when it was killed.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let encoded = Zeroizing::new(BASE64_STANDARD.encode(&*key.to_bytes()));
    let text = Zeroizing::new(format!("{FORM}\n{}\n", &*encoded));
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    let linked = fs::hard_link(&new, file);
    fs::remove_file(&new)?;
    linked?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    /// Security test 47.
    // guarantee: SECURITY-23
    #[test]
    fn key_file_is_private_and_stays_the_same() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("deep/keys");
        let key = read_or_make(&dir).unwrap();
        assert_eq!(read_or_make(&dir).unwrap().public(), key.public());
        let file = dir.join(FILE);
        assert_eq!((mode(&dir), mode(&file)), (0o700, 0o600));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        for wide in [0o640, 0o604, 0o660] {
            fs::set_permissions(&file, Permissions::from_mode(wide)).unwrap();
            let text = read_or_make(&dir).unwrap_err().to_string();
            assert!(text.contains("chmod 600"), "{text}");
        }
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o750)).unwrap();
        let text = read_or_make(&dir).unwrap_err().to_string();
        assert!(text.contains("chmod -R go-rwx"), "{text}");
    }

    #[test]
    fn damaged_key_file_is_refused_and_kept() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(FILE);
        fs::set_permissions(root.path(), Permissions::from_mode(0o700)).unwrap();
        read_or_make(root.path()).unwrap();
        let good = fs::read_to_string(&file).unwrap();
        for bad in [
            String::new(),
            good[..good.len() / 2].to_owned(),
            good.replace("key-1", "key-2"),
        ] {
            fs::write(&file, &bad).unwrap();
            let error = read_or_make(root.path()).unwrap_err();
            assert!(matches!(error, KeyFileError::Unreadable(_)), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), bad);
        }
    }
}
