//! The time for which a certificate is valid.

use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use x509_parser::{parse_x509_certificate, time::ASN1Time};

/// Time for which a certificate is valid. Read for people and for warnings: what is trusted is
/// decided by the verifier alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its beginning.
    pub not_before: SystemTime,
    /// Its end.
    pub not_after: SystemTime,
}

impl Validity {
    /// Reads the time of a certificate; `None` where it is not understood.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Option<Validity> {
        let (_, parsed) = parse_x509_certificate(certificate).ok()?;
        Some(Validity {
            not_before: system_time(parsed.validity().not_before),
            not_after: system_time(parsed.validity().not_after),
        })
    }

    /// Returns true if the time is over at `now`. Verifiers count whole seconds, and the last one is
    /// part of it.
    pub fn is_over(&self, now: SystemTime) -> bool {
        now.duration_since(self.not_after)
            .is_ok_and(|since| since >= Duration::from_secs(1))
    }

    /// Returns the time that is left at `now`; zero once it is over.
    pub fn left(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or_default()
    }
}

fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = Duration::from_secs(time.timestamp().unsigned_abs());
    let at = if time.timestamp() >= 0 {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    };
    at.unwrap_or(SystemTime::UNIX_EPOCH)
}
