//! Files of an authority and of the certificates that it issues.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use quorate_tls::{AuthorityError, CertificateAuthority, CertificateIdentity, CertificateSubject};

use super::error::CliError;

/// Folder of an authority.
pub(super) struct AuthorityFolder<'a>(pub(super) &'a Path);

/// Files of one certificate.
pub(super) struct CertificatePaths {
    /// The certificate.
    pub(super) cert: PathBuf,
    /// The private key.
    pub(super) key: PathBuf,
}

impl AuthorityFolder<'_> {
    /// Returns the files of the authority itself.
    pub(super) fn paths(&self) -> CertificatePaths {
        CertificatePaths {
            cert: self.0.join("ca.pem"),
            key: self.0.join("ca.key"),
        }
    }

    /// Makes an authority. One that is there is never replaced.
    pub(super) fn create(&self, domain: Option<&str>) -> Result<CertificatePaths, CliError> {
        let paths = self.paths();
        for path in [&paths.cert, &paths.key] {
            if path.exists() {
                return Err(CliError::Refused(format!(
                    "{} is there already: an authority is never replaced, for all certificates of the cluster are its own; give another --out",
                    path.display()
                )));
            }
        }
        let authority = CertificateAuthority::create(domain).map_err(refused)?;
        write(&paths.key, authority.key_pem(), 0o600)?;
        write(&paths.cert, authority.cert_pem(), 0o644)?;
        Ok(paths)
    }

    /// Adds these certificates to the list of those that are revoked, and returns its file.
    pub(super) fn revoke(&self, certificates: &[PathBuf]) -> Result<PathBuf, CliError> {
        let authority = self.load()?;
        let path = self.0.join("crl.pem");
        let mut list = match path.exists() {
            true => Some(read(&path)?),
            false => None,
        };
        for certificate in certificates {
            let revoked = authority.revoke(list.as_deref(), &read(certificate)?);
            list = Some(revoked.map_err(|error| {
                CliError::Refused(format!("{}: {error}", certificate.display()))
            })?);
        }
        write(&path, &list.unwrap_or_default(), 0o644)?;
        Ok(path)
    }

    /// Takes the authority up.
    pub(super) fn load(&self) -> Result<CertificateAuthority, CliError> {
        let CertificatePaths { cert, key } = self.paths();
        CertificateAuthority::from_pem(&read(&cert)?, &read(&key)?).map_err(refused)
    }
}

/// Files in `dir` of whom a certificate is for.
pub(super) fn certificate_paths(dir: &Path, name: &str) -> CertificatePaths {
    CertificatePaths {
        cert: dir.join(format!("{name}.pem")),
        key: dir.join(format!("{name}.key")),
    }
}

/// Makes a certificate and writes both files. The key first: until the certificate follows, a
/// member that looks keeps what it has.
pub(super) fn issue(
    authority: &CertificateAuthority,
    subject: CertificateSubject,
    hosts: &[String],
    days: Option<u32>,
    paths: &CertificatePaths,
) -> Result<(), CliError> {
    let identity = CertificateIdentity {
        domain: authority.domain().to_owned(),
        subject,
    };
    // As whoever verifies it will read it.
    CertificateIdentity::parse(&identity.uri())
        .map_err(|error| CliError::Refused(error.to_string()))?;
    let issued = authority.issue(&identity, hosts, days).map_err(refused)?;
    write(&paths.key, &issued.key_pem, 0o600)?;
    write(&paths.cert, &issued.cert_pem, 0o644)
}

fn refused(error: AuthorityError) -> CliError {
    CliError::Refused(error.to_string())
}

fn read(path: &Path) -> Result<String, CliError> {
    fs::read_to_string(path).map_err(|error| failed("reading", path, &error))
}

/// Writes a file whole, or not at all; nobody else ever reads a private one.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), CliError> {
    let writing = || {
        let dir = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = dir.join(name);
        // One that was left over has a mode of its own.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    writing().map_err(|error| failed("writing", path, &error))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> CliError {
    CliError::Refused(format!("{what} {}: {error}", path.display()))
}
