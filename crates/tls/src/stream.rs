//! A connection to a face, plain or by TLS.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server;

use crate::{ClientCertificate, ClosableStream};

/// Connection that was accepted, with what is known of its client.
pub enum FaceStream {
    /// Without TLS.
    Plain(TcpStream),
    /// By TLS, after its handshake.
    Tls(
        Box<ClosableStream<server::TlsStream<TcpStream>>>,
        Option<Arc<ClientCertificate>>,
    ),
}

impl FaceStream {
    /// Returns the connection below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            FaceStream::Plain(tcp) => tcp,
            FaceStream::Tls(tls, _) => tls.get_ref().get_ref().0,
        }
    }

    /// Returns true for TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, FaceStream::Tls(..))
    }

    /// Returns the certificate that the client has shown and that was verified, if any.
    pub fn client_certificate(&self) -> Option<&Arc<ClientCertificate>> {
        match self {
            FaceStream::Plain(_) => None,
            FaceStream::Tls(_, certificate) => certificate.as_ref(),
        }
    }
}

impl AsyncRead for FaceStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            FaceStream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            FaceStream::Tls(tls, _) => Pin::new(&mut **tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for FaceStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            FaceStream::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            FaceStream::Tls(tls, _) => Pin::new(&mut **tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            FaceStream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            FaceStream::Tls(tls, _) => Pin::new(&mut **tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            FaceStream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            FaceStream::Tls(tls, _) => Pin::new(&mut **tls).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            FaceStream::Plain(tcp) => tcp.is_write_vectored(),
            FaceStream::Tls(tls, _) => tls.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            FaceStream::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            FaceStream::Tls(tls, _) => Pin::new(&mut **tls).poll_write_vectored(cx, bufs),
        }
    }
}
