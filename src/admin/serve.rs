//! Serves the admin face: bounded in connections, and in how long a client may take.

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

/// Connections at a time; further ones wait in the kernel's queue. Enough for a few
/// balancers, scrapers and people.
const CONNECTIONS_MAX: usize = 512;

/// A head that takes longer ends the connection, an idle one too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// A client that takes nothing of what it is sent for so long is cut off; so is one whose
/// host is gone.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Out of file handles, for example: what is there may have been freed a moment later.
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
    let said = RateLimit::each_second();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, permit)) => connection(stream, permit, router.clone(), &graceful),
            Err(error) => {
                if let Some(left_out) = said.due("") {
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
