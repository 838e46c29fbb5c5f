//! Services behind the members: each notes every call with its epoch.
//!
//! One looks at epochs and refuses older ones than it has seen, others take all.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use quorate_clock::rng;
use rand::Rng;

use super::error::WorkloadError;
use crate::{
    history::SinkCall, journal::LineJournal, run_clock::RunClock, run_context::RunContext,
};

struct SinkState {
    clock: RunClock,
    journal: Arc<LineJournal>,
    /// The channels that look at epochs.
    checked: BTreeSet<String>,
    /// The ms that a call takes, so that two at the same time are seen to be so.
    work_ms: [u64; 2],
    /// The number of times that some messages fail before they are taken.
    failing: u64,
    newest: Mutex<BTreeMap<String, u64>>,
    handled: Mutex<BTreeSet<String>>,
}

/// Services that note their calls.
#[derive(Clone)]
pub struct ServiceSink {
    inner: Arc<SinkState>,
    address: SocketAddr,
}

impl ServiceSink {
    /// Starts the services where every member reaches them; `checked` are the names of channels
    /// whose service looks at epochs, and `work_ms` how long a call takes, at least and at most.
    /// Every tenth message fails `failing` times before it is taken.
    pub async fn start(
        context: &Arc<RunContext>,
        checked: &[&str],
        work_ms: [u64; 2],
        failing: u64,
    ) -> Result<ServiceSink, WorkloadError> {
        let net = context.cluster.net.as_ref();
        let host = net.map_or(Ipv4Addr::LOCALHOST, |net| net.host());
        let inner = Arc::new(SinkState {
            clock: context.clock,
            journal: context.journals.connectors.clone(),
            checked: checked.iter().map(|it| (*it).to_owned()).collect(),
            work_ms,
            failing,
            newest: Mutex::default(),
            handled: Mutex::default(),
        });
        let app = Router::new()
            .route("/{kind}", axum::routing::any(handle))
            .with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind((host, 0)).await;
        let listener = listener.map_err(WorkloadError::SinkPort)?;
        let address = listener.local_addr().map_err(WorkloadError::SinkPort)?;
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(ServiceSink { inner, address })
    }

    /// Returns the address of the service for connectors of this kind, or of `service` for plain
    /// calls.
    pub fn url(&self, kind: &str) -> String {
        format!("http://{}/{kind}", self.address)
    }

    /// Counts those of the messages that were not taken by any service yet.
    pub fn waits_for(&self, messages: &BTreeSet<String>) -> usize {
        let handled = self.inner.handled.lock();
        messages.iter().filter(|it| !handled.contains(*it)).count()
    }

    /// Returns those of the messages that come after all that were taken, in the order of their
    /// names.
    pub fn after_the_last(&self, messages: &BTreeSet<String>) -> Vec<String> {
        let handled = self.inner.handled.lock();
        let backwards = messages.iter().rev();
        let after = backwards.take_while(|it| !handled.contains(*it));
        after.cloned().collect()
    }
}

impl SinkState {
    /// Returns whether this try of a message fails.
    fn fails(&self, message: &str, attempt: u64) -> bool {
        attempt <= self.failing && message.ends_with('0')
    }

    /// Returns whether a call is taken: a service that looks at epochs refuses older ones.
    fn takes(&self, channel: &str, epoch: u64) -> bool {
        if !self.checked.contains(channel) {
            return true;
        }
        let mut newest = self.newest.lock();
        let seen = newest.entry(channel.to_owned()).or_insert(epoch);
        *seen = epoch.max(*seen);
        epoch == *seen
    }
}

/// Notes the end of a call even when its caller goes away in between.
struct RunningCall {
    inner: Arc<SinkState>,
    call: SinkCall,
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        let journal = &self.inner.journal;
        journal.note(|ended| SinkCall {
            ended,
            ..self.call.clone()
        });
    }
}

async fn handle(
    State(inner): State<Arc<SinkState>>,
    Path(kind): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let channel = text("quorate-channel");
    if channel.is_empty() {
        return StatusCode::OK.into_response();
    }
    let number = |name: &str| text(name).parse::<u64>().unwrap_or(0);
    let epoch = number("quorate-epoch");
    let begun = inner.clock.now();
    let current = inner.takes(&channel, epoch);
    let message = String::from_utf8_lossy(&body).into_owned();
    let attempt = number("quorate-attempt");
    let fails = inner.fails(&message, attempt);
    let running = RunningCall {
        call: SinkCall {
            begun,
            ended: begun,
            connector: format!("{kind}/{channel}"),
            epoch,
            message: message.clone(),
            attempt,
            accepted: current && !fails,
        },
        inner: inner.clone(),
    };
    let [least, most] = inner.work_ms;
    let work = Duration::from_millis(rng().random_range(least..=most));
    tokio::time::sleep(work).await;
    drop(running);
    if !current {
        return (StatusCode::CONFLICT, [("quorate-fenced", "true")]).into_response();
    }
    if fails {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    inner.handled.lock().insert(message);
    StatusCode::OK.into_response()
}
