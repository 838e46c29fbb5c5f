//! Where the host is that a socket connects to: the first of its addresses that answers.
//!
//! libzmq looks a name up each time that it connects, and takes the first address of one
//! family, whatever becomes of it: one that swallows everything holds it for two minutes, and
//! then again. So it is given addresses instead of names. Where a name has one, that is it;
//! where it has several, the first that takes a connection. While the connection is away the
//! name is looked up again and again, on a thread of its own, since that may take its time.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_log::RateLimit;
use tokio::runtime;
use tracing::warn;

use super::{
    super::{
        broker_link::ConnectorError,
        dial::{locate, lookup},
    },
    PEER_WARNING_INTERVAL,
    waker::ThreadWaker,
};

/// A connection that has been away for so long is sought at the other addresses, and then at
/// such intervals. libzmq tries the last address meanwhile.
const AWAY: Duration = Duration::from_secs(2);

type HostSearch = Arc<Mutex<Option<io::Result<SocketAddr>>>>;

/// Looks for the host of one socket.
pub struct HostLocator {
    host: String,
    port: u16,
    /// Where it was found last.
    at: Option<SocketAddr>,
    /// When it was looked for last.
    looked: Option<Instant>,
    /// There while it is looked for.
    search: Option<HostSearch>,
    warnings: RateLimit,
}

impl HostLocator {
    /// For a host and port to connect to; `None` where an address is given that libzmq takes as
    /// it is.
    pub fn new(host: &str, port: &str) -> Result<Option<HostLocator>, String> {
        let is_literal = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
        let Some(port) = port.parse().ok().filter(|_| !is_literal) else {
            return Ok(None);
        };
        let addresses = waited_for(lookup(host, port)).map_err(|error| error.to_string())?;
        let at = match addresses[..] {
            [only] => Some(only),
            _ => None,
        };
        Ok(Some(HostLocator {
            host: host.to_owned(),
            port,
            at,
            looked: at.map(|_| Instant::now()),
            search: None,
            warnings: RateLimit::new(PEER_WARNING_INTERVAL),
        }))
    }

    /// Where the host was found last; `None`: not yet.
    pub fn at(&self) -> Option<SocketAddr> {
        self.at
    }

    /// Takes in that the socket is connected to another address from now on; returns the former.
    pub fn moved(&mut self, to: SocketAddr) -> Option<SocketAddr> {
        self.at.replace(to)
    }

    /// When to look next, if the connection has been away `since` then.
    pub fn due(&self, since: Instant) -> Option<Instant> {
        match (&self.search, self.looked) {
            (Some(_), _) => None,
            (None, Some(looked)) => Some(looked.max(since) + AWAY),
            (None, None) => Some(since),
        }
    }

    /// Looks, if it is time to; the bell rings once there is something to be [`found`](Self::found).
    pub fn look(
        &mut self,
        since: Instant,
        now: Instant,
        bell: &Arc<ThreadWaker>,
    ) -> Result<(), ConnectorError> {
        if self.due(since).is_none_or(|due| due > now) {
            return Ok(());
        }
        let (host, port, bell) = (self.host.clone(), self.port, bell.clone());
        let found = HostSearch::default();
        self.search = Some(found.clone());
        let looking = move || {
            *found.lock() = Some(waited_for(locate(&host, port)));
            bell.wake();
        };
        let thread = thread::Builder::new().name("zmq-lookup".to_owned());
        thread.spawn(looking).map(drop).map_err(|error| {
            ConnectorError::new(format!(
                "can't start the thread that looks a name up: {error}"
            ))
        })
    }

    /// Another address than the last, when one was found since this was asked before.
    pub fn found(&mut self, now: Instant) -> Option<SocketAddr> {
        let found = self.search.as_ref()?.lock().take()?;
        (self.search, self.looked) = (None, Some(now));
        match found {
            Ok(address) => Some(address).filter(|it| self.at != Some(*it)),
            Err(error) => {
                if let Some(left_out) = self.warnings.due("") {
                    let (host, port) = (&self.host, self.port);
                    warn!(host, port, %error, left_out, "no address of the host can be connected to");
                }
                None
            }
        }
    }
}

fn waited_for<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(work);
    // A question to a name server may go on beyond the time that it was given.
    runtime.shutdown_background();
    done
}
