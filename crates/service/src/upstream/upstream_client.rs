//! HTTP client with a pool that all upstream services of a member share.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Uri, uri::Scheme};
use hyper_rustls::{
    DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, MaybeHttpsStream,
    ResolveServerName,
};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use quorate_platform::egress::EgressPolicy;
use quorate_types::error_chain::{causes, root_cause};
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, client::WantsClientCert, crypto::ring,
    pki_types::ServerName,
};
use tokio::time::timeout;
use tower_service::Service;

use super::{
    UpstreamError,
    outgoing_body::OutgoingBody,
    upstream_stream::{ClosedBeforeSend, UpstreamStream},
};

/// Timeout of TCP. Longer than any sane network needs, short enough to leave time for the next URL.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout of TCP and TLS together.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// Time for which idle connections are kept: shorter than the two seconds after which the hastiest
/// of common servers close them. Where one is hastier still, see [`super::upstream_stream`].
const POOL_IDLE: Duration = Duration::from_millis(1500);

/// Most headers of an answer.
pub(super) const REPLY_HEADERS_MAX: usize = 512;
/// Longest head of an answer, in bytes: as much as the balancer passes on.
pub(super) const REPLY_HEAD_BYTES_MAX: usize = 48 << 10;

/// HTTP client of upstreams.
pub(crate) type UpstreamClient = legacy::Client<UpstreamConnector, OutgoingBody>;

/// Returns the system's CA certificates.
pub(super) fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (good, _) = roots.add_parsable_certificates(found.certs);
    if good == 0 {
        let error = found.errors.first().map(ToString::to_string);
        tracing::warn!(
            error = error.unwrap_or_else(|| "there are none".to_owned()),
            "the system's CA certificates can't be used, so https upstreams will be refused; \
             install the package ca-certificates, or set SSL_CERT_FILE"
        );
    }
    roots
}

/// Begins the TLS of a client that trusts these certificates.
pub(super) fn trusting(
    roots: impl Into<Arc<RootCertStore>>,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("invariant: ring has what the default versions of TLS need")
        .with_root_certificates(roots)
}

/// Creates a client with a pool of its own. `name`: whose certificate a server must have, where it
/// is not that of the host in the URL.
pub(super) fn client(
    tls: ClientConfig,
    name: Option<ServerName<'static>>,
    tls_alone: bool,
    egress: EgressPolicy,
) -> UpstreamClient {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .http1_max_headers(REPLY_HEADERS_MAX)
        .http1_max_buf_size(REPLY_HEAD_BYTES_MAX)
        .build(UpstreamConnector(https(
            TcpConnector { http, egress },
            tls,
            name,
            tls_alone,
        )))
}

fn https(
    tcp: TcpConnector,
    tls: ClientConfig,
    name: Option<ServerName<'static>>,
    tls_alone: bool,
) -> HttpsConnector<TcpConnector> {
    let resolver: Arc<dyn ResolveServerName + Send + Sync> = match name {
        None => Arc::new(DefaultServerNameResolver::default()),
        Some(name) => Arc::new(FixedServerNameResolver::new(name)),
    };
    HttpsConnector::new(tcp, tls, tls_alone, resolver)
}

/// Classifies an error by whether the request can have arrived.
pub(super) fn classify(error: &legacy::Error) -> UpstreamError {
    let why = root_cause(error);
    match closed(error) {
        Some(ClosedBeforeSend::Idle) => UpstreamError::Stale(why),
        Some(ClosedBeforeSend::New) => UpstreamError::NeverSent(why),
        // Without a connection there is none that the request could have gone into.
        None if error.connect_info().is_none() || is_canceled(error) => {
            UpstreamError::NeverSent(why)
        }
        None => UpstreamError::Broken(why),
    }
}

/// Returns true when hyper reports "canceled", its word for a request that was never taken from its
/// queue and so never written.
pub(crate) fn is_canceled(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_canceled)
}

/// Returns the mark of a connection that was closed before anything was written.
fn closed(error: &legacy::Error) -> Option<&ClosedBeforeSend> {
    causes(error).find_map(|cause| {
        // An I/O error's own content is not among its causes.
        let inner = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .and_then(|inner| inner.downcast_ref::<ClosedBeforeSend>());
        inner.or_else(|| cause.downcast_ref::<ClosedBeforeSend>())
    })
}

type ConnectFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connector that is done within [`HANDSHAKE_TIMEOUT`].
#[derive(Clone)]
pub(crate) struct UpstreamConnector(HttpsConnector<TcpConnector>);

impl Service<Uri> for UpstreamConnector {
    type Response = MaybeHttpsStream<TokioIo<UpstreamStream>>;
    type Error = BoxError;
    type Future = ConnectFuture<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = timeout(HANDSHAKE_TIMEOUT, self.0.call(uri));
        Box::pin(async move {
            match connecting.await {
                Ok(outcome) => outcome,
                Err(_) => Err("no TLS connection could be made in time".into()),
            }
        })
    }
}

/// Connector by TCP, to where this member may.
#[derive(Clone)]
pub(crate) struct TcpConnector {
    http: HttpConnector,
    egress: EgressPolicy,
}

impl Service<Uri> for TcpConnector {
    type Response = TokioIo<UpstreamStream>;
    type Error = BoxError;
    type Future = ConnectFuture<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = uri.scheme() == Some(&Scheme::HTTPS);
        let literal = literal_address(&uri);
        let connecting = self.http.call(uri);
        let egress = self.egress.clone();
        Box::pin(async move {
            if let Some(to) = literal {
                egress.check(to, None).await?;
            }
            let stream = connecting.await?.into_inner();
            let from = stream.local_addr()?.ip();
            egress.check(stream.peer_addr()?, Some(from)).await?;
            Ok(TokioIo::new(UpstreamStream::new(stream, tls)))
        })
    }
}

/// Returns the address of a URL that needs no look-up: it can be refused without being connected
/// to.
fn literal_address(uri: &Uri) -> Option<SocketAddr> {
    let host = uri.host()?.trim_matches(['[', ']']);
    let usual = if uri.scheme() == Some(&Scheme::HTTPS) {
        443
    } else {
        80
    };
    let address = host.parse::<IpAddr>().ok()?;
    Some(SocketAddr::new(address, uri.port_u16().unwrap_or(usual)))
}
