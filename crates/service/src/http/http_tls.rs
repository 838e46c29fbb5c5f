//! TLS of the services' listener: its certificates by the name that a client asks for.
//!
//! Files are read and checked as a whole before anything changes, and what runs goes on where they
//! are bad. Connections that are open stay as they are. The first pair serves clients that ask for
//! a name of none, or for no name.

mod client_authorities;
mod handshakes;
mod name_resolver;

use std::sync::Arc;

use arc_swap::ArcSwap;
use quorate_clock::wall_time;
use quorate_tls::{
    CertificateExpiry, CertificateFiles, CertificatePair, ReloadOutcome, Reloadable, TlsError,
};

pub(super) use handshakes::TlsHandshakes;

/// Certificates of the services' listener.
pub struct HttpTls {
    files: Vec<CertificateFiles>,
    pairs: ArcSwap<Vec<CertificatePair>>,
}

impl HttpTls {
    /// Reads the certificates, of which there must be one at least. Blocks.
    ///
    /// # Errors
    /// One of them can't be used; the error names its file.
    pub fn load(files: Vec<CertificateFiles>) -> Result<HttpTls, TlsError> {
        let pairs = read(&files)?;
        Ok(HttpTls {
            files,
            pairs: ArcSwap::from_pointee(pairs),
        })
    }

    pub(super) fn pairs(&self) -> Arc<Vec<CertificatePair>> {
        self.pairs.load_full()
    }
}

fn read(files: &[CertificateFiles]) -> Result<Vec<CertificatePair>, TlsError> {
    let now = wall_time();
    files.iter().map(|it| it.load(now)).collect()
}

impl Reloadable for HttpTls {
    fn what(&self) -> &str {
        "http"
    }

    fn reload(&self) -> Result<ReloadOutcome, TlsError> {
        let (pairs, before) = (read(&self.files)?, self.pairs());
        let mut both = pairs.iter().zip(before.iter());
        if both.all(|(now, before)| now.is_same(before)) {
            return Ok(ReloadOutcome::Unchanged);
        }
        self.pairs.store(Arc::new(pairs));
        Ok(ReloadOutcome::Reloaded)
    }

    fn expiries(&self) -> Vec<CertificateExpiry> {
        let pairs = self.pairs();
        let expiry = |(place, it): (usize, &CertificatePair)| CertificateExpiry {
            what: match place {
                0 => "http".to_owned(),
                place => format!("http-{}", place + 1),
            },
            validity: it.validity,
        };
        pairs.iter().enumerate().map(expiry).collect()
    }
}
