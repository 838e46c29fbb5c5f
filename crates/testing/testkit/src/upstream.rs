//! User's own HTTP service: remembers each message that it was given.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode};
use parking_lot::Mutex;

use crate::http;

/// What one call carried.
#[derive(Clone, Debug)]
pub struct RecordedCall {
    /// The epoch.
    pub epoch: u64,
    /// Which try it was, from 1.
    pub attempt: u32,
    /// All headers.
    pub headers: HeaderMap,
}

#[derive(Default)]
struct Inner {
    calls: Mutex<HashMap<String, Vec<RecordedCall>>>,
    status: AtomicU16,
    delay_ms: AtomicUsize,
}

/// Answers with the status it is told to, after the delay it is told.
#[derive(Clone)]
pub struct UpstreamServer {
    inner: Arc<Inner>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl UpstreamServer {
    /// Starts one on the loopback.
    pub async fn start() -> UpstreamServer {
        UpstreamServer::start_at(Ipv4Addr::LOCALHOST).await
    }

    /// The same on another address of this machine.
    pub async fn start_at(address: Ipv4Addr) -> UpstreamServer {
        let inner = Arc::new(Inner::default());
        inner.status.store(200, Ordering::SeqCst);
        let app = Router::new().fallback(handle).with_state(inner.clone());
        let address = http::serve(address, app).await;
        UpstreamServer { inner, address }
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Answers with this status from now on.
    pub fn answer(&self, status: u16) {
        self.inner.status.store(status, Ordering::SeqCst);
    }

    /// Takes so long for each answer from now on.
    pub fn delay(&self, delay: Duration) {
        self.inner
            .delay_ms
            .store(delay.as_millis() as usize, Ordering::SeqCst);
    }

    /// Calls answered 2xx, by body.
    pub fn calls(&self) -> HashMap<String, Vec<RecordedCall>> {
        self.inner.calls.lock().clone()
    }

    /// The newest epoch that it has seen.
    pub fn newest_epoch(&self) -> u64 {
        let calls = self.inner.calls.lock();
        let epochs = calls.values().flatten().map(|seen| seen.epoch);
        epochs.max().unwrap_or(0)
    }

    /// How many different bodies were handled.
    pub fn handled(&self) -> usize {
        self.inner.calls.lock().len()
    }

    /// Calls more than one for the same body.
    pub fn duplicates(&self) -> usize {
        self.inner.calls.lock().values().map(|v| v.len() - 1).sum()
    }
}

async fn handle(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let delay = inner.delay_ms.load(Ordering::SeqCst) as u64;
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let number = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse::<u64>().ok())
    };
    let status = inner.status.load(Ordering::SeqCst);
    let status = StatusCode::from_u16(status).expect("a status");
    if status.is_success() {
        let seen = RecordedCall {
            epoch: number("quorate-epoch").unwrap_or(0),
            attempt: number("quorate-attempt").unwrap_or(0) as u32,
            headers: headers.clone(),
        };
        let key = String::from_utf8_lossy(&body).into_owned();
        inner.calls.lock().entry(key).or_default().push(seen);
    }
    status
}
