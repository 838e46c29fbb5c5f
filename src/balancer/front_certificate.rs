//! Certificate of the front: two files that somebody renews, made into the one that HAProxy reads.
//!
//! HAProxy wants the chain and the key in one file, and reads it when it starts. So each pair is
//! written into a file of its own in the balancer's folder, named by what is in it, and the
//! configuration names that: another pair is another configuration, which HAProxy checks before it
//! comes into force, and a new process takes the listening sockets over from the one with the
//! former pair. A pair that isn't one, since the second file is still to be written, is refused by
//! that check, and the former one stays.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use quorate_clock::Instant;
use quorate_platform::private_folder;
use sha2::{Digest, Sha256};

use super::{BalancerError, files};

/// The interval of looking for other files. Mounts of Kubernetes and NFS tell of no change.
const LOOK: Duration = Duration::from_secs(1);
/// The wait until files are read again that could not be put in force.
const AGAIN: Duration = Duration::from_secs(60);
/// The longest file.
const BYTES_MAX: u64 = 1 << 20;
const NAME: (&str, &str) = ("front-", ".pem");

/// Files of the front's certificate, as the settings name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontFiles {
    /// The certificate and those that lead to its authority, in PEM.
    pub cert: PathBuf,
    /// The key, in PEM.
    pub key: PathBuf,
}

/// Reason why a file can't be a part of the certificate.
#[derive(Debug, thiserror::Error)]
pub enum FrontFileError {
    /// The file can't be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Others may read the key.
    #[error("others may read the key: chmod o-rwx {}", private_folder::quoted(.0))]
    Exposed(PathBuf),
    /// The file is longer than any of its kind.
    #[error("it has more than {BYTES_MAX} bytes")]
    TooLong,
    /// The file has nothing of its kind.
    #[error("there is no {0} in it, in PEM")]
    Without(&'static str),
}

/// What tells one state of a file from another without reading it.
type FileStamp = (u64, u64, i64, i64, u64);

/// The certificate of the front, followed.
pub(super) struct FrontCertificate {
    files: FrontFiles,
    dir: PathBuf,
    seen: Option<[FileStamp; 2]>,
    next: Instant,
    /// When files that stay as they are are read again all the same.
    again: Option<Instant>,
}

impl FrontCertificate {
    /// Reads the files for the first time. Returns the name of the file for HAProxy, too.
    pub(super) fn load(
        files: FrontFiles,
        dir: &Path,
    ) -> Result<(FrontCertificate, String), BalancerError> {
        let mut certificate = FrontCertificate {
            files,
            dir: dir.to_owned(),
            seen: None,
            next: Instant::now(),
            again: None,
        };
        let name = certificate.read()?;
        Ok((certificate, name))
    }

    /// Returns the name of another file for HAProxy, if the files are other ones since the last
    /// time. An error is told once for each state of the files.
    pub(super) fn follow(&mut self) -> Result<Option<String>, BalancerError> {
        let now = Instant::now();
        if now < self.next {
            return Ok(None);
        }
        self.next = now + LOOK;
        let is_due = self.again.is_some_and(|again| now >= again);
        // Missing files are told of once, too.
        if self.stamps() == self.seen && !is_due {
            return Ok(None);
        }
        self.read().map(Some)
    }

    /// Has the files read again after a while, even if they stay as they are: what was wrong may
    /// have been something else, such as a full disk, and the next renewal is far off.
    pub(super) fn read_again_later(&mut self) {
        self.again = Some(Instant::now() + AGAIN);
    }

