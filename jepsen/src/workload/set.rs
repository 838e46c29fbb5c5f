//! Set workload: each element is a key of its own, added once through any member.
//!
//! Now and then somebody reads the whole set, and in the end it is read of each member.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use rand::Rng;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    contract::Workload,
    error::WorkloadError,
    workload_client::{FINAL, SettledOperation, WorkloadClient, clients},
};
use crate::{
    cancel::CancelToken, history::EventType, pinned_client::RequestOutcome, run_context::RunContext,
};

const KEY: &str = "set";
/// Every so many operations, one is a read, which is long.
const READS: u32 = 60;

/// Workload of a set.
#[derive(Default)]
pub struct SetWorkload {
    next: Arc<AtomicU64>,
}

#[async_trait]
impl Workload for SetWorkload {
    async fn work(&self, context: &Arc<RunContext>, cancel: &CancelToken) {
        clients(context, |mut client| {
            let (next, cancel) = (self.next.clone(), cancel.clone());
            async move {
                while !client.rests(&cancel).await {
                    if client.rng.random_ratio(1, READS) {
                        read(&mut client).await
                    } else {
                        add(&mut client, next.fetch_add(1, Ordering::Relaxed)).await
                    }
                }
            }
        })
        .await;
    }

    async fn finish(&self, context: &Arc<RunContext>) -> Result<(), WorkloadError> {
        for number in 0..context.cluster.members.len() as u64 {
            let client = WorkloadClient::reader(context, number, FINAL);
            if let Ok((elements, revision)) = whole(&client).await {
                client.tell(EventType::Ok, "final", KEY, elements, revision);
            }
        }
        Ok(())
    }
}

async fn add(client: &mut WorkloadClient, element: u64) {
    let url = client.member.admin(&format!("/v1/kv/{KEY}/{element:06}"));
    let invoked = client.invoke("add", Some(KEY), json!(element));
    let body = element.to_string();
    let outcome = client.http.ask(Method::PUT, &url, &[], body).await;
    let settled = match &outcome {
        RequestOutcome::Answer(it) if it.status == 200 => SettledOperation::ok(None, it.revision),
        _ => SettledOperation::unless_done(&outcome),
    };
    client.settle(invoked, settled);
}

async fn read(client: &mut WorkloadClient) {
    let invoked = client.invoke("read", Some(KEY), Value::Null);
    let settled = match whole(client).await {
        Ok((elements, revision)) => SettledOperation::ok(Some(elements), revision),
        Err(settled) => settled,
    };
    client.settle(invoked, settled);
}

/// Reads all elements, page by page, each page as fresh as can be.
async fn whole(client: &WorkloadClient) -> Result<(Value, Option<u64>), SettledOperation> {
    let mut elements = Vec::new();
    let mut after = String::new();
    let mut first = None;
    loop {
        let url = format!("/v1/kv?prefix={KEY}/&limit=1000&after={after}");
        let url = client.member.admin(&url);
        let outcome = client.http.ask(Method::GET, &url, &[], "").await;
        let RequestOutcome::Answer(answer) = &outcome else {
            return Err(SettledOperation::unread(&outcome));
        };
        if answer.status != 200 {
            return Err(SettledOperation::unread(&outcome));
        }
        first = first.or(answer.revision);
        let page: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let entries = page["entries"].as_array().cloned().unwrap_or_default();
        elements.extend(entries.iter().map(element));
        let last = entries.last().and_then(|it| it["key"].as_str());
        match (page["more"].as_bool(), last) {
            (Some(true), Some(last)) => after = last.to_owned(),
            _ => return Ok((elements.into(), first)),
        }
    }
}

/// Returns the value that an entry holds, whatever it is.
fn element(entry: &Value) -> Value {
    let bytes = entry["value_base64"].as_str().map(|it| STANDARD.decode(it));
    let text = match bytes {
        Some(Ok(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => return entry.clone(),
    };
    text.parse::<u64>()
        .map_or_else(|_| json!(text), |it| json!(it))
}
