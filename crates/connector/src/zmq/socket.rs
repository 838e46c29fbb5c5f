//! Socket in a context of its own, made and used by one thread.
//!
//! The context is the socket's alone, so that its end is the end of everything: once it has been
//! dropped, all outgoing messages are out or given up, and a bound address is free again.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use quorate_clock::Instant;
use quorate_resources::ZmqMethod;
use zmq::{Context, DONTWAIT, Error, PollEvents, PollItem, SNDMORE, SocketType};

use super::{
    super::{broker_link::ConnectorError, run_loop::OUTDATED},
    endpoint::ZmqEndpoint,
    frames::{BYTES_MAX, FRAMES_MAX},
    host_locator::HostLocator,
    socket_monitor::SocketMonitor,
    waker::ThreadWaker,
};

/// Time for sent messages to leave when the socket is closed.
pub(super) const LINGER: Duration = Duration::from_secs(1);
/// Time after which a peer that connects and doesn't greet is dropped.
const GREETING: Duration = Duration::from_secs(5);
/// First pause between two tries to connect.
const RECONNECT_FIRST: Duration = Duration::from_millis(50);
const RECONNECT_LAST: Duration = Duration::from_secs(1);
/// Keepalive: a host that has vanished is noticed after `IDLE + COUNT * INTERVAL` seconds.
const KEEPALIVE_IDLE_S: i32 = 3;
const KEEPALIVE_INTERVAL_S: i32 = 1;
const KEEPALIVE_COUNT: i32 = 3;

pub(super) struct ReceivedFrames {
    /// All frames, or the first ones.
    pub frames: Vec<Bytes>,
    /// True if these are all.
    pub whole: bool,
}

/// Result of an attempt to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SocketSendResult {
    /// libzmq has it.
    Taken,
    /// There is no room, or no peer to send to.
    Full,
    /// The addressed peer is not there.
    NoPeer,
}

/// Open socket. Dropping it takes [`LINGER`] at most.
pub(super) struct ZmqSocket {
    socket: zmq::Socket,
    monitor: SocketMonitor,
    endpoint: ZmqEndpoint,
    /// Locator of a socket that connects to a name.
    locator: Option<HostLocator>,
}

impl ZmqSocket {
    /// Opens a socket; `set` sets the options that not all sockets have.
    pub(super) fn open(
        kind: SocketType,
        endpoint: ZmqEndpoint,
        set: impl FnOnce(&zmq::Socket) -> Result<(), Error>,
    ) -> Result<ZmqSocket, ConnectorError> {
        let context = Context::new();
        let failed = |error: Error| {
            ConnectorError::new(format!(
                "libzmq can't make a {kind:?} socket: {}",
                error.message()
            ))
        };
        let socket = context.socket(kind).map_err(failed)?;
        common(&socket).map_err(failed)?;
        set(&socket).map_err(failed)?;
        let monitor = SocketMonitor::new(&context, &socket, endpoint.clone()).map_err(failed)?;
        endpoint.folder()?;
        let locator = endpoint.locator()?;
        let ZmqEndpoint { address, method } = &endpoint;
        let result = match (method, locator.as_ref().map(HostLocator::at)) {
            (ZmqMethod::Bind, _) => as_given(&socket, address, zmq::Socket::bind),
            (ZmqMethod::Connect, None) => as_given(&socket, address, zmq::Socket::connect),
            (ZmqMethod::Connect, Some(Some(only))) => connect(&socket, only),
            // Once one of the addresses has answered.
            (ZmqMethod::Connect, Some(None)) => Ok(()),
        };
        result.map_err(|error| endpoint.explain(error))?;
        Ok(ZmqSocket {
            socket,
            monitor,
            endpoint,
            locator,
        })
    }

