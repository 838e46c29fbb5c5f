//! Locator of the host that a socket connects to: the first of its addresses that answers.
//!
//! libzmq looks a name up each time that it connects, and takes the first address of one family,
//! whatever becomes of it: one that swallows everything holds it for two minutes, and then again.
//! So libzmq is given addresses instead of names. A name with one address stands for that; of
//! several, the first that takes a connection is used. While the connection is away the name is
//! looked up again and again, on a thread of its own, since that may take its time. So it is known
//! of each address, before libzmq has it, that this host allows it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_ipc::connector_sandbox;
use quorate_log::RateLimit;
use tracing::warn;

use super::{
    super::{
        broker_link::ConnectorError,
        dial::{allowed, locate, lookup, waited_for},
    },
    peer_warnings::PEER_WARNING_INTERVAL,
    waker::ThreadWaker,
};

/// Time without a connection after which the other addresses are tried, and the interval of further
/// searches. libzmq tries the last address in the meantime.
const AWAY: Duration = Duration::from_secs(2);

type HostSearch = Arc<Mutex<Option<io::Result<SocketAddr>>>>;

/// Locator of the host of one socket.
pub(super) struct HostLocator {
    host: String,
    port: u16,
    /// Address found last.
    at: Option<SocketAddr>,
    /// Time of the last search.
    looked: Option<Instant>,
    /// Search that is under way.
    search: Option<HostSearch>,
    warnings: RateLimit,
    /// True once names can't be looked up any more in this process.
    pub(super) is_outdated: bool,
}

impl HostLocator {
    /// Returns a locator for a host and port to connect to; `None` where an address is given that
    /// libzmq takes as it is.
    pub(super) fn new(host: &str, port: &str) -> io::Result<Option<HostLocator>> {
        let Ok(port) = port.parse() else {
            return Ok(None);
        };
        if let Ok(literal) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            allowed(SocketAddr::new(literal, port))?;
        }
        if host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok() {
            return Ok(None);
        }
        let addresses = waited_for(lookup(host, port))?;
        let at = match addresses[..] {
            [only] => Some(allowed(only)?),
            _ => None,
        };
        Ok(Some(HostLocator {
            host: host.to_owned(),
            port,
            at,
            looked: at.map(|_| Instant::now()),
            search: None,
            warnings: RateLimit::new(PEER_WARNING_INTERVAL),
            is_outdated: false,
        }))
    }

    /// Returns the address found last; `None`: none yet.
    pub(super) fn at(&self) -> Option<SocketAddr> {
        self.at
    }

    /// Notes that the socket is connected to another address from now on; returns the former.
    pub(super) fn moved(&mut self, to: SocketAddr) -> Option<SocketAddr> {
        self.at.replace(to)
    }

    /// Returns when to search next, if the connection has been away `since` then.
    pub(super) fn due(&self, since: Instant) -> Option<Instant> {
        match (&self.search, self.looked) {
            (Some(_), _) => None,
            (None, Some(looked)) => Some(looked.max(since) + AWAY),
            (None, None) => Some(since),
        }
    }

    /// Starts a search, if it is time to; the waker wakes the thread once an address can be
    /// [`found`](Self::found).
    pub(super) fn look(
        &mut self,
        since: Instant,
        now: Instant,
        waker: &Arc<ThreadWaker>,
    ) -> Result<(), ConnectorError> {
        if self.due(since).is_none_or(|due| due > now) {
            return Ok(());
        }
        let (host, port, waker) = (self.host.clone(), self.port, waker.clone());
        let found = HostSearch::default();
        self.search = Some(found.clone());
        let looking = move || {
            *found.lock() = Some(waited_for(locate(&host, port)));
            waker.wake();
        };
        let thread = thread::Builder::new().name("zmq-lookup".to_owned());
        thread.spawn(looking).map(drop).map_err(|error| {
            ConnectorError::new(format!(
                "can't start the thread that looks a name up: {error}"
            ))
        })
    }

    /// Returns another address than the last, if one was found since the last call.
    pub(super) fn found(&mut self, now: Instant) -> Option<SocketAddr> {
        let found = self.search.as_ref()?.lock().take()?;
        (self.search, self.looked) = (None, Some(now));
        match found {
            Ok(address) => Some(address).filter(|it| self.at != Some(*it)),
            Err(error) => {
                self.is_outdated = connector_sandbox::is_outdated();
                if let Some(left_out) = self.warnings.due("") {
                    let (host, port) = (&self.host, self.port);
                    warn!(host, port, %error, left_out, "no address of the host can be connected to");
                }
                None
            }
        }
    }
}
