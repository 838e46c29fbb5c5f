//! The service that the connectors call: notes when each message came, and under which
//! epoch.

use std::{
    collections::{BTreeMap, HashSet},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode};
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_testkit::{eventually::within, http};

/// One channel's messages under one epoch.
#[derive(Clone, Copy, Debug)]
pub struct Reign {
    pub first: Instant,
    pub last: Instant,
}

#[derive(Default)]
struct Seen {
    reigns: BTreeMap<(String, u64), Reign>,
    bodies: HashSet<Bytes>,
    duplicates: usize,
    newest: u64,
    stale: usize,
}

/// Answers 200 at once.
#[derive(Clone)]
pub struct Service {
    seen: Arc<Mutex<Seen>>,
    address: SocketAddr,
}

impl Service {
    /// Listens on a free port of this address.
    pub async fn start(address: Ipv4Addr) -> Service {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let app = Router::new().fallback(handle).with_state(seen.clone());
        let address = http::serve(address, app).await;
        Service { seen, address }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Forgets what was; called before each trial.
    pub fn forget(&self) {
        *self.seen.lock() = Seen::default();
    }

    /// The first reign of a channel that is later than `epoch`.
    pub fn later(&self, channel: &str, epoch: u64) -> Option<(u64, Reign)> {
        let seen = self.seen.lock();
        let from = (channel.to_owned(), epoch + 1);
        let reigns = seen.reigns.range(from..=(channel.to_owned(), u64::MAX));
        reigns.map(|((_, epoch), reign)| (*epoch, *reign)).next()
    }

    /// A channel's messages under an epoch.
    pub fn reign(&self, channel: &str, epoch: u64) -> Option<Reign> {
        self.seen
            .lock()
            .reigns
            .get(&(channel.to_owned(), epoch))
            .copied()
    }

    /// Waits until each channel has handled something under a later epoch than this.
    pub async fn all_later(
        &self,
        channels: &[String],
        epoch: u64,
        limit: Duration,
    ) -> Result<(), String> {
        let all = within("messages under a new epoch", limit, || async {
            let waiting = channels
                .iter()
                .filter(|name| self.later(name, epoch).is_none());
            match waiting.count() {
                0 => Ok(()),
                left => Err(format!("{left} of {} channels have none", channels.len())),
            }
        });
        Ok(all.await?)
    }

    /// Messages that came more than once, and calls under an epoch older than one that had
    /// come before.
    pub fn faults(&self) -> (usize, usize) {
        let seen = self.seen.lock();
        (seen.duplicates, seen.stale)
    }
}

async fn handle(
    State(seen): State<Arc<Mutex<Seen>>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let now = Instant::now();
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    };
    let epoch: u64 = text("quorate-epoch").parse().unwrap_or(0);
    let channel = text("quorate-channel").to_owned();
    let mut seen = seen.lock();
    seen.stale += usize::from(epoch < seen.newest);
    seen.newest = seen.newest.max(epoch);
    seen.duplicates += usize::from(!seen.bodies.insert(body));
    let reign = seen.reigns.entry((channel, epoch)).or_insert(Reign {
        first: now,
        last: now,
    });
    reign.last = now;
    StatusCode::OK
}
