//! Connections to one member, as gRPC channels make them: TCP, then the handshake.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use crate::{ClosableStream, ExpectedMember, MemberConnector};

/// Maker of a channel's connections to one member.
#[derive(Clone, Debug)]
pub struct MemberDialer {
    connector: Arc<MemberConnector>,
    expected: ExpectedMember,
}

impl MemberDialer {
    /// Returns a dialer for the member that is expected there.
    pub fn new(connector: Arc<MemberConnector>, expected: ExpectedMember) -> MemberDialer {
        MemberDialer {
            connector,
            expected,
        }
    }
}

impl Service<Uri> for MemberDialer {
    type Response = TokioIo<ClosableStream<TlsStream<TcpStream>>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let MemberDialer {
            connector,
            expected,
        } = self.clone();
        Box::pin(async move {
            let address = uri.authority().map(http::uri::Authority::as_str);
            let address = address.ok_or(io::ErrorKind::InvalidInput)?;
            let tcp = TcpStream::connect(address).await?;
            // Consensus is many small messages that each wait for an answer.
            tcp.set_nodelay(true)?;
            let stream = connector.connect(tcp, &expected).await?;
            Ok(TokioIo::new(stream))
        })
    }
}
