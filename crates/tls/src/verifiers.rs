//! Verifiers of the certificates that others show: rustls' own, by the authorities that are trusted
//! and what these have revoked.

use std::{sync::Arc, time::SystemTime};

use rustls::{
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{TlsError, TrustedRoots, crypto_provider};

/// Returns the verifier of servers.
pub(crate) fn server_verifier(roots: &TrustedRoots) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    WebPkiServerVerifier::builder_with_provider(roots.roots.clone(), crypto_provider())
        .with_crls(roots.revoked.iter().cloned())
        .only_check_end_entity_revocation()
        .allow_unknown_revocation_status()
        .build()
        .map_err(|error| TlsError::Setup(error.to_string()))
}

/// Returns the verifier of clients, which must show a certificate, or may.
pub(crate) fn client_verifier(
    roots: &TrustedRoots,
    is_required: bool,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let builder =
        WebPkiClientVerifier::builder_with_provider(roots.roots.clone(), crypto_provider())
            .with_crls(roots.revoked.iter().cloned())
            .only_check_end_entity_revocation()
            .allow_unknown_revocation_status();
    let builder = if is_required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    let built = builder.build();
    built.map_err(|error| TlsError::Setup(error.to_string()))
}

/// Verifies what a server has shown, for this name.
pub(crate) fn verify_server(
    verifier: &WebPkiServerVerifier,
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    now: SystemTime,
) -> Result<(), rustls::Error> {
    let [leaf, intermediates @ ..] = chain else {
        return Err(rustls::Error::NoCertificatesPresented);
    };
    verifier
        .verify_server_cert(leaf, intermediates, name, &[], unix_time(now))
        .map(drop)
}

/// Verifies what a client has shown.
pub(crate) fn verify_client(
    verifier: &dyn ClientCertVerifier,
    chain: &[CertificateDer<'_>],
    now: SystemTime,
) -> Result<(), rustls::Error> {
    let [leaf, intermediates @ ..] = chain else {
        return Err(rustls::Error::NoCertificatesPresented);
    };
    verifier
        .verify_client_cert(leaf, intermediates, unix_time(now))
        .map(drop)
}

fn unix_time(time: SystemTime) -> UnixTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    UnixTime::since_unix_epoch(since.unwrap_or_default())
}
