//! The settings `[http.tls]`: the certificates of the services' port.

use std::{convert::Infallible, path::Path};

use quorate_tls::CertificateFiles;

use super::reader::SettingsReader;

/// Reads `http.tls.cert` and `http.tls.key`: a file of each, or several in one order; none of both
/// is no TLS.
pub(super) fn read(r: &mut SettingsReader, folder: &Path) -> Vec<CertificateFiles> {
    let mut files = |key: &str| {
        let texts = r.list(key, |_| Ok::<(), Infallible>(()));
        texts.unwrap_or_default()
    };
    let (certs, keys) = (files("http.tls.cert"), files("http.tls.key"));
    if certs.len() != keys.len() {
        let problem = format!(
            "lists {} files, and http.tls.key {}: each certificate needs its key, at the same place",
            certs.len(),
            keys.len()
        );
        r.bad("http.tls.cert", None, problem);
    }
    let pairs = certs.iter().zip(&keys);
    pairs
        .map(|(cert, key)| CertificateFiles {
            cert: folder.join(cert),
            key: folder.join(key),
        })
        .collect()
}
