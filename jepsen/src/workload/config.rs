//! Configuration workload: services and HTTP channels are applied and deleted at all members.
//!
//! Channels lean on services. Every member has to end with the same catalog.

use std::sync::Arc;

use async_trait::async_trait;
use rand::{Rng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    contract::Workload,
    error::WorkloadError,
    workload_client::{FINAL, SettledOperation, WorkloadClient, clients},
};
use crate::{
    cancel::CancelToken, history::EventType, pinned_client::RequestOutcome, run_context::RunContext,
};

/// Number of names of each kind: few enough that resources lean on each other.
const NAMES: u32 = 6;
/// Every so many operations, one reads the whole catalog as the member has it now.
const LOOKS: u32 = 20;

/// Workload of resources that are applied and deleted.
#[derive(Default)]
pub struct ConfigWorkload;

#[async_trait]
impl Workload for ConfigWorkload {
    async fn work(&self, context: &Arc<RunContext>, cancel: &CancelToken) {
        clients(context, |mut client| {
            let cancel = cancel.clone();
            async move {
                let mut done = 0;
                while !client.rests(&cancel).await {
                    if client.rng.random_ratio(1, LOOKS) {
                        look(&client, "catalog", "stale").await
                    } else {
                        change(&mut client, &mut done).await
                    }
                }
            }
        })
        .await;
    }

    async fn finish(&self, context: &Arc<RunContext>) -> Result<(), WorkloadError> {
        for number in 0..context.cluster.members.len() as u64 {
            let client = WorkloadClient::reader(context, number, FINAL);
            look(&client, "final", "linearizable").await;
        }
        Ok(())
    }
}

/// The fields of something that is applied; no two are the same.
fn fields(kind: &str, n: u32, unique: u64, rng: &mut StdRng) -> Value {
    let leans_on = format!("s{}", rng.random_range(0..NAMES));
    match kind {
        "service" => json!({
            "upstream": format!("http://127.0.0.1:9/{unique}"),
            "timeout_ms": rng.random_range(1_000..10_000),
        }),
        _ => json!({
            "path": format!("/config/{n}/{unique}"),
            "service": leans_on,
        }),
    }
}

async fn change(client: &mut WorkloadClient, done: &mut u64) {
    let n = client.rng.random_range(0..NAMES);
    let (kind, name) = if client.rng.random_ratio(1, 2) {
        ("service", format!("s{n}"))
    } else {
        ("http_channel", format!("c{n}"))
    };
    *done += 1;
    let unique = client.number * 1_000_000 + *done;
    let key = format!("{kind}/{name}");
    let url = client.member.admin(&format!("/v1/config/{key}"));
    let json = [("content-type", "application/json".to_owned())];
    let (invoked, outcome) = if client.rng.random_ratio(2, 3) {
        let fields = fields(kind, n, unique, &mut client.rng);
        let body = fields.to_string();
        let invoked = client.invoke("apply", Some(&key), fields);
        let outcome = client.http.ask(Method::PUT, &url, &json, body).await;
        (invoked, outcome)
    } else {
        let invoked = client.invoke("delete", Some(&key), Value::Null);
        let outcome = client.http.ask(Method::DELETE, &url, &[], "").await;
        (invoked, outcome)
    };
    let settled = match &outcome {
        RequestOutcome::Answer(it) if it.status == 200 => SettledOperation::ok(None, it.revision),
        _ => SettledOperation::unless_done(&outcome),
    };
    client.settle(invoked, settled);
}

/// The whole catalog of a member.
async fn look(client: &WorkloadClient, f: &str, consistency: &str) {
    let url = client
        .member
        .admin(&format!("/v1/config?consistency={consistency}"));
    let outcome = client.http.ask(Method::GET, &url, &[], "").await;
    let RequestOutcome::Answer(answer) = outcome else {
        return;
    };
    if answer.status != 200 {
        return;
    }
    let listing: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let mut catalog = Map::new();
    for it in listing["resources"].as_array().into_iter().flatten() {
        let word = |name: &str| it[name].as_str().unwrap_or_default().to_owned();
        let key = format!("{}/{}", word("kind"), word("name"));
        catalog.insert(key, it["resource"].clone());
    }
    client.tell(EventType::Ok, f, "catalog", catalog.into(), answer.revision);
}
