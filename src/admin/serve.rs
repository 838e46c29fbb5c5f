//! The server of the administration port, bounded in connections and in clients' time.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use quorate_log::RateLimit;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::write_timeout::WriteTimeoutStream;

/// The number of connections at a time; further ones wait in the kernel's queue. Enough for a few
/// balancers, scrapers and people.
const CONNECTIONS_MAX: usize = 512;

/// The time for a request's head; a slower one ends the connection, and so does an idle client.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// The time after which a client is cut off that takes no bytes of its answer, or whose host is
/// gone.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause after an accept that failed, for lack of file handles for example: some may have been
/// freed a moment later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown`, then finishes the requests that run, at most for `drain`.
/// Only the loss of the listener itself is an error.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    drain: Duration,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let log_limit = RateLimit::each_second();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, permit)) => connection(stream, permit, router.clone(), &graceful),
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

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = slots
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

fn connection(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    router: Router,
    graceful: &GracefulShutdown,
) {
    // Small answers should not wait for more to send with them.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(TAKE_TIMEOUT));
    let stream = WriteTimeoutStream::new(stream, TAKE_TIMEOUT);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let watched = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "a connection to the admin port ended");
        }
        drop(permit);
    });
}
