//! Client connection under hyper: tracks its phase and answers requests that can't be parsed.
//!
//! hyper answers a request that it can't parse by itself, with an empty 400, 414 or 431. Every
//! answer of this listener is promised a CID and an envelope, so what hyper writes while no request
//! of ours is being answered is replaced on its way out. That it is not part of one of our own
//! answers is certain: a request is ours from the call of the service until hyper has dropped the
//! answer's body and has then flushed, which it does only with an empty write buffer.

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
use http::StatusCode;
use parking_lot::Mutex;
use quorate_clock::Instant;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{cid, error_envelope, transfer_pace::TransferPace};
use crate::service_answer::{self, DownloadError, UpstreamTunnel};

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

/// Body of an answer.
pub(super) struct TrackedBody {
    body: service_answer::ServiceAnswerBody,
    _answering: AnsweringGuard,
}

impl TrackedBody {
    pub(super) fn new(
        body: service_answer::ServiceAnswerBody,
        answering: AnsweringGuard,
    ) -> TrackedBody {
        TrackedBody {
            body,
            _answering: answering,
        }
    }
}

impl http_body::Body for TrackedBody {
    type Data = Bytes;
    type Error = DownloadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        match &mut self.body {
            service_answer::ServiceAnswerBody::Whole(data) => {
                let data = std::mem::take(data);
                let frame = Some(data).filter(|data| !data.is_empty());
                Poll::Ready(frame.map(|data| Ok(http_body::Frame::data(data))))
            }
            service_answer::ServiceAnswerBody::Stream(download) => {
                Pin::new(download).poll_frame(cx)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            service_answer::ServiceAnswerBody::Whole(data) => data.is_empty(),
            service_answer::ServiceAnswerBody::Stream(download) => download.is_end_stream(),
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &self.body {
            service_answer::ServiceAnswerBody::Whole(data) => {
                http_body::SizeHint::with_exact(data.len() as u64)
            }
            service_answer::ServiceAnswerBody::Stream(download) => download.size_hint(),
        }
    }
}

/// Stream under hyper.
pub(super) struct ClientStream {
    pub(super) stream: TcpStream,
    progress: Arc<ConnectionProgress>,
    replacement: Bytes,
}

impl ClientStream {
    pub(super) fn new(stream: TcpStream, progress: Arc<ConnectionProgress>) -> ClientStream {
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
        self.replacement = instead_of(head);
        self.progress.leave_unread();
        if let Poll::Ready(Err(error)) = self.poll_ours(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(head.len()))
    }
}

/// Builds a whole answer with an envelope, for a connection that ends with it.
pub(super) fn last_answer(status: StatusCode, details: &str) -> Bytes {
    let cid = cid::fresh();
    let body = error_envelope::error(&cid, details);
    let retry_after = match status {
        StatusCode::SERVICE_UNAVAILABLE => "retry-after: 1\r\n",
        _ => "",
    };
    metrics::counter!("quorate_http_requests_total", "channel" => "", "status" => status.as_str().to_owned())
        .increment(1);
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-zato-cid: {cid}\r\n\
         connection: close\r\n{retry_after}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat().into()
}

fn instead_of(head: &[u8]) -> Bytes {
    let status = head
        .get(9..12)
        .and_then(|code| StatusCode::from_bytes(code).ok());
    let status = status.unwrap_or(StatusCode::BAD_REQUEST);
    let details = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            "the request has too many headers, or too long ones"
        }
        StatusCode::URI_TOO_LONG => "the request's path is too long",
        _ => "the request can't be read as HTTP/1.1",
    };
    last_answer(status, details)
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
