//! The client's side of a handshake with another member.

use std::{io, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use rustls::{ClientConfig, client::Resumption, sign::SingleCertAndKey, version::TLS13};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    CertificateIdentity, CertificatePair, HANDSHAKE_TIMEOUT, TlsError, TrustedRoots,
    acceptor::describe,
    closable_stream::ClosableStream,
    crypto_provider, identity,
    open_connections::OpenConnections,
    verifiers::{server_verifier, verify_server},
};

/// Member that is dialled, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpectedMember {
    /// The number, 0 if that is not known.
    pub id: u64,
    /// The name in the membership, if that is known.
    pub name: Option<String>,
}

/// Client's side of handshakes with members of one domain: TLS 1.3, a certificate on both sides, no
/// resumption. The server is checked by rustls' own verifier for the name that every member bears,
/// and then has to be the member that was dialled.
pub struct MemberConnector {
    domain: String,
    any_member: ServerName<'static>,
    config: ArcSwap<ClientConfig>,
    open: OpenConnections,
}

impl std::fmt::Debug for MemberConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MemberConnector({})", self.domain)
    }
}

impl MemberConnector {
    /// Makes a connector.
    ///
    /// # Errors
    /// The parts don't fit together.
    pub fn new(
        domain: &str,
        roots: &TrustedRoots,
        pair: &CertificatePair,
    ) -> Result<MemberConnector, TlsError> {
        let any_member = identity::any_member(domain);
        Ok(MemberConnector {
            domain: domain.to_owned(),
            any_member: any_member.map_err(|error| TlsError::Setup(error.to_string()))?,
            config: ArcSwap::from_pointee(client_config(roots, pair)?),
            open: OpenConnections::default(),
        })
    }

    /// Uses other authorities and another certificate for the handshakes that begin from now on.
    ///
    /// # Errors
    /// The parts don't fit together; nothing was replaced.
    pub fn replace(&self, roots: &TrustedRoots, pair: &CertificatePair) -> Result<(), TlsError> {
        self.config.store(Arc::new(client_config(roots, pair)?));
        Ok(())
    }

    /// Closes the connections to members that these authorities don't vouch for, and returns their
    /// number.
    ///
    /// # Errors
    /// The authorities can't be used; nothing was closed.
    pub fn close_distrusted(
        &self,
        roots: &TrustedRoots,
        now: SystemTime,
    ) -> Result<usize, TlsError> {
        let verifier = server_verifier(roots)?;
        let is_trusted = |chain: &[CertificateDer<'_>]| {
            verify_server(verifier.as_ref(), chain, &self.any_member, now).is_ok()
        };
        Ok(self.open.change_trust(is_trusted))
    }

    /// As [`MemberConnector::handshake`], for a connection that is to be closed once its member is
    /// not trusted any more.
    ///
    /// # Errors
    /// As there, or trust has changed meanwhile.
    pub async fn connect(
        &self,
        tcp: TcpStream,
        expected: &ExpectedMember,
    ) -> io::Result<ClosableStream<TlsStream<TcpStream>>> {
        let trust = self.open.trust();
        let stream = self.handshake(tcp, expected).await?;
        let shown = stream.get_ref().1.peer_certificates();
        let closing = self.open.enter(trust, shown.unwrap_or_default());
        let closing = closing
            .ok_or_else(|| refused("the authorities have changed during the handshake".into()))?;
        Ok(ClosableStream::new(stream, Some(closing)))
    }

    /// Makes the handshake, within 3 s. Not cancel safe: a handshake that is dropped is over.
    ///
    /// # Errors
    /// It failed, or the other side is not the member that was expected.
    pub async fn handshake(
        &self,
        tcp: TcpStream,
        expected: &ExpectedMember,
    ) -> io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(self.config.load_full());
        let connecting = connector.connect(self.any_member.clone(), tcp);
        let stream = match timeout(HANDSHAKE_TIMEOUT, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(io::Error::new(error.kind(), describe(&error))),
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        let leaf = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(<[_]>::first);
        let leaf = leaf.ok_or_else(|| refused("the server has shown no certificate".into()))?;
        let identity = CertificateIdentity::from_certificate(leaf)
            .map_err(|error| refused(format!("the certificate of the server: {error}")))?;
        let ExpectedMember { id, name } = expected;
        let is_expected = match identity.subject {
            // A name that is not known yet is not compared.
            _ if *id == 0 => identity.is_member(),
            _ => identity.may_speak_for(*id, name.as_deref()),
        };
        if identity.domain != self.domain || !is_expected {
            let name = name.as_deref().unwrap_or("of any name");
            return Err(refused(format!(
                "{identity} answers there, and member {id} ({name}) of {} was expected",
                self.domain
            )));
        }
        Ok(stream)
    }
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

fn client_config(roots: &TrustedRoots, pair: &CertificatePair) -> Result<ClientConfig, TlsError> {
    let setup = |error: &dyn std::fmt::Display| TlsError::Setup(error.to_string());
    let mut config = ClientConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| setup(&error))?
        .with_webpki_verifier(server_verifier(roots)?)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair.certified_key.clone())));
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
