//! Places of the connections to the administration port, and who goes when there is none left.
//!
//! A balancer that gets no answer from `/health/ready` takes the member out, so no number of slow
//! clients may keep it from one:
//!
//! 1. There is no waiting for a place. When all are taken, the connection goes that has waited for
//!    a request's head for the longest time: who means it sends the head at once, who doesn't is a
//!    slow one, or idle between two requests.
//! 2. Requests other than for health have fewer places than connections have; further ones are told
//!    503 at once. So there always is a connection that waits, or that asks for health and is done
//!    in a moment.
//! 3. Connections of one other host have half of the places, and among these the same rule.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Requests at a time, but for those for health. Enough for a few balancers, scrapers and people.
const REQUESTS_MAX: usize = 512;
/// Connections at a time.
const CONNECTIONS_MAX: usize = REQUESTS_MAX + 128;
/// Connections of one other host.
const OF_ONE_HOST_MAX: usize = CONNECTIONS_MAX / 2;

/// Connections and requests of the port. Cheap to clone.
#[derive(Clone)]
pub(super) struct ConnectionTable {
    entries: Arc<Mutex<ConnectionEntries>>,
    requests: Arc<Semaphore>,
}

#[derive(Default)]
struct ConnectionEntries {
    last: u64,
    /// Open connections by their host.
    open: BTreeMap<IpAddr, usize>,
    all: usize,
    /// Connections without a request, in the order in which they began to wait.
    waiting: BTreeMap<u64, WaitingConnection>,
}

struct WaitingConnection {
    host: IpAddr,
    closing: CancellationToken,
}

impl ConnectionEntries {
    fn begin_waiting(&mut self, host: IpAddr, closing: &CancellationToken) -> u64 {
        self.last += 1;
        let closing = closing.clone();
        self.waiting
            .insert(self.last, WaitingConnection { host, closing });
        self.last
    }

    /// Closes the connection that has waited longest, of this host or of all. Its place is free at
    /// once. Returns false if none waits.
    fn evict(&mut self, of: Option<IpAddr>) -> bool {
        let longest = self
            .waiting
            .iter()
            .find(|(_, it)| of.is_none_or(|of| it.host == of));
        let Some(turn) = longest.map(|(turn, _)| *turn) else {
            return false;
        };
        if let Some(gone) = self.waiting.remove(&turn) {
            gone.closing.cancel();
            self.forget(gone.host);
        }
        true
    }

    fn forget(&mut self, host: IpAddr) {
        self.all -= 1;
        if let Some(open) = self.open.get_mut(&host) {
            *open -= 1;
            if *open == 0 {
                self.open.remove(&host);
            }
        }
    }
}

impl ConnectionTable {
    /// Returns a table without connections.
    pub(super) fn new() -> ConnectionTable {
        ConnectionTable {
            entries: Arc::default(),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
        }
    }

    /// Takes a connection of this host in. `None`: there is no place, and it has to be closed.
    pub(super) fn admit(&self, host: IpAddr) -> Option<Arc<ConnectionPlace>> {
        let host = host.to_canonical();
        let mut entries = self.entries.lock();
        let of_host = entries.open.get(&host).copied().unwrap_or_default();
        if !host.is_loopback() && of_host >= OF_ONE_HOST_MAX && !entries.evict(Some(host)) {
            return None;
        }
        if entries.all >= CONNECTIONS_MAX && !entries.evict(None) {
            return None;
        }
        entries.all += 1;
        *entries.open.entry(host).or_default() += 1;
        let closing = CancellationToken::new();
        let turn = entries.begin_waiting(host, &closing);
        Some(Arc::new(ConnectionPlace {
            host,
            closing,
            entries: self.entries.clone(),
            state: Mutex::new(PlaceState::Waiting(turn)),
        }))
    }

    /// Returns a place for a request; `None`: there is none.
    pub(super) fn begin_request(&self) -> Option<OwnedSemaphorePermit> {
        self.requests.clone().try_acquire_owned().ok()
    }
}

/// Place of one connection, given back when it is dropped.
pub(super) struct ConnectionPlace {
    host: IpAddr,
    closing: CancellationToken,
    entries: Arc<Mutex<ConnectionEntries>>,
    state: Mutex<PlaceState>,
}

#[derive(Clone, Copy)]
enum PlaceState {
    /// In the table under this number, unless it was evicted.
    Waiting(u64),
    /// With so many requests.
    Busy(usize),
    /// Its place is another's. It may have got a request at that moment.
    Evicted,
}

impl ConnectionPlace {
    /// Returns the address at the other end.
    pub(super) fn host(&self) -> IpAddr {
        self.host
    }

    /// Waits until the connection has to be closed. Cancel safe.
    pub(super) async fn evicted(&self) {
        self.closing.cancelled().await;
    }

