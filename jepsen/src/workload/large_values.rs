//! Workload of large values: each client puts values of up to 1 MiB, without a pause.
//!
//! Each key belongs to one client, and is a register. Values begin with what tells them apart.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use rand::seq::IndexedRandom;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    contract::Workload,
    error::WorkloadError,
    workload_client::{FINAL, SettledOperation, WorkloadClient, clients},
};
use crate::{
    cancel::CancelToken,
    history::EventType,
    pinned_client::{PinnedClient, RequestOutcome},
    run_context::RunContext,
};

/// Bytes of a value; the largest is what a key holds at most.
const SIZES: &[usize] = &[1 << 20, 1 << 20, 1 << 18, 1 << 14, 100];
/// Keys of a client that are in use at a time.
const SLOTS: u64 = 2;
/// Time limit of a request: on a full link much waits for its turn.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Workload of large values.
#[derive(Default)]
pub struct LargeWorkload {
    keys: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Workload for LargeWorkload {
    async fn work(&self, context: &Arc<RunContext>, cancel: &CancelToken) {
        clients(context, |mut client| {
            let (keys, cancel) = (self.keys.clone(), cancel.clone());
            client.http = PinnedClient::new(PATIENCE);
            async move {
                let mut turn = 0;
                let mut n = 0;
                while !cancel.is_cancelled() {
                    let key = format!("large-{}-{turn}-{}", client.number, n % SLOTS);
                    if n < SLOTS {
                        keys.lock().push(key.clone());
                    }
                    let done = put(&mut client, &key, n).await;
                    n += 1;
                    if done == EventType::Info {
                        // What may yet be done would make a checker's work grow.
                        (turn, n) = (turn + 1, 0);
                    }
                    if done != EventType::Ok && client.rests(&cancel).await {
                        return;
                    }
                }
            }
        })
        .await;
    }

    async fn finish(&self, context: &Arc<RunContext>) -> Result<(), WorkloadError> {
        let keys = self.keys.lock().clone();
        for number in 0..context.cluster.members.len() as u64 {
            let mut client = WorkloadClient::reader(context, number, FINAL);
            for key in &keys {
                let url = client.member.admin(&format!("/v1/kv/{key}"));
                let invoked = client.invoke("read", Some(key), Value::Null);
                let outcome = client.http.ask(Method::GET, &url, &[], "").await;
                let settled = match &outcome {
                    RequestOutcome::Answer(it) if it.status == 200 => {
                        SettledOperation::ok(Some(json!(value_name(&it.body))), it.revision)
                    }
                    RequestOutcome::Answer(it) if it.code.as_deref() == Some("not_found") => {
                        SettledOperation::ok(Some(Value::Null), it.revision)
                    }
                    _ => SettledOperation::unread(&outcome),
                };
                client.settle(invoked, settled);
            }
        }
        Ok(())
    }
}

/// Returns the name of a value: all of it up to the filling, and its length with that.
fn value_name(body: &[u8]) -> String {
    let name = body.split(|byte| *byte == b'.').next().unwrap_or(body);
    format!("{}.{}", String::from_utf8_lossy(name), body.len())
}

async fn put(client: &mut WorkloadClient, key: &str, n: u64) -> EventType {
    let size = *SIZES.choose(&mut client.rng).unwrap_or(&100);
    let mut body = format!("{key}-{n}.").into_bytes();
    body.resize(size, b'.');
    let url = client.member.admin(&format!("/v1/kv/{key}"));
    let invoked = client.invoke("write", Some(key), json!(value_name(&body)));
    let outcome = client.http.ask(Method::PUT, &url, &[], body).await;
    let settled = match &outcome {
        RequestOutcome::Answer(it) if it.status == 200 => SettledOperation::ok(None, it.revision),
        _ => SettledOperation::unless_done(&outcome),
    };
    let kind = settled.kind;
    client.settle(invoked, settled);
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_cut_short_is_another() {
        assert_eq!(value_name(b"large-1-0-0-7......"), "large-1-0-0-7.19");
        assert_ne!(value_name(b"large-1-0-0-7....."), "large-1-0-0-7.19");
    }
}