    /// Waits until the waker wakes the thread or the socket is ready for one of `events`. An error
    /// ends the socket.
    pub(super) fn wait(
        &mut self,
        waker: &Arc<ThreadWaker>,
        events: PollEvents,
    ) -> Result<(), ConnectorError> {
        self.follow(waker)?;
        // An item without events still takes part: libzmq's own commands are processed.
        let mut items = [
            PollItem::from_fd(waker.descriptor(), PollEvents::POLLIN),
            self.socket.as_poll_item(events),
            self.monitor.as_poll_item(),
        ];
        let away = self.monitor.away();
        let look = away.and_then(|since| self.locator.as_ref()?.due(since));
        let due = [self.monitor.due(), look].into_iter().flatten().min();
        let timeout = due.map_or(-1, |due| {
            let left = due.saturating_duration_since(Instant::now());
            i64::try_from(left.as_millis())
                .unwrap_or(i64::MAX)
                .saturating_add(1)
        });
        match zmq::poll(&mut items, timeout) {
            Ok(_) | Err(Error::EINTR) => {}
            Err(error) => return Err(self.broken(error)),
        }
        waker.reset();
        self.monitor.read(Instant::now())
    }

    /// Connects to the address where the host was found, and searches for it while the connection
    /// is away.
    fn follow(&mut self, waker: &Arc<ThreadWaker>) -> Result<(), ConnectorError> {
        let Some(locator) = &mut self.locator else {
            return Ok(());
        };
        let (now, away) = (Instant::now(), self.monitor.away());
        // Messages that came by the connection that is given up are taken first: they would be
        // lost.
        let is_read = !self
            .socket
            .get_events()
            .is_ok_and(|it| it.contains(PollEvents::POLLIN));
        let found = locator.found(now);
        if locator.is_outdated && away.is_some() && is_read {
            return Err(ConnectorError::transient(OUTDATED));
        }
        if let Some(found) = found.filter(|_| away.is_some() && is_read) {
            if let Some(former) = locator.moved(found) {
                // This fails where libzmq has given the connection up itself.
                let _ = self.socket.disconnect(&uri(former));
            }
            connect(&self.socket, found).map_err(|error| self.endpoint.explain(error))?;
        }
        match away {
            Some(since) => locator.look(since, now, waker),
            None => Ok(()),
        }
    }

    /// Returns true if something can be sent now.
    pub(super) fn has_room(&self) -> Result<bool, ConnectorError> {
        let events = self
            .socket
            .get_events()
            .map_err(|error| self.broken(error))?;
        Ok(events.contains(PollEvents::POLLOUT))
    }

    /// Returns the next message, if there is one. Of a message that is too long, the rest is thrown
    /// away.
    pub(super) fn receive(&self) -> Result<Option<ReceivedFrames>, ConnectorError> {
        let mut received = ReceivedFrames {
            frames: Vec::new(),
            whole: true,
        };
        let mut bytes = 0;
        loop {
            let frame = match self.socket.recv_bytes(DONTWAIT) {
                Ok(frame) => frame,
                Err(Error::EAGAIN) if received.frames.is_empty() => return Ok(None),
                Err(Error::EINTR) => continue,
                Err(error) => return Err(self.broken(error)),
            };
            bytes += frame.len();
            if bytes > BYTES_MAX || received.frames.len() >= FRAMES_MAX {
                received.whole = false;
            } else {
                received.frames.push(frame.into());
            }
            if !self
                .socket
                .get_rcvmore()
                .map_err(|error| self.broken(error))?
            {
                return Ok(Some(received));
            }
        }
    }

    /// Sends a message as a whole or not at all.
    pub(super) fn send(&self, frames: &[Bytes]) -> Result<SocketSendResult, ConnectorError> {
        for (n, frame) in frames.iter().enumerate() {
            let more = if n + 1 < frames.len() { SNDMORE } else { 0 };
            loop {
                match self.socket.send(&frame[..], DONTWAIT | more) {
                    Ok(()) => break,
                    // libzmq decides at the first frame whether it takes the message.
                    Err(Error::EAGAIN) if n == 0 => return Ok(SocketSendResult::Full),
                    Err(Error::EHOSTUNREACH) if n == 0 => return Ok(SocketSendResult::NoPeer),
                    Err(Error::EINTR) => {}
                    Err(error) => return Err(self.broken(error)),
                }
            }
        }
        Ok(SocketSendResult::Taken)
    }

