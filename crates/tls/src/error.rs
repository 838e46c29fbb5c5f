//! Reasons for which certificates or keys can't be used, each with its file and its mend.

use std::{io, path::PathBuf, time::SystemTime};

use humantime::format_rfc3339_seconds;

use crate::IdentityError;

/// Reason for which certificates or keys can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{} can't be read: {cause}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The error of the system.
        cause: io::Error,
    },

    /// Others may read a private key.
    #[error(
        "others may read the private key {0} (its mode is {mode:04o}): chmod 0600 {0}, or 0640 where root owns it",
        file.display()
    )]
    Exposed {
        /// The file.
        file: PathBuf,
        /// The mode of the file.
        mode: u32,
    },

    /// A file has no certificate in it.
    #[error(
        "{} holds no certificate: it must be PEM, with lines from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----",
        file.display()
    )]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },

    /// A file has no revocation list in it.
    #[error(
        "{} holds no revocation list: it must be PEM, with lines from -----BEGIN X509 CRL----- to -----END X509 CRL-----",
        file.display()
    )]
    NoRevocationList {
        /// The file.
        file: PathBuf,
    },

    /// A file has no private key in it.
    #[error(
        "{} holds no private key: it must be PEM (PKCS#8, SEC1 or PKCS#1) and not encrypted",
        file.display()
    )]
    NoKey {
        /// The file.
        file: PathBuf,
    },

    /// A certificate or a key is not understood, or of a kind that is not supported.
    #[error("{} is not understood: {cause}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The fault that was found.
        cause: String,
    },

    /// Key and certificate are not of one pair.
    #[error(
        "the key in {} does not belong to the certificate in {}: both files have to be of one pair",
        key.display(), cert.display()
    )]
    Mismatch {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },

    /// The certificate's time is over.
    #[error(
        "the certificate in {} has expired at {}, and this host's clock says {}: write a new one there",
        file.display(), format_rfc3339_seconds(*not_after), format_rfc3339_seconds(*now)
    )]
    Expired {
        /// The file.
        file: PathBuf,
        /// The end of its time.
        not_after: SystemTime,
        /// The time that this host's clock says.
        now: SystemTime,
    },

    /// The certificate's time has not begun.
    #[error(
        "the certificate in {} is valid from {}, and this host's clock says {}: is the clock right?",
        file.display(), format_rfc3339_seconds(*not_before), format_rfc3339_seconds(*now)
    )]
    NotYetValid {
        /// The file.
        file: PathBuf,
        /// The beginning of its time.
        not_before: SystemTime,
        /// The time that this host's clock says.
        now: SystemTime,
    },

    /// The certificate does not say whose it is.
    #[error("the certificate in {}: {cause}", file.display())]
    Identity {
        /// The file.
        file: PathBuf,
        /// The reason.
        cause: IdentityError,
    },

    /// The certificate is someone else's.
    #[error(
        "the certificate in {} is {found}, and {wanted} is needed: quorate cert issue makes one",
        file.display()
    )]
    OtherIdentity {
        /// The file.
        file: PathBuf,
        /// The identity in the certificate.
        found: String,
        /// The identity that is needed.
        wanted: String,
    },

    /// The certificate was not made by the authority that others will check it with.
    #[error(
        "the certificate in {} is not accepted by the authority in {}: {cause}",
        file.display(), ca.display()
    )]
    NotTrusted {
        /// The file of the certificate.
        file: PathBuf,
        /// The file of the authority.
        ca: PathBuf,
        /// The reason.
        cause: rustls::Error,
    },

    /// A configuration could not be made.
    #[error("TLS can't be set up: {0}")]
    Setup(String),
}
