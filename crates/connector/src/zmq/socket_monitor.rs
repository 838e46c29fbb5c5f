//! Monitor of a socket's connections, by libzmq's events.
//!
//! libzmq connects again by itself, but not after a peer has broken the protocol: by a frame beyond
//! the longest, as a socket of the wrong type, or without speaking ZeroMQ. Then libzmq reports
//! that, or reports that the connection is gone and nothing after it. A socket that connects is
//! useless from then on, so it is closed and another opened. A bound socket goes on with its other
//! peers.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_log::RateLimit;
use quorate_resources::ZmqMethod;
use tracing::warn;
use zmq::{Context, DONTWAIT, Error, PollEvents, PollItem, Socket, SocketEvent, SocketType};

use super::{
    super::broker_link::ConnectorError, endpoint::ZmqEndpoint, frames::BYTES_MAX,
    peer_warnings::PEER_WARNING_INTERVAL,
};

/// Time without an event after which no further try is expected: libzmq's thread that reports a
/// lost connection reports the next try at once. Short, so that a wrong peer is shown for longer
/// than it takes to find that it is still wrong.
const SILENCE: Duration = Duration::from_millis(300);
const ADDRESS: &str = "inproc://monitor";

/// Receiving end of the socket's monitor.
pub(super) struct SocketMonitor {
    events: Socket,
    endpoint: ZmqEndpoint,
    /// Time since which the connection is gone without an event of another try.
    gone: Option<Instant>,
    /// Time since which a socket that connects has no connection.
    away: Option<Instant>,
    warnings: RateLimit,
}

impl SocketMonitor {
    /// Returns a monitor of a socket that is neither bound nor connected yet.
    pub(super) fn new(
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
            warnings: RateLimit::new(PEER_WARNING_INTERVAL),
        })
    }

    /// Returns the item to poll.
    pub(super) fn as_poll_item(&self) -> PollItem<'_> {
        self.events.as_poll_item(PollEvents::POLLIN)
    }

    /// Returns since when a socket that connects has no connection.
    pub(super) fn away(&self) -> Option<Instant> {
        self.away
    }

    /// Returns when to read at the latest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.gone.map(|gone| gone + SILENCE)
    }

    /// Reads the events. An error means that the socket is useless.
    pub(super) fn read(&mut self, now: Instant) -> Result<(), ConnectorError> {
        while let Some(event) = self.next() {
            match event {
                SocketEvent::DISCONNECTED if self.endpoint.method == ZmqMethod::Connect => {
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

    /// Returns the next event. The values and addresses of events don't matter here.
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
        if let Some(left_out) = self.warnings.due("") {
            let address = &self.endpoint.address;
            warn!(
                address,
                left_out,
                "a peer's greeting failed: it is no ZeroMQ socket of the type that goes with this one"
            );
        }
    }
}
