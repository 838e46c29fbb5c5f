//! Handshakes with clients, by the newest certificates and authorities.
//!
//! Each runs in the task of its connection, so that one that stalls holds nothing up, and is given
//! up after [`HANDSHAKE_TIMEOUT`]. Sessions are resumed as long as the configuration is the same:
//! tickets of an older one are worth nothing, and no early data is taken.

use std::{io, sync::Arc};

use arc_swap::ArcSwapOption;
use quorate_log::RateLimit;
use quorate_state::State;
use quorate_tls::{CertificatePair, FaceStream, HANDSHAKE_TIMEOUT, crypto_provider};
use rustls::{
    RootCertStore, ServerConfig,
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{error::Elapsed, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{HttpTls, client_authorities::ClientAuthorities, name_resolver::NameResolver};
use crate::derived_view::DerivedView;

/// Whoever connects may bring the line about.
static REFUSED: RateLimit = RateLimit::each_second();

/// Maker of TLS connections of one listener.
pub(in crate::http) struct TlsHandshakes {
    tls: Arc<HttpTls>,
    authorities: DerivedView<ClientAuthorities>,
    current: ArcSwapOption<BuiltConfig>,
}

/// Configuration with what it was made of.
struct BuiltConfig {
    pairs: Arc<Vec<CertificatePair>>,
    roots: Option<Arc<RootCertStore>>,
    config: Arc<ServerConfig>,
}

#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("the handshake was not finished in time")]
    Slow(#[from] Elapsed),
    #[error(transparent)]
    Failed(#[from] io::Error),
    #[error(transparent)]
    Setup(#[from] rustls::Error),
    #[error(transparent)]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

impl HandshakeError {
    fn outcome(&self) -> &'static str {
        match self {
            HandshakeError::Slow(_) => "timeout",
            HandshakeError::Failed(error) if error.get_ref().is_none() => "broken_off",
            HandshakeError::Failed(_) => "failed",
            HandshakeError::Setup(_) | HandshakeError::Verifier(_) => "setup",
        }
    }
}

impl TlsHandshakes {
    pub(in crate::http) fn new(
        tls: Arc<HttpTls>,
        state: watch::Receiver<Arc<State>>,
    ) -> TlsHandshakes {
        TlsHandshakes {
            tls,
            authorities: DerivedView::new(state, |state, before| {
                ClientAuthorities::from_catalog(state.catalog(), before)
            }),
            current: ArcSwapOption::empty(),
        }
    }

    /// Makes a TLS connection; `None` where the client is no good, which is counted.
    pub(in crate::http) async fn accept(&self, tcp: TcpStream) -> Option<FaceStream> {
        let from = tcp.peer_addr().map(|it| it.ip());
        match self.handshake(tcp).await {
            Ok(stream) => {
                count("done");
                Some(stream)
            }
            Err(error) => {
                count(error.outcome());
                if let Ok(from) = from
                    && let Some(left_out) = REFUSED.due(&error.to_string())
                {
                    tracing::debug!(%from, %error, left_out, "no TLS connection with a client");
                }
                None
            }
        }
    }

    async fn handshake(&self, tcp: TcpStream) -> Result<FaceStream, HandshakeError> {
        let acceptor = TlsAcceptor::from(self.config()?);
        let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await??;
        Ok(FaceStream::Tls(Box::new(stream), None))
    }

    /// Returns the configuration for what is valid now. Two that are built at a time are alike.
    fn config(&self) -> Result<Arc<ServerConfig>, HandshakeError> {
        let (pairs, roots) = (self.tls.pairs(), self.authorities.get().roots.clone());
        if let Some(current) = &*self.current.load()
            && Arc::ptr_eq(&current.pairs, &pairs)
            && is_same(current.roots.as_ref(), roots.as_ref())
        {
            return Ok(current.config.clone());
        }
        let config = Arc::new(build(pairs.clone(), roots.clone())?);
        self.current.store(Some(Arc::new(BuiltConfig {
            pairs,
            roots,
            config: config.clone(),
        })));
        Ok(config)
    }
}

fn is_same(one: Option<&Arc<RootCertStore>>, other: Option<&Arc<RootCertStore>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

fn build(
    pairs: Arc<Vec<CertificatePair>>,
    roots: Option<Arc<RootCertStore>>,
) -> Result<ServerConfig, HandshakeError> {
    let verifier = match roots {
        None => WebPkiClientVerifier::no_client_auth(),
        // Which channel needs one is known once there is a request.
        Some(roots) => WebPkiClientVerifier::builder_with_provider(roots, crypto_provider())
            .allow_unauthenticated()
            .build()?,
    };
    let mut config = ServerConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(NameResolver::new(pairs)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
    Ok(config)
}

fn count(outcome: &'static str) {
    metrics::counter!("quorate_tls_handshakes_total", "face" => "http", "outcome" => outcome)
        .increment(1);
}