    fn broken(&self, error: Error) -> ConnectorError {
        ConnectorError::new(format!(
            "the socket at {} is of no use any more: {}; another is opened",
            self.endpoint.address,
            error.message()
        ))
    }
}

fn common(socket: &zmq::Socket) -> Result<(), Error> {
    let ms = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    socket.set_linger(ms(LINGER))?;
    socket.set_maxmsgsize(BYTES_MAX as i64)?;
    socket.set_handshake_ivl(ms(GREETING))?;
    socket.set_reconnect_ivl(ms(RECONNECT_FIRST))?;
    socket.set_reconnect_ivl_max(ms(RECONNECT_LAST))?;
    // Not ZeroMQ's own heartbeats: peers older than 4.2 don't answer them.
    socket.set_tcp_keepalive(1)?;
    socket.set_tcp_keepalive_idle(KEEPALIVE_IDLE_S)?;
    socket.set_tcp_keepalive_intvl(KEEPALIVE_INTERVAL_S)?;
    socket.set_tcp_keepalive_cnt(KEEPALIVE_COUNT)
}

/// Binds or connects with an address in libzmq's form. Of tcp, libzmq takes IPv6 addresses only
/// where that is allowed.
fn as_given(
    socket: &zmq::Socket,
    address: &str,
    begin: fn(&zmq::Socket, &str) -> Result<(), Error>,
) -> Result<(), Error> {
    socket.set_ipv6(address.starts_with("tcp://["))?;
    begin(socket, address)
}

fn connect(socket: &zmq::Socket, address: SocketAddr) -> Result<(), Error> {
    as_given(socket, &uri(address), zmq::Socket::connect)
}

fn uri(address: SocketAddr) -> String {
    format!("tcp://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(address: &str) -> Result<ZmqSocket, ConnectorError> {
        let endpoint = ZmqEndpoint {
            address: address.to_owned(),
            method: ZmqMethod::Bind,
        };
        ZmqSocket::open(SocketType::PULL, endpoint, |_| Ok(()))
    }

    #[test]
    fn bound_address_is_free_after_drop() {
        let first = bind("tcp://127.0.0.1:*").unwrap();
        let address = first.socket.get_last_endpoint().unwrap().unwrap();
        let refused = bind(&address).err().unwrap();
        assert!(refused.transient, "{refused:?}");
        assert!(
            refused.text.contains("another process has tcp://"),
            "{refused:?}"
        );
        drop(first);
        bind(&address).unwrap();
    }

    fn connect(address: &str) -> Result<ZmqSocket, ConnectorError> {
        let endpoint = ZmqEndpoint {
            address: address.to_owned(),
            method: ZmqMethod::Connect,
        };
        ZmqSocket::open(SocketType::PULL, endpoint, |_| Ok(()))
    }

    #[test]
    fn a_name_without_any_address_is_explained() {
        let unknown = connect("tcp://no.such.host.invalid:7").err().unwrap();
        let told = &unknown.text;
        assert!(
            told.contains("\"no.such.host.invalid\" has no address"),
            "{told}"
        );
    }

    #[test]
    fn a_bad_address_is_explained() {
        for (address, right) in [
            ("tcp://127.0.0.1", "must be tcp://HOST:PORT"),
            ("pigeon://x", "must be tcp://HOST:PORT"),
            ("tcp://192.0.2.1:7", "must be one of this host's"),
            ("tcp://no.such.host.invalid:7", "must be one of this host's"),
            ("ipc:///nowhere/at/all", "there is no folder /nowhere/at"),
            (&format!("ipc:///{}", "x".repeat(200)), "at most 107 bytes"),
        ] {
            let error = bind(address).err().unwrap();
            assert!(!error.transient && error.text.contains(right), "{error:?}");
        }
    }
}
