//! Register workload: linearizable reads, writes and compare-and-set at all members.
//!
//! Every value is written once only, so that a read tells which write it saw. A few keys
//! are in use at a time, and each gives way to a new one after so many operations, or when
//! too many are open whose outcome isn't known: a checker's work grows with both.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use rand::Rng;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    contract::Workload,
    error::WorkloadError,
    workload_client::{FINAL, SettledOperation, WorkloadClient, clients},
};
use crate::{
    cancel::CancelToken,
    history::{EventType, HistoryEvent},
    pinned_client::RequestOutcome,
    run_context::RunContext,
};

const SLOTS: usize = 4;
const OPERATIONS_MAX: u64 = 200;
const OPEN_MAX: u64 = 10;
/// Number of last reads that may fail at one member before no more are tried there.
const SILENT_MAX: u32 = 3;

/// Workload of registers.
#[derive(Default)]
pub struct RegisterWorkload {
    ring: Arc<KeyRing>,
}

/// The keys in use.
#[derive(Default)]
struct KeyRing {
    slots: [Mutex<KeySlot>; SLOTS],
    next_value: AtomicU64,
}

#[derive(Default)]
struct KeySlot {
    turn: u64,
    operations: u64,
    open: u64,
    /// The newest value that was seen, and the revision that wrote it.
    seen: Option<(u64, Value)>,
}

impl KeyRing {
    fn key(slot: usize, turn: u64) -> String {
        format!("reg-{slot}-{turn}")
    }

    /// Takes a key for one more operation, and what was seen of it last.
    fn take(&self, slot: usize) -> (u64, String, Option<(u64, Value)>) {
        let mut it = self.slots[slot].lock();
        if it.operations >= OPERATIONS_MAX || it.open >= OPEN_MAX {
            *it = KeySlot {
                turn: it.turn + 1,
                ..KeySlot::default()
            };
        }
        it.operations += 1;
        (it.turn, KeyRing::key(slot, it.turn), it.seen.clone())
    }

    fn saw(&self, slot: usize, turn: u64, revision: u64, value: Value) {
        let mut it = self.slots[slot].lock();
        let newer = it.seen.as_ref().is_none_or(|seen| seen.0 < revision);
        if it.turn == turn && newer {
            it.seen = Some((revision, value));
        }
    }

    fn left_open(&self, slot: usize, turn: u64) {
        let mut it = self.slots[slot].lock();
        if it.turn == turn {
            it.open += 1;
        }
    }

    fn value(&self) -> Value {
        let n = self.next_value.fetch_add(1, Ordering::Relaxed);
        json!(format!("v{n}"))
    }

    fn all(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for (slot, it) in self.slots.iter().enumerate() {
            let turn = it.lock().turn;
            keys.extend((0..=turn).map(|turn| KeyRing::key(slot, turn)));
        }
        keys
    }
}

#[async_trait]
impl Workload for RegisterWorkload {
    async fn work(&self, context: &Arc<RunContext>, cancel: &CancelToken) {
        clients(context, |mut client| {
            let (ring, cancel) = (self.ring.clone(), cancel.clone());
            async move {
                while !client.rests(&cancel).await {
                    operate(&ring, &mut client).await;
                }
            }
        })
        .await;
    }

    async fn finish(&self, context: &Arc<RunContext>) -> Result<(), WorkloadError> {
        for (number, _) in context.cluster.members.iter().enumerate() {
            let mut client = WorkloadClient::reader(context, number as u64, FINAL);
            let mut silent = 0;
            for key in self.ring.all() {
                // Each takes its time to fail, and says nothing more.
                if silent >= SILENT_MAX {
                    break;
                }
                let url = client.member.admin(&format!("/v1/kv/{key}"));
                let invoked = client.invoke("read", Some(&key), Value::Null);
                let (settled, _) = read(&client, &url).await;
                silent += u32::from(settled.kind != EventType::Ok);
                client.settle(invoked, settled);
            }
        }
        Ok(())
    }
}

async fn operate(ring: &KeyRing, client: &mut WorkloadClient) {
    let slot = client.rng.random_range(0..SLOTS);
    let (turn, key, seen) = ring.take(slot);
    let url = client.member.admin(&format!("/v1/kv/{key}"));
    let (invoked, settled, saw): (HistoryEvent, SettledOperation, Option<(u64, Value)>);
    match (client.rng.random_range(0..10), seen) {
        (0..=3, _) => {
            invoked = client.invoke("read", Some(&key), Value::Null);
            (settled, saw) = read(client, &url).await;
        }
        (4..=6, _) => {
            let value = ring.value();
            invoked = client.invoke("write", Some(&key), value.clone());
            (settled, saw) = put(client, &url, &[], value).await;
        }
        (_, seen) => {
            let value = ring.value();
            let (old, precondition) = match seen {
                Some((revision, old)) => (old, ("if-match", format!("\"{revision}\""))),
                None => (Value::Null, ("if-none-match", "*".to_owned())),
            };
            invoked = client.invoke("cas", Some(&key), json!([old, value]));
            (settled, saw) = put(client, &url, &[precondition], value).await;
        }
    }
    if let Some((revision, value)) = saw {
        ring.saw(slot, turn, revision, value);
    }
    if settled.kind == EventType::Info {
        ring.left_open(slot, turn);
    }
    client.settle(invoked, settled);
}

/// Reads linearizably; gives the value that was seen, and its revision, beside the outcome.
async fn read(client: &WorkloadClient, url: &str) -> (SettledOperation, Option<(u64, Value)>) {
    let outcome = client.http.ask(Method::GET, url, &[], "").await;
    match &outcome {
        RequestOutcome::Answer(it) if it.status == 200 => {
            let value = json!(String::from_utf8_lossy(&it.body));
            let settled = SettledOperation::ok(Some(value.clone()), it.revision);
            (settled, it.etag.map(|revision| (revision, value)))
        }
        RequestOutcome::Answer(it)
            if it.status == 404 && it.code.as_deref() == Some("not_found") =>
        {
            (SettledOperation::ok(Some(Value::Null), it.revision), None)
        }
        _ => (SettledOperation::unread(&outcome), None),
    }
}

async fn put(
    client: &WorkloadClient,
    url: &str,
    headers: &[(&'static str, String)],
    value: Value,
) -> (SettledOperation, Option<(u64, Value)>) {
    let body = value.as_str().unwrap_or_default().to_owned();
    let outcome = client.http.ask(Method::PUT, url, headers, body).await;
    match &outcome {
        RequestOutcome::Answer(it) if it.status == 200 => {
            let saw = it.revision.map(|revision| (revision, value));
            (SettledOperation::ok(None, it.revision), saw)
        }
        _ => (SettledOperation::unless_done(&outcome), None),
    }
}
