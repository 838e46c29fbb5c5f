//! Workload of messages sent by `amqp_outgoing`, each under a key of its own.
//!
//! They are sent at all members, by callers of whom many give up about when somebody else begins to
//! reign. What was told of each is compared in the end with what is in the queue.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use quorate_testkit::error_chain::chain;
use rand::Rng;
use reqwest::Method;
use serde_json::json;

use super::{
    amqp,
    contract::Workload,
    error::WorkloadError,
    workload_client::{SettledOperation, WorkloadClient, clients},
};
use crate::{
    cancel::CancelToken,
    pinned_client::{PinnedClient, RequestOutcome},
    run_context::RunContext,
};

const QUEUE: &str = "sends";
const OUTGOING: &str = "chaos-out";
/// Time that a caller waits longer than a member.
const BEYOND: Duration = Duration::from_secs(3);
/// Of so many callers one is in a hurry, and one has time.
const THIRD: u32 = 3;

/// Workload of messages that are sent.
#[derive(Default)]
pub struct SendsWorkload {
    next: Arc<AtomicU64>,
}

#[async_trait]
impl Workload for SendsWorkload {
    async fn prepare(&self, context: &Arc<RunContext>) -> Result<(), WorkloadError> {
        let broker = context.broker.as_ref().ok_or(WorkloadError::NoBroker)?;
        amqp::declare(&broker.uri, &[QUEUE], "classic").await?;
        amqp::outgoing(context, OUTGOING, QUEUE).await?;
        amqp::take_all(&broker.uri, &[QUEUE]).await.map(|_| ())
    }

    async fn work(&self, context: &Arc<RunContext>, cancel: &CancelToken) {
        clients(context, |mut client| {
            let (next, cancel) = (self.next.clone(), cancel.clone());
            async move {
                while !client.rests(&cancel).await {
                    send(&mut client, next.fetch_add(1, Ordering::Relaxed)).await;
                }
            }
        })
        .await;
    }

    async fn left(&self, context: &Arc<RunContext>) -> Option<Vec<String>> {
        let broker = context.broker.as_ref()?;
        match amqp::take_all(&broker.uri, &[QUEUE]).await {
            Ok(taken) => Some(taken),
            Err(error) => {
                context.note_trouble(format!("the queue can't be looked at: {}", chain(&error)));
                None
            }
        }
    }
}

async fn send(client: &mut WorkloadClient, n: u64) {
    // Somebody else reigns after a promise or less, and a second later a member gives up on
    // the one before; who gives up from then on is told what the member knows by then.
    let promise = client.context.plan.failover_ms;
    let within = match client.rng.random_range(0..THIRD) {
        0 => client.rng.random_range(200..=6_000),
        _ => client.rng.random_range(promise / 2 + 950..=promise + 2_050),
    };
    client.http = PinnedClient::new(Duration::from_millis(within) + BEYOND);
    let id = format!("{QUEUE}-{n:06}");
    let headers = [
        ("quorate-within-ms", within.to_string()),
        ("quorate-idempotency-key", id.clone()),
    ];
    let url = client.member.admin(&amqp::send_path(OUTGOING));
    let invoked = client.invoke("send", Some(QUEUE), json!(id));
    let outcome = client.http.ask(Method::POST, &url, &headers, id).await;
    let settled = match &outcome {
        RequestOutcome::Answer(it) if it.status == 200 => SettledOperation::ok(None, it.revision),
        _ => SettledOperation::unless_done(&outcome),
    };
    client.settle(invoked, settled);
}
