//! Client connection under hyper: tracks its phase and answers requests that can't be parsed.
//!
//! What hyper writes while no request of ours is being answered is its own answer to a request that
//! it can't parse, and is replaced on its way out: see [`super::parse_answers`]. That it is not part
//! of one of our own answers is certain: a request is ours from the call of the service until hyper
//! has dropped the answer's body and has then flushed, which it does only with an empty write
//! buffer.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, SizeHint};
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_tls::FaceStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{parse_answers, transfer_pace::TransferPace};
use crate::{
    prefixed_body::{FramePoll, PrefixedBody},
    service_answer::{DownloadError, ServiceAnswerBody, UpstreamDownload, UpstreamTunnel},
};

/// Phase in a connection's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionPhase {
    /// Nothing has come yet.
    Fresh(Instant),
    /// The headers of a request are coming in.
    Head(Instant),
    /// A request is being answered.
    Busy,
    /// Between two requests.
    Idle(Instant),
}

/// State that the connection's task, the service and the stream share.
pub(super) struct ConnectionProgress {
    phase: Mutex<ConnectionPhase>,
    answering: AtomicUsize,
    unread: AtomicBool,
    /// Pace at which the client takes what is written.
    taking: Mutex<TransferPace>,
    tunnel: Mutex<Option<UpstreamTunnel>>,
}

impl ConnectionProgress {
    pub(super) fn new(taking: TransferPace) -> Arc<ConnectionProgress> {
        Arc::new(ConnectionProgress {
            phase: Mutex::new(ConnectionPhase::Fresh(Instant::now())),
            answering: AtomicUsize::new(0),
            unread: AtomicBool::new(false),
            taking: Mutex::new(taking),
            tunnel: Mutex::new(None),
        })
    }

    pub(super) fn phase(&self) -> ConnectionPhase {
        *self.phase.lock()
    }

    /// Begins to answer a request; it is answered when the guard is dropped and the rest is
    /// flushed.
    pub(super) fn begin(self: &Arc<Self>) -> AnsweringGuard {
        self.answering.fetch_add(1, Ordering::Relaxed);
        *self.phase.lock() = ConnectionPhase::Busy;
        AnsweringGuard(self.clone())
    }

    /// Notes that the client may still be sending an unread body: closing at once would take our
    /// answer from it.
    pub(super) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Has the connection speak another protocol after this answer, with this upstream.
    pub(super) fn open_tunnel(&self, tunnel: UpstreamTunnel) {
        *self.tunnel.lock() = Some(tunnel);
    }

    pub(super) fn take_tunnel(&self) -> Option<UpstreamTunnel> {
        self.tunnel.lock().take()
    }

    /// Returns true when the client takes nothing, or next to nothing, although there is something
    /// for it.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        self.taking.lock().is_overdue(now)
    }

    fn wrote(&self, polled: &Poll<io::Result<usize>>) {
        let now = Instant::now();
        let mut taking = self.taking.lock();
        match polled {
            Poll::Ready(wrote) => taking.moved(*wrote.as_ref().unwrap_or(&0), now),
            Poll::Pending => {
                taking.wait(now);
            }
        }
    }

    fn heard(&self) {
        let mut phase = self.phase.lock();
        if matches!(*phase, ConnectionPhase::Fresh(_) | ConnectionPhase::Idle(_)) {
            *phase = ConnectionPhase::Head(Instant::now());
        }
    }

    fn flushed(&self) {
        if self.answering.load(Ordering::Relaxed) == 0 {
            let mut phase = self.phase.lock();
            if *phase == ConnectionPhase::Busy {
                *phase = ConnectionPhase::Idle(Instant::now());
            }
        }
    }
}

/// Guard that is held while a request is being answered.
pub(super) struct AnsweringGuard(Arc<ConnectionProgress>);

impl AnsweringGuard {
    pub(super) fn progress(&self) -> &ConnectionProgress {
        &self.0
    }
}

impl Drop for AnsweringGuard {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Body of an answer, which is being given for as long as this lives.
pub(super) struct TrackedBody {
    body: PrefixedBody<Box<UpstreamDownload>>,
    _answering: AnsweringGuard,
}

impl TrackedBody {
    pub(super) fn new(body: ServiceAnswerBody, answering: AnsweringGuard) -> TrackedBody {
        let (prefix, rest) = match body {
            ServiceAnswerBody::Whole(data) => (data, None),
            ServiceAnswerBody::Stream(download) => (Bytes::new(), Some(download)),
        };
        TrackedBody {
            body: PrefixedBody { prefix, rest },
            _answering: answering,
        }
    }
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = DownloadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> FramePoll<DownloadError> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Stream under hyper.
pub(super) struct ClientStream {
    pub(super) stream: FaceStream,
    progress: Arc<ConnectionProgress>,
    replacement: Bytes,
}

impl ClientStream {
    pub(super) fn new(stream: FaceStream, progress: Arc<ConnectionProgress>) -> ClientStream {
        ClientStream {
            stream,
            progress,
            replacement: Bytes::new(),
        }
    }

    fn poll_ours(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.replacement.is_empty() {
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.replacement))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.replacement.advance(n);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_instead(&mut self, cx: &mut Context<'_>, head: &[u8]) -> Poll<io::Result<usize>> {
        self.replacement = parse_answers::instead_of(head);
        self.progress.leave_unread();
        if let Poll::Ready(Err(error)) = self.poll_ours(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(head.len()))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.progress.heard();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ours(cx))?;
        if self.progress.phase() == ConnectionPhase::Busy {
            let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
            self.progress.wrote(&wrote);
            return wrote;
        }
        self.poll_instead(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ours(cx))?;
        if self.progress.phase() == ConnectionPhase::Busy {
            let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
            self.progress.wrote(&wrote);
            return wrote;
        }
        let whole = bufs
            .iter()
            .flat_map(|buf| buf.iter().copied())
            .collect::<Vec<u8>>();
        self.poll_instead(cx, &whole)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ours(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.progress.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ours(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
