//! Background writes to each member, beside workloads that write nothing themselves.
//!
//! So whether writes work is asked in every run.

use std::{sync::Arc, time::Duration};

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use super::workload_client::{SettledOperation, WorkloadClient};
use crate::{cancel::CancelToken, pinned_client::RequestOutcome, run_context::RunContext};

/// First number of the processes of these clients.
const FIRST: u64 = 3_000_000;
const EVERY: Duration = Duration::from_millis(150);
/// Number of writes to one key, as with registers.
const TO_ONE_KEY: u64 = 100;

/// Returns whether a workload writes by itself.
fn writes(workload: &str) -> bool {
    ["register", "set", "config", "watch", "large"].contains(&workload)
}

/// Writes until it is cancelled.
pub async fn work(context: &Arc<RunContext>, cancel: &CancelToken) {
    if writes(&context.plan.workload) {
        return;
    }
    let mut tasks = JoinSet::new();
    for number in 0..context.cluster.members.len() as u64 {
        let mut client = WorkloadClient::under(context, number, FIRST);
        let cancel = cancel.clone();
        tasks.spawn(async move {
            let mut count = 0;
            while !cancel.cancelled_within(EVERY).await {
                beat(&mut client, count).await;
                count += 1;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            context.note_trouble(format!("a client died: {error}"));
        }
    }
}

async fn beat(client: &mut WorkloadClient, count: u64) {
    let key = format!("beat-{}-{}", client.member.id, count / TO_ONE_KEY);
    let value = format!("b{}-{count}", client.member.id);
    let url = client.member.admin(&format!("/v1/kv/{key}"));
    let invoked = client.invoke("write", Some(&key), json!(value));
    let outcome = client.http.ask(Method::PUT, &url, &[], value).await;
    let settled = match &outcome {
        RequestOutcome::Answer(it) if it.status == 200 => SettledOperation::ok(None, it.revision),
        _ => SettledOperation::unless_done(&outcome),
    };
    client.settle(invoked, settled);
}
