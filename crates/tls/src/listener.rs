//! A listener whose handshakes run beside each other and never hold up the next connection.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};

use crate::{FaceStream, TlsAcceptor};

/// Longest time for a handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// Handshakes in progress at a time, for each face. When one more comes the oldest is given up:
/// an honest one takes a few milliseconds, one that stalls on purpose takes all the time it gets.
pub const HANDSHAKES_MAX: usize = 512;

/// Listener of a face, plain or with TLS.
pub enum FaceListener {
    /// Without TLS.
    Plain(TcpListener),
    /// With TLS.
    Tls(TlsListener),
}

impl FaceListener {
    /// Returns a listener; with an acceptor, nobody gets by without TLS.
    pub fn new(tcp: TcpListener, acceptor: Option<Arc<TlsAcceptor>>) -> FaceListener {
        match acceptor {
            None => FaceListener::Plain(tcp),
            Some(acceptor) => FaceListener::Tls(TlsListener {
                tcp,
                acceptor,
                handshakes: JoinSet::new(),
                oldest_first: VecDeque::new(),
            }),
        }
    }

    /// Waits for the next connection, after its handshake, and returns the client's address too.
    /// Cancel safe.
    ///
    /// # Errors
    /// The system could not accept, for lack of file handles for example. It may be tried again.
    pub async fn accept(&mut self) -> io::Result<(FaceStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The same for a stream that is polled.
    pub fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(FaceStream, SocketAddr)>> {
        match self {
            FaceListener::Plain(tcp) => {
                let (stream, from) = ready!(tcp.poll_accept(cx))?;
                // Answers and heartbeats should not wait for more to send with them.
                let _ = stream.set_nodelay(true);
                Poll::Ready(Ok((FaceStream::Plain(stream), from)))
            }
            FaceListener::Tls(tls) => tls.poll_accept(cx),
        }
    }
}

/// Listener with TLS. Dropped, it gives up the handshakes that run.
pub struct TlsListener {
    tcp: TcpListener,
    acceptor: Arc<TlsAcceptor>,
    handshakes: JoinSet<Option<(FaceStream, SocketAddr)>>,
    oldest_first: VecDeque<AbortHandle>,
}

impl TlsListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(FaceStream, SocketAddr)>> {
        loop {
            match self.handshakes.poll_join_next(cx) {
                Poll::Ready(Some(Ok(Some(accepted)))) => return Poll::Ready(Ok(accepted)),
                // Refused, given up, or none was there.
                Poll::Ready(Some(_)) => continue,
                Poll::Ready(None) | Poll::Pending => {}
            }
            let (tcp, from) = ready!(self.tcp.poll_accept(cx))?;
            let _ = tcp.set_nodelay(true);
            self.make_room();
            let acceptor = self.acceptor.clone();
            let handshake = self
                .handshakes
                .spawn(async move { Some((acceptor.accept(tcp, from).await?, from)) });
            self.oldest_first.push_back(handshake);
        }
    }

    fn make_room(&mut self) {
        // Finished ones pile up behind one that stalls.
        if self.oldest_first.len() >= 2 * HANDSHAKES_MAX {
            self.oldest_first
                .retain(|handshake| !handshake.is_finished());
        }
        while self.handshakes.len() >= HANDSHAKES_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            let was_running = !oldest.is_finished();
            oldest.abort();
            // One for one: an aborted handshake leaves the set only when it is next polled.
            if was_running {
                return;
            }
        }
    }
}