    /// Removes the files of other pairs. HAProxy has read them.
    pub(super) fn remove_others(&self, kept: &str) {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(NAME.0) && name.ends_with(NAME.1) && name != kept {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn stamps(&self) -> Option<[FileStamp; 2]> {
        let stamp = |path: &Path| fs::metadata(path).ok().as_ref().map(stamp);
        Some([stamp(&self.files.cert)?, stamp(&self.files.key)?])
    }

    /// Writes the file for HAProxy.
    fn read(&mut self) -> Result<String, BalancerError> {
        // Before they are read: what is written meanwhile is another state.
        self.seen = self.stamps();
        self.again = None;
        let FrontFiles { cert, key } = &self.files;
        let chain = part(cert, "-----BEGIN CERTIFICATE-----", "certificate")
            .map_err(|error| refused(cert, error))?;
        let secret = closed(key)
            .and_then(|()| part(key, "PRIVATE KEY-----", "private key"))
            .map_err(|error| refused(key, error))?;
        let text = format!("{}\n{}\n", chain.trim_end(), secret.trim_end());
        let digest: String = Sha256::digest(&text)
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let name = format!("{}{digest}{}", NAME.0, NAME.1);
        if let Err(error) = files::replace(&self.dir.join(&name), &text) {
            self.read_again_later();
            return Err(error);
        }
        Ok(name)
    }
}

fn stamp(of: &Metadata) -> FileStamp {
    (of.dev(), of.ino(), of.mtime(), of.mtime_nsec(), of.size())
}

fn refused(path: &Path, error: FrontFileError) -> BalancerError {
    BalancerError::Certificate {
        path: path.to_owned(),
        error,
    }
}

/// Checks that others can't read a key.
fn closed(key: &Path) -> Result<(), FrontFileError> {
    if fs::metadata(key)?.mode() & 0o007 != 0 {
        return Err(FrontFileError::Exposed(key.to_owned()));
    }
    Ok(())
}

fn part(path: &Path, mark: &str, what: &'static str) -> Result<String, FrontFileError> {
    if fs::metadata(path)?.len() > BYTES_MAX {
        return Err(FrontFileError::TooLong);
    }
    let text = fs::read_to_string(path)?;
    if !text.contains(mark) {
        return Err(FrontFileError::Without(what));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const CERT: &str = "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nQQ==\n-----END PRIVATE KEY-----\n";

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    // Test 18, for the balancer's front.
    #[test]
    fn pair_is_followed_through_links_and_halves() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("balancer");
        for folder in ["balancer", "one", "two"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        for (folder, comment) in [("one", ""), ("two", "# other\n")] {
            let folder = root.path().join(folder);
            write(&folder.join("cert"), &format!("{comment}{CERT}"), 0o644);
            write(&folder.join("key"), KEY, 0o600);
        }
        // As Kubernetes mounts a secret: a link that is exchanged.
        let link = root.path().join("now");
        symlink("one", &link).unwrap();
        let files = FrontFiles {
            cert: link.join("cert"),
            key: link.join("key"),
        };
        let (mut certificate, first) = FrontCertificate::load(files.clone(), &dir).unwrap();
        let look = |certificate: &mut FrontCertificate| {
            certificate.next = Instant::now();
            certificate.follow()
        };
        assert!(look(&mut certificate).unwrap().is_none());
        fs::remove_file(&link).unwrap();
        symlink("two", &link).unwrap();
        let second = look(&mut certificate).unwrap().unwrap();
        assert_ne!(first, second);
        let written = dir.join(&second);
        let text = fs::read_to_string(&written).unwrap();
        assert!(text.contains("# other") && text.ends_with("END PRIVATE KEY-----\n"));
        let mode = fs::metadata(&written).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        certificate.remove_others(&second);
        assert!(!dir.join(&first).exists() && written.exists());
        // What is wrong is told once for each state of the files.
        for (text, mode, told) in [("", 0o600, "no private key"), (KEY, 0o604, "chmod o-rwx")] {
            write(&root.path().join("two/key"), text, mode);
            let error = look(&mut certificate).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains("now/key"), "{error}");
            assert!(look(&mut certificate).unwrap().is_none());
        }
        // Files that could not be put in force are read again, whether they change or not.
        write(&root.path().join("two/key"), KEY, 0o600);
        assert_eq!(look(&mut certificate).unwrap(), Some(second.clone()));
        certificate.read_again_later();
        assert!(look(&mut certificate).unwrap().is_none());
        certificate.again = Some(Instant::now());
        assert_eq!(look(&mut certificate).unwrap(), Some(second.clone()));
        certificate.read_again_later();
        write(&root.path().join("two/cert"), CERT, 0o644);
        assert_eq!(look(&mut certificate).unwrap(), Some(first.clone()));
        fs::remove_file(root.path().join("two/cert")).unwrap();
        assert!(look(&mut certificate).is_err());
        assert!(look(&mut certificate).unwrap().is_none());
        write(&root.path().join("two/key"), KEY, 0o600);
        write(&root.path().join("two/cert"), CERT, 0o644);
        assert_eq!(look(&mut certificate).unwrap(), Some(first));
    }
}
