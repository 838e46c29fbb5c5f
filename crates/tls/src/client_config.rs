//! Configurations of clients, whose certificate and trust can be replaced while they are in use.
//!
//! A client for HTTP takes its configuration once, for all of its life. So what changes lies behind
//! it: the certificate that is shown and the authorities that are trusted. The check itself is
//! rustls' own verifier, asked for a name that is given here where the dialled one says nothing: a
//! member is known by its name in the cluster, wherever it is.

use std::{fmt, sync::Arc};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        ResolvesClientCert, Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{
    CertificatePair, TlsError, TrustedRoots, crypto_provider, identity, verifiers::server_verifier,
};

/// Name by which a client knows the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedServer {
    /// A member of this domain.
    Member {
        /// The domain.
        domain: String,
    },
    /// A member of this domain, or else the host that was dialled.
    MemberOrHost {
        /// The domain.
        domain: String,
    },
    /// The host that was dialled.
    Host,
}

/// Client whose certificate and trust can be replaced.
pub struct ReloadedClient {
    config: ClientConfig,
    verifier: Arc<ReloadedVerifier>,
    key: Arc<ReloadedKey>,
}

impl fmt::Debug for ReloadedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReloadedClient")
    }
}

impl ReloadedClient {
    /// Makes a client: TLS 1.2 or 1.3, HTTP/1.1, no resumption.
    ///
    /// # Errors
    /// The parts don't fit together.
    pub fn new(
        roots: &TrustedRoots,
        pair: Option<&CertificatePair>,
        expected: ExpectedServer,
    ) -> Result<ReloadedClient, TlsError> {
        let setup = |error: &dyn fmt::Display| TlsError::Setup(error.to_string());
        let member = match &expected {
            ExpectedServer::Host => None,
            ExpectedServer::Member { domain } | ExpectedServer::MemberOrHost { domain } => {
                Some(identity::any_member(domain).map_err(|error| setup(&error))?)
            }
        };
        let verifier = Arc::new(ReloadedVerifier {
            trust: ArcSwap::new(server_verifier(roots)?),
            member,
            host_too: !matches!(expected, ExpectedServer::Member { .. }),
        });
        let key = pair.map(|pair| pair.certified_key.clone());
        let key = Arc::new(ReloadedKey(ArcSwapOption::new(key)));
        let mut config = ClientConfig::builder_with_provider(crypto_provider())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| setup(&error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(key.clone());
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(ReloadedClient {
            config,
            verifier,
            key,
        })
    }

    /// Returns the configuration; replacements count for it too.
    pub fn config(&self) -> ClientConfig {
        self.config.clone()
    }

    /// Uses other authorities and another certificate for connections that begin from now on.
    ///
    /// # Errors
    /// There is no authority; nothing was replaced.
    pub fn replace(
        &self,
        roots: &TrustedRoots,
        pair: Option<&CertificatePair>,
    ) -> Result<(), TlsError> {
        self.verifier.trust.store(server_verifier(roots)?);
        self.key
            .0
            .store(pair.map(|pair| pair.certified_key.clone()));
        Ok(())
    }
}

/// Rustls' verifier, by the newest authorities, for the name that counts.
#[derive(Debug)]
struct ReloadedVerifier {
    trust: ArcSwap<WebPkiServerVerifier>,
    member: Option<ServerName<'static>>,
    host_too: bool,
}

impl ServerCertVerifier for ReloadedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        dialled: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        let trust = self.trust.load();
        let verify = |name: &ServerName<'_>| {
            trust.verify_server_cert(end_entity, intermediates, name, ocsp, now)
        };
        let Some(member) = &self.member else {
            return verify(dialled);
        };
        match verify(member) {
            Err(Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
                if self.host_too =>
            {
                verify(dialled)
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust
            .load()
            .verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust
            .load()
            .verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.load().supported_verify_schemes()
    }
}

/// Newest certificate of this client, if it has one.
#[derive(Debug)]
struct ReloadedKey(ArcSwapOption<CertifiedKey>);

impl ResolvesClientCert for ReloadedKey {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let key = self.0.load_full()?;
        key.key.choose_scheme(schemes)?;
        Some(key)
    }

    fn has_certs(&self) -> bool {
        self.0.load().is_some()
    }
}
