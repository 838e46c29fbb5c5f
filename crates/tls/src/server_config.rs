//! Configurations of servers.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};

use crate::{CertificatePair, TlsError, TrustedRoots, crypto_provider, verifiers::client_verifier};

/// Kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerProfile {
    /// For other members: TLS 1.3 alone, HTTP/2, a certificate of each client, and no session is
    /// ever resumed: one that is would not be verified anew.
    Peer,
    /// For REST: TLS 1.2 too, HTTP/1.1, a certificate if the client has one, no resumption.
    Admin,
    /// For callers of services: TLS 1.2 too, HTTP/1.1, resumption as usual.
    Http,
}

/// Makes a configuration. Early data is never taken. `client_ca` are the authorities of client
/// certificates; a peer's must be there.
///
/// # Errors
/// The parts don't fit together.
pub fn server_config(
    profile: ServerProfile,
    pair: &CertificatePair,
    client_ca: Option<&TrustedRoots>,
) -> Result<ServerConfig, TlsError> {
    let setup = |error: &dyn std::fmt::Display| TlsError::Setup(error.to_string());
    let versions: &[_] = match profile {
        ServerProfile::Peer => &[&TLS13],
        ServerProfile::Admin | ServerProfile::Http => &[&TLS13, &TLS12],
    };
    let verifier = match (profile, client_ca) {
        (ServerProfile::Peer, None) => {
            return Err(TlsError::Setup(
                "members need an authority to know each other by".into(),
            ));
        }
        (_, None) => WebPkiClientVerifier::no_client_auth(),
        (_, Some(ca)) => client_verifier(ca, profile == ServerProfile::Peer)?,
    };
    let mut config = ServerConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(versions)
        .map_err(|error| setup(&error))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair.certified_key.clone())));
    config.max_early_data_size = 0;
    config.alpn_protocols = match profile {
        ServerProfile::Peer => vec![b"h2".to_vec()],
        ServerProfile::Admin | ServerProfile::Http => vec![b"http/1.1".to_vec()],
    };
    if profile != ServerProfile::Http {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}
