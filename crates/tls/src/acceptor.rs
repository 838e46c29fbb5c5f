//! The server's side of a handshake, by the newest configuration, and who the client is.

use std::{io, net::SocketAddr, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use quorate_log::RateLimit;
use rustls::{CertificateError, Error, ServerConfig};
use rustls_pki_types::CertificateDer;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::server::TlsStream;

use crate::{
    CertificateIdentity, ClosableStream, FaceStream, HANDSHAKE_TIMEOUT, IdentityError, TlsError,
    TrustedRoots,
    open_connections::OpenConnections,
    verifiers::{client_verifier, verify_client},
};

/// Refused clients are told once a minute for each face and reason.
static REFUSALS: RateLimit = RateLimit::new(std::time::Duration::from_secs(60));

/// Clients that a face takes, after their certificates were verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcceptedClients {
    /// All, with a certificate or without; whom it names is not looked at.
    Any,
    /// All; a certificate names someone only if it is of this domain.
    Identified {
        /// The domain.
        domain: String,
    },
    /// Members of this domain alone.
    Members {
        /// The domain.
        domain: String,
    },
}

/// Certificate that a client has shown and that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Whom it names; never someone of another domain.
    pub identity: Option<CertificateIdentity>,
}

/// Reason for which a client was not taken.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("the handshake was not finished within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    Slow,
    #[error("{}", describe(.0))]
    Failed(io::Error),
    #[error("no certificate was shown")]
    NoCertificate,
    #[error("its certificate names nobody: {0}")]
    NoIdentity(IdentityError),
    #[error("the authorities have changed during the handshake")]
    Overtaken,
    #[error("its certificate is {found}, and a member of {domain} is needed")]
    NotAMember { found: String, domain: String },
}

impl HandshakeError {
    /// Returns the label for metrics.
    fn outcome(&self) -> &'static str {
        match self {
            HandshakeError::Slow => "timeout",
            HandshakeError::Failed(error) => match tls_error(error) {
                Some(Error::InvalidCertificate(_)) => "bad_certificate",
                Some(Error::NoCertificatesPresented) => "no_certificate",
                Some(_) => "failed",
                None => "broken_off",
            },
            HandshakeError::NoCertificate => "no_certificate",
            HandshakeError::Overtaken => "broken_off",
            HandshakeError::NoIdentity(_) | HandshakeError::NotAMember { .. } => "wrong_identity",
        }
    }
}

/// Server's side of handshakes on one face. Its configuration can be replaced at any time, for the
/// handshakes that begin later.
pub struct TlsAcceptor {
    face: &'static str,
    config: ArcSwap<ServerConfig>,
    clients: AcceptedClients,
    open: OpenConnections,
}

impl TlsAcceptor {
    /// Returns an acceptor; `face` names it in logs and metrics.
    pub fn new(face: &'static str, config: ServerConfig, clients: AcceptedClients) -> TlsAcceptor {
        TlsAcceptor {
            face,
            config: ArcSwap::from_pointee(config),
            clients,
            open: OpenConnections::default(),
        }
    }

    /// Uses another configuration for the handshakes that begin from now on.
    pub fn replace(&self, config: ServerConfig) {
        self.config.store(Arc::new(config));
    }

    /// Closes the connections of clients that these authorities don't vouch for, and returns their
    /// number. Those of clients without a certificate stay.
    ///
    /// # Errors
    /// The authorities can't be used; nothing was closed.
    pub fn close_distrusted(
        &self,
        roots: &TrustedRoots,
        now: SystemTime,
    ) -> Result<usize, TlsError> {
        let verifier = client_verifier(roots, true)?;
        let is_trusted =
            |chain: &[CertificateDer<'_>]| verify_client(verifier.as_ref(), chain, now).is_ok();
        Ok(self.open.change_trust(is_trusted))
    }

    /// Makes the handshake, within 3 s; `None` where the client is not taken, which is logged and
    /// counted. Not cancel safe: a handshake that is dropped is over.
    pub async fn accept(&self, tcp: TcpStream, from: SocketAddr) -> Option<FaceStream> {
        let outcome = match self.handshake(tcp).await {
            Ok(stream) => {
                self.count("done");
                return Some(stream);
            }
            Err(error) => error,
        };
        self.count(outcome.outcome());
        let face = self.face;
        let from = from.ip().to_string();
        let cause = format!("{face} {from} {}", outcome.outcome());
        if outcome.outcome() == "broken_off" {
            // Whoever looks whether somebody listens, and that is all.
            tracing::debug!(face, from, "a handshake was broken off: {outcome}");
        } else if let Some(left_out) = REFUSALS.due(&cause) {
            tracing::warn!(face, from, left_out, "a client was refused: {outcome}");
        }
        None
    }

    async fn handshake(&self, tcp: TcpStream) -> Result<FaceStream, HandshakeError> {
        let trust = self.open.trust();
        let config = self.config.load_full();
        let accepting = tokio_rustls::TlsAcceptor::from(config).accept(tcp);
        let stream = timeout(HANDSHAKE_TIMEOUT, accepting)
            .await
            .map_err(|_| HandshakeError::Slow)?
            .map_err(HandshakeError::Failed)?;
        let client = self.client(&stream)?;
        let closing = match stream.get_ref().1.peer_certificates() {
            Some(chain) => {
                let entered = self.open.enter(trust, chain);
                Some(entered.ok_or(HandshakeError::Overtaken)?)
            }
            None => None,
        };
        let stream = ClosableStream::new(stream, closing);
        Ok(FaceStream::Tls(Box::new(stream), client.map(Arc::new)))
    }

    fn client(
        &self,
        stream: &TlsStream<TcpStream>,
    ) -> Result<Option<ClientCertificate>, HandshakeError> {
        let shown = stream.get_ref().1.peer_certificates();
        let leaf = shown.and_then(|chain| chain.first()).cloned();
        let identity = leaf.as_ref().map(CertificateIdentity::from_certificate);
        let identity = match &self.clients {
            AcceptedClients::Any => None,
            AcceptedClients::Identified { domain } => identity
                .and_then(Result::ok)
                .filter(|identity| identity.domain == *domain),
            AcceptedClients::Members { domain } => {
                let identity = identity.ok_or(HandshakeError::NoCertificate)?;
                let identity = identity.map_err(HandshakeError::NoIdentity)?;
                if identity.domain != *domain || !identity.is_member() {
                    return Err(HandshakeError::NotAMember {
                        found: identity.uri(),
                        domain: domain.clone(),
                    });
                }
                Some(identity)
            }
        };
        Ok(leaf.map(|certificate| ClientCertificate {
            certificate,
            identity,
        }))
    }

    fn count(&self, outcome: &'static str) {
        metrics::counter!("quorate_tls_handshakes_total", "face" => self.face, "outcome" => outcome)
            .increment(1);
    }
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Says what to do about the errors that people meet.
pub(crate) fn describe(error: &io::Error) -> String {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    let Some(tls) = tls_error(error) else {
        return error.to_string();
    };
    match tls {
        Error::InvalidCertificate(Expired | ExpiredContext { .. }) => {
            format!("{tls}: a new certificate is needed there, if the clock here is right")
        }
        Error::InvalidCertificate(NotValidYet | NotValidYetContext { .. }) => {
            format!("{tls}: compare the clocks of both hosts")
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            format!("{tls}: the certificate is not of an authority in tls.ca")
        }
        Error::InvalidMessage(_) => format!("{tls}: is it plain, without TLS?"),
        _ => tls.to_string(),
    }
}
