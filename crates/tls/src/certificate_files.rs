//! Files of certificates, keys and authorities, checked before anything uses them.

use std::{
    fmt, fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{Error, RootCertStore, sign::CertifiedKey};
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject,
};
use sha2::{Digest, Sha256};

use crate::{TlsError, Validity, authority::authority_domain, crypto_provider};

/// Largest file that is read: chains and bundles of authorities are a few KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Files of a certificate, with those that lead to its authority behind it, and of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate (PEM).
    pub cert: PathBuf,
    /// The private key (PEM), which nobody else may read.
    pub key: PathBuf,
}

/// Certificate and key of one pair, checked.
#[derive(Clone)]
pub struct CertificatePair {
    /// The pair, for rustls.
    pub certified_key: Arc<CertifiedKey>,
    /// The time for which the certificate is valid.
    pub validity: Validity,
    /// SHA-256 over both files, to see whether they have changed.
    pub(crate) digest: [u8; 32],
}

impl fmt::Debug for CertificatePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        let validity = &self.validity;
        f.debug_struct("CertificatePair")
            .field("validity", validity)
            .finish_non_exhaustive()
    }
}

impl CertificateFiles {
    /// Reads and checks both: they are of one pair, valid at `now`, and the key is private. Blocks.
    ///
    /// # Errors
    /// They are not; nothing is to be replaced by them.
    pub fn load(&self, now: SystemTime) -> Result<CertificatePair, TlsError> {
        let CertificateFiles { cert, key } = self;
        let cert_pem = read(cert)?;
        let key_pem = read_private(key)?;
        let chain = certificates(cert, &cert_pem)?;
        let private = PrivateKeyDer::from_pem_slice(&key_pem)
            .map_err(|_| TlsError::NoKey { file: key.clone() })?;
        let leaf = &chain[0];
        let validity = Validity::from_certificate(leaf)
            .ok_or_else(|| malformed(cert, "it is no X.509 certificate"))?;
        let certified = CertifiedKey::from_der(chain, private, &crypto_provider());
        let certified_key = certified.map_err(|error| match error {
            Error::InconsistentKeys(_) => TlsError::Mismatch {
                cert: cert.clone(),
                key: key.clone(),
            },
            Error::InvalidCertificate(_) => malformed(cert, error),
            other => malformed(key, other),
        })?;
        check_time(cert, validity, now)?;
        Ok(CertificatePair {
            certified_key: Arc::new(certified_key),
            validity,
            digest: digest([&cert_pem, &key_pem]),
        })
    }
}

impl CertificatePair {
    /// Returns true for a pair that was read from the same text.
    pub fn is_same(&self, other: &CertificatePair) -> bool {
        self.digest == other.digest
    }

    /// Returns the certificate itself, without those behind it.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.certified_key.cert[0]
    }
}

/// File of authorities (PEM); several in one file are all trusted, as while one replaces another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustFile(pub PathBuf);

/// Authorities that are trusted.
#[derive(Clone, Debug)]
pub struct TrustedRoots {
    /// The authorities, for rustls.
    pub roots: Arc<RootCertStore>,
    /// The same as they were read.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The lists of what they have revoked.
    pub(crate) revoked: Vec<CertificateRevocationListDer<'static>>,
    pub(crate) digest: [u8; 32],
}

impl TrustedRoots {
    /// Returns true for authorities that were read from the same text.
    pub fn is_same(&self, other: &TrustedRoots) -> bool {
        self.digest == other.digest
    }

    /// Adds lists of what they have revoked, read from this text.
    pub(crate) fn with_revoked(
        self,
        lists: Vec<CertificateRevocationListDer<'static>>,
        pem: &Vec<u8>,
    ) -> TrustedRoots {
        TrustedRoots {
            revoked: lists,
            digest: digest([&self.digest.to_vec(), pem]),
            ..self
        }
    }

    /// Returns the domain of the authority, where `quorate cert create-ca` has made it.
    pub fn domain(&self) -> Option<String> {
        self.certificates.iter().find_map(authority_domain)
    }
}

impl TrustFile {
    /// Reads the authorities. Blocks.
    ///
    /// # Errors
    /// There is none, or one is not understood.
    pub fn load(&self) -> Result<TrustedRoots, TlsError> {
        let pem = read(&self.0)?;
        let certificates = certificates(&self.0, &pem)?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            let added = roots.add(certificate.clone());
            added.map_err(|error| malformed(&self.0, error))?;
        }
        Ok(TrustedRoots {
            roots: Arc::new(roots),
            certificates,
            revoked: Vec::new(),
            digest: digest([&pem]),
        })
    }
}

/// Returns at least one certificate.
fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| malformed(file, error))?;
    if all.is_empty() {
        return Err(TlsError::NoCertificate {
            file: file.to_owned(),
        });
    }
    Ok(all)
}

fn check_time(file: &Path, validity: Validity, now: SystemTime) -> Result<(), TlsError> {
    let file = file.to_owned();
    let Validity {
        not_before,
        not_after,
    } = validity;
    if validity.is_over(now) {
        return Err(TlsError::Expired {
            file,
            not_after,
            now,
        });
    }
    if now < not_before {
        return Err(TlsError::NotYetValid {
            file,
            not_before,
            now,
        });
    }
    Ok(())
}

pub(crate) fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::File::open(file)
        .and_then(read_bounded)
        .map_err(|cause| TlsError::Unreadable {
            file: file.to_owned(),
            cause,
        })
}

/// Reads a key, of the very file whose mode was looked at.
fn read_private(file: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |cause| TlsError::Unreadable {
        file: file.to_owned(),
        cause,
    };
    let open = fs::File::open(file).map_err(unreadable)?;
    let seen = open.metadata().map_err(unreadable)?;
    // A key that root hands to a group, as Kubernetes does, is root's to hand out.
    let allowed = if seen.uid() == 0 { 0o640 } else { 0o600 };
    let mode = seen.mode() & 0o777;
    if mode & 0o077 & !allowed != 0 {
        return Err(TlsError::Exposed {
            file: file.to_owned(),
            mode,
        });
    }
    read_bounded(open).map_err(unreadable)
}

fn read_bounded(file: fs::File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it has more than {FILE_BYTES_MAX} bytes"
        )));
    }
    Ok(bytes)
}

pub(crate) fn malformed(file: &Path, cause: impl fmt::Display) -> TlsError {
    TlsError::Malformed {
        file: file.to_owned(),
        cause: cause.to_string(),
    }
}

fn digest<const N: usize>(parts: [&Vec<u8>; N]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
