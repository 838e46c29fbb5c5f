//! The server's side of a handshake, by the newest configuration, and who the client is.

use std::{io, sync::Arc};

use arc_swap::ArcSwap;
use quorate_log::RateLimit;
use rustls::{CertificateError, Error, ServerConfig};
use rustls_pki_types::CertificateDer;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::server::TlsStream;

use crate::{CertificateIdentity, FaceStream, HANDSHAKE_TIMEOUT, IdentityError};

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
}

impl TlsAcceptor {
    /// Returns an acceptor; `face` names it in logs and metrics.
    pub fn new(face: &'static str, config: ServerConfig, clients: AcceptedClients) -> TlsAcceptor {
        TlsAcceptor {
            face,
            config: ArcSwap::from_pointee(config),
            clients,
        }
    }

    /// Uses another configuration for the handshakes that begin from now on.
    pub fn replace(&self, config: ServerConfig) {
        self.config.store(Arc::new(config));
    }

    /// Makes the handshake, within 3 s; `None` where the client is not taken, which is logged and
    /// counted. Not cancel safe: a handshake that is dropped is over.
    pub async fn accept(&self, tcp: TcpStream) -> Option<FaceStream> {
        let from = tcp.peer_addr();
        let outcome = match self.handshake(tcp).await {
            Ok(stream) => {
                self.count("done");
                return Some(stream);
            }
            Err(error) => error,
        };
        self.count(outcome.outcome());
        let face = self.face;
        let from = from.map(|address| address.ip().to_string());
        let from = from.unwrap_or_default();
        if outcome.outcome() == "broken_off" {
            // Whoever looks whether somebody listens, and that is all.
            tracing::debug!(face, from, "a handshake was broken off: {outcome}");
        } else if let Some(left_out) = REFUSALS.due(&format!("{face} {from} {outcome}")) {
            tracing::warn!(face, from, left_out, "a client was refused: {outcome}");
        }
        None
    }

    async fn handshake(&self, tcp: TcpStream) -> Result<FaceStream, HandshakeError> {
        let config = self.config.load_full();
        let accepting = tokio_rustls::TlsAcceptor::from(config).accept(tcp);
        let stream = timeout(HANDSHAKE_TIMEOUT, accepting)
            .await
            .map_err(|_| HandshakeError::Slow)?
            .map_err(HandshakeError::Failed)?;
        let client = self.client(&stream)?;
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
