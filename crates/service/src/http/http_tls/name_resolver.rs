//! Choice of the certificate by the name that a client asks for (SNI).

use std::sync::Arc;

use quorate_tls::CertificatePair;
use rustls::{
    pki_types::ServerName,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// Resolver over the pairs of one listener.
#[derive(Debug)]
pub(super) struct NameResolver(Arc<Vec<CertificatePair>>);

impl NameResolver {
    pub(super) fn new(pairs: Arc<Vec<CertificatePair>>) -> NameResolver {
        NameResolver(pairs)
    }

    /// Returns the first pair that is for this name, or else the first of all.
    fn pair(&self, name: Option<&str>) -> Option<&CertificatePair> {
        let name = name.and_then(|it| ServerName::try_from(it).ok());
        let is_for = |pair: &&CertificatePair| {
            let certificate = webpki::EndEntityCert::try_from(pair.leaf());
            match (certificate, &name) {
                (Ok(it), Some(name)) => it.verify_is_valid_for_subject_name(name).is_ok(),
                _ => false,
            }
        };
        self.0.iter().find(is_for).or_else(|| self.0.first())
    }
}

impl ResolvesServerCert for NameResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pair = self.pair(hello.server_name())?;
        Some(pair.certified_key.clone())
    }
}
