//! Limits of the services' listener for its clients.

use std::time::Duration;

use quorate_platform::ip_network::IpNetwork;

use super::transfer_pace::TransferPace;

/// Bounds on connections, requests and waits. Bodies are bounded by each HTTP channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Connections at a time; further ones get 503. At most half of them may be WebSockets, which
    /// last for as long as their clients like.
    pub connections_max: usize,
    /// Bytes of the request line and the headers together; more gets 431.
    pub head_bytes_max: usize,
    /// Time from the first byte of a request to the end of its headers; longer gets 408. A new
    /// connection that sends nothing for so long is closed.
    pub head_wait: Duration,
    /// Time for which a client that sends a body may send nothing; longer gets 408. For ten times
    /// as long it may send, or take, less than 512 bytes a second.
    pub body_wait: Duration,
    /// Memory for the bodies of all requests that are read whole. The longest body that a channel
    /// may take has just room.
    pub bodies_bytes_max: usize,
    /// Time for which a connection may be idle between requests. Longer than the balancer keeps
    /// idle connections, so that it is the balancer that closes them: a request sent into a closing
    /// connection may be lost.
    pub idle_wait: Duration,
    /// Proxies that may name the client: see [`super::forwarded`].
    pub trusted_proxies: Vec<IpNetwork>,
    /// Proxies that may show their clients' certificates, by which these are let in.
    pub certificate_proxies: Vec<IpNetwork>,
    /// Time after the order to stop for which idle connections are kept for a request that may be
    /// on its way.
    pub linger: Duration,
    /// Time after the order to stop at which the rest is cut off.
    pub grace: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        ClientLimits {
            connections_max: 8192,
            head_bytes_max: 32 << 10,
            head_wait: Duration::from_secs(10),
            body_wait: Duration::from_secs(30),
            bodies_bytes_max: 1 << 30,
            idle_wait: Duration::from_secs(75),
            trusted_proxies: loopback(),
            certificate_proxies: Vec::new(),
            linger: Duration::from_millis(500),
            grace: Duration::from_secs(5),
        }
    }
}

impl ClientLimits {
    /// Returns the slowest pace at which a client may send a body.
    pub(super) fn sending(&self) -> TransferPace {
        TransferPace::new(self.body_wait, self.body_wait * SLOW)
    }

    /// Returns the slowest pace at which a client may take an answer.
    pub(super) fn taking(&self) -> TransferPace {
        TransferPace::new(self.idle_wait, self.body_wait * SLOW)
    }

    pub(super) fn websockets_max(&self) -> usize {
        (self.connections_max / 2).max(1)
    }
}

/// Factor by which the time for a slow client exceeds that for a silent one.
const SLOW: u32 = 10;

/// Returns this host's addresses: a balancer that runs beside the member.
fn loopback() -> Vec<IpNetwork> {
    let networks = ["127.0.0.0/8", "::1"].map(|text| text.parse());
    networks.into_iter().flatten().collect()
}

/// Most headers of a request. The balancer adds some of its own to the hundred that clients may
/// count on.
pub(super) const HEADERS_MAX: usize = 128;