    /// Takes note that a request has come, until the value is dropped.
    pub(super) fn begin_request(self: &Arc<Self>) -> BusyConnection {
        let mut state = self.state.lock();
        *state = match *state {
            PlaceState::Waiting(turn) => match self.entries.lock().waiting.remove(&turn) {
                Some(_) => PlaceState::Busy(1),
                None => PlaceState::Evicted,
            },
            PlaceState::Busy(requests) => PlaceState::Busy(requests + 1),
            PlaceState::Evicted => PlaceState::Evicted,
        };
        BusyConnection(self.clone())
    }

    fn end_request(&self) {
        let mut state = self.state.lock();
        *state = match *state {
            PlaceState::Busy(1) => {
                let mut entries = self.entries.lock();
                PlaceState::Waiting(entries.begin_waiting(self.host, &self.closing))
            }
            PlaceState::Busy(requests) => PlaceState::Busy(requests.saturating_sub(1)),
            // It has none to end.
            state @ (PlaceState::Waiting(_) | PlaceState::Evicted) => state,
        };
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let state = *self.state.lock();
        let mut entries = self.entries.lock();
        // What was evicted is forgotten already.
        if let PlaceState::Waiting(turn) = state
            && entries.waiting.remove(&turn).is_some()
        {
            entries.forget(self.host);
        }
    }
}

/// A request of a connection.
pub(super) struct BusyConnection(Arc<ConnectionPlace>);

impl Drop for BusyConnection {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

/// Body of an answer that keeps the places of its request until it has been taken.
pub(super) struct HeldBody {
    body: Body,
    _held: (BusyConnection, Option<OwnedSemaphorePermit>),
}

impl HeldBody {
    /// Wraps a body.
    pub(super) fn wrap(
        body: Body,
        connection: BusyConnection,
        request: Option<OwnedSemaphorePermit>,
    ) -> Body {
        Body::new(HeldBody {
            body,
            _held: (connection, request),
        })
    }
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn other(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    fn is_evicted(place: &ConnectionPlace) -> bool {
        place.closing.is_cancelled()
    }

    #[test]
    fn longest_waiting_connection_makes_room() {
        let table = ConnectionTable::new();
        let admit = |_| table.admit(HERE).unwrap();
        let mut all: Vec<_> = (0..CONNECTIONS_MAX).map(admit).collect();
        let busy = all[0].begin_request();
        let newest = table.admit(HERE).unwrap();
        assert!(!is_evicted(&all[0]) && is_evicted(&all[1]) && !is_evicted(&all[2]));
        // Once its request is over it waits again, behind the others.
        drop(busy);
        let _next = table.admit(HERE).unwrap();
        assert!(!is_evicted(&all[0]) && is_evicted(&all[2]));
        // What ends by itself frees its place, and what was evicted frees none twice.
        all.truncate(3);
        drop((all, newest));
        let left = table.entries.lock();
        assert_eq!((left.all, left.waiting.len()), (1, 1));
    }

    #[test]
    fn busy_connections_are_never_evicted() {
        let table = ConnectionTable::new();
        let all: Vec<_> = (0..CONNECTIONS_MAX)
            .map(|_| table.admit(HERE).unwrap())
            .collect();
        let busy: Vec<_> = all.iter().map(ConnectionPlace::begin_request).collect();
        assert!(table.admit(HERE).is_none());
        drop(busy);
        assert!(table.admit(HERE).is_some());
        drop(all);
        assert_eq!(table.entries.lock().all, 0);
    }

    #[test]
    fn request_on_evicted_connection_frees_no_place() {
        let table = ConnectionTable::new();
        let place = table.admit(HERE).unwrap();
        assert!(table.entries.lock().evict(None));
        drop(place.begin_request());
        drop(place);
        assert_eq!(table.entries.lock().all, 0);
    }

    #[test]
    fn one_host_leaves_places_to_others() {
        let table = ConnectionTable::new();
        let greedy: Vec<_> = (0..OF_ONE_HOST_MAX)
            .map(|_| table.admit(other(1)).unwrap())
            .collect();
        let modest = table.admit(other(2)).unwrap();
        let _more = table.admit(other(1)).unwrap();
        assert!(is_evicted(&greedy[0]) && !is_evicted(&modest));
        let busy: Vec<_> = greedy.iter().map(ConnectionPlace::begin_request).collect();
        assert!(table.admit(other(1)).is_some(), "the one that waits goes");
        assert!(table.admit(other(2)).is_some());
        drop(busy);
    }

    #[test]
    fn requests_have_fewer_places_than_connections() {
        let table = ConnectionTable::new();
        let held: Vec<_> = std::iter::from_fn(|| table.begin_request()).collect();
        assert_eq!(held.len(), REQUESTS_MAX);
        drop(held);
        assert!(table.begin_request().is_some());
        const { assert!(REQUESTS_MAX < CONNECTIONS_MAX) };
    }
}
