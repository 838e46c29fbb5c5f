//! What libzmq tells of a socket's connections.
//!
//! libzmq connects again by itself, but not after a peer has broken the protocol: it sent a
//! frame beyond the longest, or is a socket of the wrong type, or doesn't speak ZeroMQ. Then
//! it says so, or says that the connection is gone and nothing after it. A socket that
//! connects is of no use from then on, so it is closed and another opened. One that is bound
//! goes on with its other peers.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_log::RateLimit;
use tracing::warn;
use zmq::{Context, DONTWAIT, Error, PollEvents, PollItem, Socket, SocketEvent, SocketType};

use super::{
    super::broker_link::ConnectorError,
    PEER_WARNING_INTERVAL,
    frames::BYTES_MAX,
    socket::{ConnectMethod, ZmqEndpoint},
};

/// That a lost connection will be tried again is said at once, by the thread that said that
/// it is lost; after so long it has not been said. Short, so that a wrong peer is shown for
/// longer than it takes to find that it is still wrong.
const SILENCE: Duration = Duration::from_millis(300);
const ADDRESS: &str = "inproc://monitor";

/// The other end of the socket's monitor.
pub struct SocketMonitor {
    events: Socket,
    endpoint: ZmqEndpoint,
    /// Since when the connection is gone and nothing was said of another try.
    gone: Option<Instant>,
    /// Since when there is no connection; of a socket that connects.
    away: Option<Instant>,
    complaints: RateLimit,
}

impl SocketMonitor {
    /// Of a socket that is neither bound nor connected yet.
    pub fn new(
        context: &Context,
        socket: &Socket,
        endpoint: ZmqEndpoint,
    ) -> Result<SocketMonitor, Error> {
        let events = SocketEvent::CONNECTED.to_raw()
            | SocketEvent::CONNECT_DELAYED.to_raw()
            | SocketEvent::CONNECT_RETRIED.to_raw()
            | SocketEvent::DISCONNECTED.to_raw()
            | SocketEvent::HANDSHAKE_FAILED_NO_DETAIL.to_raw()
            | SocketEvent::HANDSHAKE_FAILED_PROTOCOL.to_raw()
            | SocketEvent::HANDSHAKE_FAILED_AUTH.to_raw();
        socket.monitor(ADDRESS, events.into())?;
        let events = context.socket(SocketType::PAIR)?;
        events.connect(ADDRESS)?;
        Ok(SocketMonitor {
            events,
            endpoint,
            gone: None,
            away: Some(Instant::now()),
            complaints: RateLimit::new(PEER_WARNING_INTERVAL),
        })
    }

    /// What to poll.
    pub fn as_poll_item(&self) -> PollItem<'_> {
        self.events.as_poll_item(PollEvents::POLLIN)
    }

    /// Since when a socket that connects has no connection.
    pub fn away(&self) -> Option<Instant> {
        self.away
    }

    /// When to read at the latest.
    pub fn due(&self) -> Option<Instant> {
        self.gone.map(|gone| gone + SILENCE)
    }

    /// Takes what was said. An error: the socket is of no use any more.
    pub fn read(&mut self, now: Instant) -> Result<(), ConnectorError> {
        while let Some(event) = self.next() {
            match event {
                SocketEvent::DISCONNECTED if self.endpoint.method == ConnectMethod::Connect => {
                    self.gone = Some(now);
                    self.away.get_or_insert(now);
                }
                SocketEvent::CONNECTED => (self.gone, self.away) = (None, None),
                SocketEvent::CONNECT_DELAYED | SocketEvent::CONNECT_RETRIED => self.gone = None,
                SocketEvent::HANDSHAKE_FAILED_NO_DETAIL
                | SocketEvent::HANDSHAKE_FAILED_PROTOCOL
                | SocketEvent::HANDSHAKE_FAILED_AUTH => self.refused(),
                _ => {}
            }
        }
        if self.due().is_some_and(|due| due <= now) {
            return Err(ConnectorError::new(format!(
                "the peer at {} broke ZeroMQ's protocol: it must be a ZeroMQ socket of the type that goes with this one, and send no frame beyond {} MiB; a new connection is tried",
                self.endpoint.address,
                BYTES_MAX >> 20
            )));
        }
        Ok(())
    }

    /// The next event. Their values and addresses don't matter here.
    fn next(&self) -> Option<SocketEvent> {
        loop {
            let event = match self.events.recv_bytes(DONTWAIT) {
                Ok(event) => event,
                Err(Error::EINTR) => continue,
                Err(_) => return None,
            };
            while self.events.get_rcvmore() == Ok(true) {
                let _ = self.events.recv_bytes(DONTWAIT);
            }
            if let [low, high, ..] = event[..] {
                return Some(SocketEvent::from_raw(u16::from_le_bytes([low, high])));
            }
        }
    }

    fn refused(&mut self) {
        if let Some(left_out) = self.complaints.due("") {
            let address = &self.endpoint.address;
            warn!(
                address,
                left_out,
                "a peer's greeting failed: it is no ZeroMQ socket of the type that goes with this one"
            );
        }
    }
}
