//! Connections that come in on the peer port, with whom the caller's certificate names.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::Stream;
use quorate_tls::{ClientCertificate, FaceListener, FaceStream, TlsAcceptor};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tonic::transport::server::Connected;

/// Stream of connections for the server of a peer port. It never ends; dropped, it closes the
/// listener.
pub struct PeerIncoming(FaceListener);

impl PeerIncoming {
    /// Takes connections from `listener`: behind TLS with an acceptor, plain without one.
    pub fn new(listener: TcpListener, acceptor: Option<Arc<TlsAcceptor>>) -> Self {
        PeerIncoming(FaceListener::new(listener, acceptor))
    }
}

impl Stream for PeerIncoming {
    type Item = io::Result<PeerStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = self.get_mut().0.poll_accept(cx);
        accepted.map(|accepted| Some(accepted.map(|(stream, _)| PeerStream(stream))))
    }
}

/// Connection of a caller.
pub struct PeerStream(FaceStream);

impl PeerStream {
    /// Returns the connection below.
    pub fn tcp(&self) -> &TcpStream {
        self.0.tcp()
    }
}

/// Caller, as its connection shows it: an extension of each of its requests.
#[derive(Clone, Debug)]
pub struct PeerCaller {
    pub(crate) certificate: Option<Arc<ClientCertificate>>,
}

impl Connected for PeerStream {
    type ConnectInfo = PeerCaller;

    fn connect_info(&self) -> PeerCaller {
        PeerCaller {
            certificate: self.0.client_certificate().cloned(),
        }
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, bufs)
    }
}
