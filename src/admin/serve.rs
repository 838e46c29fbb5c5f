//! The server of the administration port, bounded in connections and in clients' time.

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
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;

use super::client_identity::{AdminCaller, CallerService};

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
    mut listener: FaceListener,
    router: Router,
    shutdown: CancellationToken,
    drain: Duration,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let log_limit = RateLimit::each_second();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&mut listener, &slots) => accepted,
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
    listener: &mut FaceListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(FaceStream, OwnedSemaphorePermit)> {
    let permit = slots
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let stream = listener.accept().await?;
    Ok((stream, permit))
}

fn connection(
    stream: FaceStream,
    permit: OwnedSemaphorePermit,
    router: Router,
    graceful: &GracefulShutdown,
) {
    let service = CallerService::new(router, AdminCaller::from_stream(&stream));
    let _ = SockRef::from(stream.tcp()).set_tcp_user_timeout(Some(TAKE_TIMEOUT));
    let stream = with_write_timeout(stream, TAKE_TIMEOUT);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let watched = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "a connection to the admin port ended");
        }
        drop(permit);
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
mod tests {
    use quorate_clock::Instant;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::interval,
    };

    use super::*;

    const WAIT: Duration = Duration::from_millis(300);

    // guarantee: WATCH-4
    #[tokio::test]
    async fn stalled_reader_is_cut_off_slow_reader_kept() {
        let (mut client, ours) = duplex(8);
        let mut ours = with_write_timeout(ours, WAIT);
        let writer = tokio::spawn(async move {
            let error = ours.write_all(&[1; 64]).await.expect_err("cut off");
            (error, Instant::now())
        });
        let mut pause = interval(WAIT / 3);
        let mut byte = [0; 4];
        for _ in 0..12 {
            pause.tick().await;
            client.read_exact(&mut byte).await.unwrap();
        }
        let last = Instant::now();
        let (error, at) = writer.await.unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(at - last >= WAIT * 9 / 10, "{:?}", at - last);
    }
}
