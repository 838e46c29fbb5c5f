//! Transport to the broker: TCP or TLS, through the [`FrameSanitizer`].
//!
//! lapin takes its stream from a reactor, so this is one: tokio's, with streams of our own.

use std::{
    future::Future,
    io::{self, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    net::TcpStream,
};

use super::frame_sanitizer::FrameSanitizer;

/// Parts of the runtime that lapin runs on.
pub(super) type TransportRuntime = RuntimeParts<Tokio, TransportReactor>;

/// Returns tokio's runtime with our own streams to the broker.
pub(super) fn runtime() -> Runtime<TransportRuntime> {
    let tokio = Tokio::current();
    Runtime::new(RuntimeParts::new(tokio.clone(), TransportReactor(tokio)))
}

/// tokio's reactor, with [`TransportStream`]s in place of its streams.
#[derive(Clone, Debug)]
pub(super) struct TransportReactor(Tokio);

impl Reactor for TransportReactor {
    type TcpStream = TransportStream;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, time: Duration) -> Self::Sleep {
        self.0.sleep(time)
    }

    #[expect(clippy::disallowed_types, reason = "the trait names it")]
    fn interval(&self, time: Duration) -> impl Stream<Item = std::time::Instant> + Send + 'static {
        self.0.interval(time)
    }

    #[expect(clippy::manual_async_fn, reason = "it must not borrow the reactor")]
    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<TransportStream>> + Send + 'static {
        async move {
            Ok(TransportStream::new(TcpTransport(
                TcpStream::connect(address).await?,
            )))
        }
    }
}

/// Byte stream in both directions.
trait AsyncDuplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> AsyncDuplex for T {}

/// Connection to the broker, as lapin reads it.
pub(super) struct TransportStream {
    inner: Box<dyn AsyncDuplex>,
    sanitizer: FrameSanitizer,
}

impl TransportStream {
    /// Wraps a stream.
    pub(super) fn new(
        inner: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> TransportStream {
        TransportStream {
            inner: Box::new(inner),
            sanitizer: FrameSanitizer::default(),
        }
    }
}

impl AsyncRead for TransportStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let TransportStream { inner, sanitizer } = &mut *self;
        loop {
            let ready = sanitizer.pop(buffer);
            if ready > 0 || buffer.is_empty() {
                return Poll::Ready(Ok(ready));
            }
            let read = ready!(Pin::new(&mut *inner).poll_read(cx, buffer))?;
            if read == 0 || sanitizer.passes(read) {
                return Poll::Ready(Ok(read));
            }
            sanitizer.push(&buffer[..read]);
        }
    }
}

impl AsyncWrite for TransportStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// Stream of tokio's, as the libraries of AMQP and TLS know streams.
pub(super) struct TcpTransport(pub TcpStream);

impl AsyncRead for TcpTransport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl AsyncWrite for TcpTransport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
