//! Tunnel of a WebSocket connection: bytes both ways, until one side ends.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_tls::FaceStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy, split},
    time::{sleep, sleep_until, timeout},
};

use super::shutdown_signals::ShutdownSignals;
use crate::service_answer::UpstreamTunnel;

/// Silence of both sides after which nobody is there any more.
const SILENCE: Duration = Duration::from_secs(3600);
/// Time that the other side has once one has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Time for the upgrade. The upstream has answered 101 by then, so it takes two wake-ups.
const UPGRADE: Duration = Duration::from_secs(5);

/// Passes bytes on. `early` is what the client has sent already. Returns true when the tunnel was
/// cut off; an orderly stop ends it after `linger`, since it has no end of its own that could be
/// waited for.
pub(super) async fn run(
    client: FaceStream,
    early: Bytes,
    tunnel: UpstreamTunnel,
    signals: &ShutdownSignals,
    linger: Duration,
) -> bool {
    let _permit = tunnel.websocket_permit;
    let Ok(Ok(upstream)) = timeout(UPGRADE, tunnel.upstream).await else {
        tracing::debug!("the upstream went before its WebSocket began");
        return false;
    };
    let moved = Arc::new(Mutex::new(Instant::now()));
    let client = ActivityStream {
        stream: client,
        moved: moved.clone(),
    };
    let passing = pass(client, early, TokioIo::new(upstream));
    let silent = async {
        loop {
            let until = *moved.lock() + SILENCE;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    };
    let stopped = async {
        signals.stop.cancelled().await;
        sleep(linger).await;
    };
    tokio::select! {
        () = passing => false,
        () = silent => false,
        () = stopped => false,
        () = signals.cut.cancelled() => true,
    }
}

/// Passes bytes both ways until one side ends; the other has a moment for its last bytes. WebSocket
/// knows no connection of which one half goes on.
async fn pass(client: ActivityStream, early: Bytes, upstream: TokioIo<Upgraded>) {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_upstream, mut to_upstream) = split(upstream);
    let there = async {
        to_upstream.write_all(&early).await?;
        copy(&mut from_client, &mut to_upstream).await?;
        to_upstream.shutdown().await
    };
    let back = async {
        copy(&mut from_upstream, &mut to_client).await?;
        to_client.shutdown().await
    };
    let mut there = pin!(there);
    let mut back = pin!(back);
    tokio::select! {
        _ = &mut there => {
            let _ = timeout(LAST_WORDS, back).await;
        }
        _ = &mut back => {
            let _ = timeout(LAST_WORDS, there).await;
        }
    }
}

/// A stream that notes when bytes went through it.
struct ActivityStream {
    stream: FaceStream,
    moved: Arc<Mutex<Instant>>,
}

impl ActivityStream {
    fn note<T>(&self, polled: Poll<T>) -> Poll<T> {
        if polled.is_ready() {
            *self.moved.lock() = Instant::now();
        }
        polled
    }
}

impl AsyncRead for ActivityStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.note(polled)
    }
}

impl AsyncWrite for ActivityStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
