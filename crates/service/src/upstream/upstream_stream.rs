//! TCP connection to an upstream, which detects an early close and keeps early answers.
//!
//! 1. A server closes connections that have been idle for a while, and a request that is written
//!    into one that it has just closed is lost: whether it ran is not known. So right before the
//!    first byte of a request the socket is asked whether the server has closed; then the request
//!    has surely not left.
//! 2. A server may answer and close before it has read all of a request (413, 401). Writing fails
//!    then, and its answer is still to be read: the answer counts.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::client::legacy::connect::{Connected, Connection};
use quorate_clock::Instant;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Time for which a connection without a request is a new one and not an idle one.
const NEW: Duration = Duration::from_millis(200);

/// The server had closed the connection before the request was written.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClosedBeforeSend {
    /// Another connection may do.
    #[error("the connection was closed while it was idle")]
    Idle,
    /// The next one would be closed alike: there is a listener, and nobody behind it.
    #[error("the connection was closed as soon as it was made")]
    New,
}

/// Mark by which a body tells its connection that a request begins.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestMark(Arc<AtomicBool>);

impl RequestMark {
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// One connection.
pub(crate) struct UpstreamStream {
    stream: TcpStream,
    tls: bool,
    mark: RequestMark,
    made: Instant,
    /// A request has been written into it.
    used: bool,
    /// Nothing can be written any more; what is still to be read has the reason.
    write_broken: bool,
}

impl UpstreamStream {
    pub(super) fn new(stream: TcpStream, tls: bool) -> UpstreamStream {
        UpstreamStream {
            stream,
            tls,
            mark: RequestMark::default(),
            made: Instant::now(),
            used: false,
            write_broken: false,
        }
    }

    /// Returns true when the server has closed it, or sent something that nobody asked for.
    fn is_closed(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(&self.stream).peek(&mut byte) {
            Ok(0) => true,
            // A new TLS connection has tickets to give. Later it is the notice of its end that
            // comes unasked, before the end itself.
            Ok(_) => self.used || !self.tls,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    fn write_with(
        &mut self,
        write: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.mark.take() {
            if self.is_closed() {
                // The pool may have had it for a while, although nobody has used it.
                let is_new = !self.used && self.made.elapsed() < NEW;
                let closed = if is_new {
                    ClosedBeforeSend::New
                } else {
                    ClosedBeforeSend::Idle
                };
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::NotConnected, closed)));
            }
            self.used = true;
        }
        if !self.write_broken {
            match write(Pin::new(&mut self.stream)) {
                Poll::Ready(Err(error)) if is_gone(&error) => self.write_broken = true,
                other => return other,
            }
        }
        // Reading wakes the waiter: with an answer, or with the end.
        Poll::Pending
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset)
}

impl Connection for UpstreamStream {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.mark.clone())
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write_with(|stream| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_with(|stream| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
