//! The pooled HTTP client that all upstream services of a member share.

use std::time::Duration;

use super::Miss;
use crate::service::causes::{causes, is_canceled};

/// For TCP and TLS together. Longer than any sane network needs, short enough to leave time
/// for the next URL.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Shorter than the five seconds after which common servers close idle connections: a request
/// sent into a closing connection may have run for all we know.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// A new client with a pool of its own.
pub(crate) fn client() -> reqwest::Client {
    // Fails when it has been done before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let error = match builder().build() {
        Ok(client) => return client,
        Err(error) => error,
    };
    tracing::warn!(
        error = explain(&error),
        "the system's CA certificates can't be used, so https upstreams will be refused; \
         install the package ca-certificates, or set SSL_CERT_FILE"
    );
    builder()
        .tls_certs_only([])
        .build()
        .expect("invariant: without certificates to load nothing is left that can fail")
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .tcp_nodelay(true)
        .referer(false)
}

/// Whether a request that failed can have arrived.
pub(super) fn classify(error: &reqwest::Error) -> Miss {
    let why = explain(error);
    if error.is_connect() || error.is_builder() || is_canceled(error) {
        Miss::NeverSent(why)
    } else {
        Miss::Broken(why)
    }
}

/// The innermost cause: "Connection refused" says more than "error sending request".
pub(super) fn explain(error: &reqwest::Error) -> String {
    causes(error)
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}
