//! A stream that ends when it is told to, whoever waits for it.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::open_connections::ClosingNotice;

/// Stream that fails from the moment at which it is to be closed. Whoever serves a connection reads
/// from it all the time, so that reading learns of it is enough to wake him.
pub struct ClosableStream<S> {
    stream: S,
    closing: Option<ClosingNotice>,
    is_closed: bool,
}

impl<S> ClosableStream<S> {
    pub(crate) fn new(stream: S, closing: Option<ClosingNotice>) -> ClosableStream<S> {
        ClosableStream {
            stream,
            closing,
            is_closed: false,
        }
    }

    /// Returns the stream within.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    fn check(&mut self) -> io::Result<()> {
        if self.is_closed {
            let why = "the certificate of the other side is not trusted any more";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, why));
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClosableStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(closing) = &mut this.closing
            && Pin::new(closing).poll(cx).is_ready()
        {
            this.closing = None;
            this.is_closed = true;
        }
        this.check()?;
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClosableStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check()?;
        Pin::new(&mut this.stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check()?;
        Pin::new(&mut this.stream).poll_write_vectored(cx, bufs)
    }
}
