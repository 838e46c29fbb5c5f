//! The server of the administration port, bounded in connections and in clients' time. Who has a
//! place is decided by [`ConnectionTable`].

use std::{io, pin::Pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use quorate_log::RateLimit;
use quorate_tls::{FaceListener, FaceStream};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;

use super::{
    client_identity::{AdminCaller, CallerService},
    connection_table::{ConnectionPlace, ConnectionTable},
    placed_service::PlacedService,
};
use crate::settings::LoopbackUsers;

/// The time for a request's head; a slower one ends the connection, and so does an idle client.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// The time after which a client is cut off that takes no bytes of its answer, or whose host is
/// gone.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause after an accept that failed, for lack of file handles for example: some may have been
/// freed a moment later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves these users of this host, and all other hosts, until `shutdown`, then finishes the
/// requests that run, at most for `drain`. Only the loss of the listener itself is an error.
pub async fn serve(
    mut listener: FaceListener,
    router: Router,
    users: LoopbackUsers,
    shutdown: CancellationToken,
    drain: Duration,
) -> io::Result<()> {
    let table = ConnectionTable::new();
    let graceful = GracefulShutdown::new();
    let log_limit = RateLimit::each_second();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            // Without a word to it.
            Ok((stream, _)) if !users.admit(stream.tcp()) => {
                if let Some(left_out) = log_limit.due("user") {
                    tracing::warn!(
                        left_out,
                        "another user of this host was refused at the admin port (security.loopback)"
                    );
                }
            }
            Ok((stream, from)) => {
                if let Some(place) = table.admit(from.ip()) {
                    connection(stream, place, &table, router.clone(), &graceful);
                } else if let Some(left_out) = log_limit.due("place") {
                    tracing::warn!(
                        %from,
                        left_out,
                        "a connection to the admin port was closed: all places have requests that run"
                    );
                }
            }
            Err(error) => {
                if let Some(left_out) = log_limit.due("") {
                    tracing::warn!(%error, left_out, "a connection to the admin port could not be accepted");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests on the admin port did not finish in time");
    }
    Ok(())
}

fn connection(
    stream: FaceStream,
    place: Arc<ConnectionPlace>,
    table: &ConnectionTable,
    router: Router,
    graceful: &GracefulShutdown,
) {
    let caller = AdminCaller::from_stream(&stream);
    let _ = SockRef::from(stream.tcp()).set_tcp_user_timeout(Some(TAKE_TIMEOUT));
    let stream = with_write_timeout(stream, TAKE_TIMEOUT);
    // Who is refused takes no place from others.
    let service = PlacedService::new(router, table.clone(), place.clone());
    let service = CallerService::new(service, caller);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let watched = graceful.watch(connection);
    tokio::spawn(async move {
        tokio::select! {
            ended = watched => if let Err(error) = ended {
                tracing::debug!(%error, "a connection to the admin port ended");
            },
            () = place.evicted() => {}
        }
    });
}

/// Bounds the time from one byte that the client takes to the next. Data for a client that takes
/// nothing waits in buffers that are full, and the task that writes waits with it: without a bound a
/// client that has stopped reading would hold its connection for as long as it likes.
fn with_write_timeout<S: AsyncRead + AsyncWrite>(
    stream: S,
    wait: Duration,
) -> Pin<Box<TimeoutWriter<S>>> {
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(wait));
    Box::pin(stream)
}

#[cfg(test)]
mod tests;
