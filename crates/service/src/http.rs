//! HTTP listener of the services: HTTP/1.1 requests in, services' answers out.
//!
//! Nothing on a request's way asks the group: routes and services are those of the state that this
//! member has applied, so the listener works without a quorum. Every answer carries `X-Zato-CID`;
//! errors come in the `zato_env` envelope.

mod caller_admission;
mod caller_limits;
mod channel_guard;
mod channel_router;
pub mod cid;
mod client_limits;
mod client_origin;
mod client_stream;
mod connection;
mod error_envelope;
mod forwarded;
mod http_tls;
mod parse_answers;
mod path_decoding;
mod request_body;
mod request_metrics;
mod request_rules;
mod services_handler;
mod shutdown_signals;
#[cfg(test)]
mod tests;
mod transfer_pace;
mod websocket_tunnel;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    http_tls::TlsHandshakes, services_handler::ServicesHandler, shutdown_signals::ShutdownSignals,
};
use crate::{Services, call_limiter::count_refused};
pub use client_limits::ClientLimits;
pub use http_tls::HttpTls;
use quorate_state::State;
use quorate_tls::FaceStream;
use quorate_types::backoff::Backoff;

/// Connections that are being refused at the same time for want of room.
const TURNED_AWAY_MAX: usize = 256;

const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Report of a listener's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that were cut off because the grace was over.
    pub cut: usize,
}

/// Serves until `shutdown` is cancelled, then drains: clients that have connected by then are
/// served, answers carry `Connection: close`, idle connections are closed after
/// [`ClientLimits::linger`], and the rest is cut off after [`ClientLimits::grace`]. With `tls`
/// nobody is served without it.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<HttpTls>>,
    services: Arc<Services>,
    state: watch::Receiver<Arc<State>>,
    limits: ClientLimits,
    shutdown: CancellationToken,
) -> DrainReport {
    let handshakes = tls.map(|tls| Arc::new(TlsHandshakes::new(tls, state.clone())));
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let handler = Arc::new(ServicesHandler::new(
        services,
        state,
        limits,
        shutdown.clone(),
    ));
    let signals = ShutdownSignals {
        stop: shutdown.clone(),
        cut: CancellationToken::new(),
    };
    let connections = TaskTracker::new();
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
    let cut = Arc::new(AtomicUsize::new(0));
    let spawn = |(stream, peer): AcceptedConnection, permit: Option<OwnedSemaphorePermit>| {
        let (handler, signals, cut) = (handler.clone(), signals.clone(), cut.clone());
        let handshakes = handshakes.clone();
        connections.spawn(async move {
            let _open = request_metrics::ConnectionMetrics::begin();
            let Some(stream) = open(stream, handshakes.as_deref()).await else {
                return;
            };
            if connection::serve(stream, peer, handler, signals).await {
                cut.fetch_add(1, Ordering::Relaxed);
            }
            drop(permit);
        });
    };

    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        if let Ok(permit) = room.clone().try_acquire_owned() {
            spawn(accepted, Some(permit));
            continue;
        }
        // Even refusals have bounded room.
        let permit = turned_away.clone().acquire_owned().await;
        let (cut, room) = (signals.cut.clone(), handler.limits.connections_max);
        let is_tls = handshakes.is_some();
        connections.spawn(async move {
            // A handshake is more than a refusal may cost.
            if is_tls {
                count_refused("connection");
            } else {
                connection::reject_connection(accepted.0, room, &cut).await;
            }
            drop(permit);
        });
    }
    // Connections that the kernel has accepted already would be reset.
    while let Some(Ok(accepted)) = listener.accept().now_or_never() {
        spawn(accepted, None);
    }
    drop(listener);

    connections.close();
    if timeout(handler.limits.grace, connections.wait())
        .await
        .is_err()
    {
        signals.cut.cancel();
        connections.wait().await;
    }
    DrainReport {
        cut: cut.load(Ordering::Relaxed),
    }
}

/// Returns the stream of a connection, once its handshake is done.
async fn open(tcp: TcpStream, handshakes: Option<&TlsHandshakes>) -> Option<FaceStream> {
    match handshakes {
        None => Some(FaceStream::Plain(tcp)),
        Some(handshakes) => handshakes.accept(tcp).await,
    }
}

/// A connection with its peer's address.
type AcceptedConnection = (TcpStream, SocketAddr);

async fn accept(listener: &TcpListener) -> AcceptedConnection {
    let mut pauses = Backoff::new(ACCEPT_PAUSE, ACCEPT_PAUSE_MAX);
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // Out of file descriptors, most of the time; connections that end give some back.
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                sleep(pauses.step()).await;
            }
        }
    }
}
