//! User's service that notes each call: which message, under which epoch, when.
//!
//! It accepts every call, those of an older epoch too: whether one came is for the test
//! to judge. One clock times everything, that of the test's process.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap};
use parking_lot::Mutex;
use quorate_clock::Instant;
use tokio::sync::watch;

use crate::http;

/// One call.
#[derive(Clone, Debug)]
pub struct SinkCall {
    /// The AMQP channel that it came by.
    pub channel: String,
    /// The message's body.
    pub id: String,
    /// The epoch under which it came.
    pub epoch: u64,
    /// When the whole request was there.
    pub begun: Instant,
    /// When it was answered, or its caller was gone. `None`: it runs still.
    pub ended: Option<Instant>,
}

struct Inner {
    calls: Mutex<Vec<SinkCall>>,
    count: watch::Sender<usize>,
    work_us: AtomicU64,
}

/// The service.
#[derive(Clone)]
pub struct MessageSink {
    inner: Arc<Inner>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl MessageSink {
    /// Answers each call after `work`.
    pub async fn start_at(address: Ipv4Addr, work: Duration) -> MessageSink {
        let inner = Arc::new(Inner {
            calls: Mutex::default(),
            count: watch::Sender::new(0),
            work_us: AtomicU64::new(work.as_micros() as u64),
        });
        let app = Router::new().fallback(handle).with_state(inner.clone());
        let address = http::serve(address, app).await;
        MessageSink { inner, address }
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// All calls so far, in the order in which they began.
    pub fn calls(&self) -> Vec<SinkCall> {
        self.inner.calls.lock().clone()
    }

    /// How many there are.
    pub fn calls_len(&self) -> usize {
        self.inner.calls.lock().len()
    }

    /// Those from the `from`th on.
    pub fn calls_from(&self, from: usize) -> Vec<SinkCall> {
        self.inner.calls.lock()[from..].to_vec()
    }

    /// How many calls have begun; changes wake whoever waits.
    pub fn count(&self) -> watch::Receiver<usize> {
        self.inner.count.subscribe()
    }

    /// When the first call of `channel` under a newer epoch than `epoch` began, among those
    /// from the `from`th on; waits for it until `deadline`.
    pub async fn first_after(
        &self,
        channel: &str,
        epoch: u64,
        from: usize,
        deadline: Instant,
    ) -> Option<(Instant, u64)> {
        let mut count = self.count();
        let mut looked = from;
        loop {
            let seen = *count.borrow_and_update();
            {
                let calls = self.inner.calls.lock();
                let mut new = calls[looked..seen].iter();
                let found = new.find(|call| call.channel == channel && call.epoch > epoch);
                if let Some(call) = found {
                    return Some((call.begun, call.epoch));
                }
            }
            looked = seen;
            let changed = tokio::time::timeout_at(deadline, count.changed()).await;
            changed.ok()?.ok()?;
        }
    }
}

/// Notes the end of a call even when its caller goes away in between.
struct Running<'a> {
    inner: &'a Inner,
    at: usize,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.inner.calls.lock()[self.at].ended = Some(Instant::now());
    }
}

async fn handle(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) {
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let call = SinkCall {
        channel: text("quorate-channel"),
        id: String::from_utf8_lossy(&body).into_owned(),
        epoch: text("quorate-epoch").parse().unwrap_or(0),
        begun: Instant::now(),
        ended: None,
    };
    let at = {
        let mut calls = inner.calls.lock();
        // Of two that began at once the order noted is that of their times.
        let begun = Instant::now();
        calls.push(SinkCall { begun, ..call });
        inner.count.send_replace(calls.len());
        calls.len() - 1
    };
    let _running = Running { inner: &inner, at };
    let work = inner.work_us.load(Ordering::Relaxed);
    if work > 0 {
        tokio::time::sleep(Duration::from_micros(work)).await;
    }
}
