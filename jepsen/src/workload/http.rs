//! HTTP workload: services on every member, which answer without a quorum too.
//!
//! They are the ping that is always there, a built-in one and one of a user behind HTTP channels.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use rand::seq::IndexedRandom;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    contract::Workload,
    error::WorkloadError,
    service_sink::ServiceSink,
    workload_client::{SettledOperation, WorkloadClient, clients},
};
use crate::{
    cancel::CancelToken,
    cluster::{api, error::ClusterError},
    pinned_client::RequestOutcome,
    run_context::RunContext,
};

const PING: &str = "/zato/ping";
const ECHO: &str = "/chaos/echo";
const UPSTREAM: &str = "/chaos/upstream";

/// Workload of calls of services.
#[derive(Default)]
pub struct HttpWorkload {
    sink: Mutex<Option<ServiceSink>>,
}

#[async_trait]
impl Workload for HttpWorkload {
    async fn prepare(&self, context: &Arc<RunContext>) -> Result<(), WorkloadError> {
        let sink = ServiceSink::start(context, &[], [0, 0], 0).await?;
        let service = |name: &str, path: &str| {
            let it = json!({"path": path, "service": name});
            ("http_channel", format!("chaos-{name}"), it)
        };
        for (kind, name, fields) in [
            (
                "service",
                "upstream".to_owned(),
                json!({"upstream": sink.url("service")}),
            ),
            service("echo", ECHO),
            service("upstream", UPSTREAM),
        ] {
            put(context, kind, &name, &fields).await?;
        }
        *self.sink.lock() = Some(sink);
        Ok(())
    }

    async fn work(&self, context: &Arc<RunContext>, cancel: &CancelToken) {
        clients(context, |mut client| {
            let cancel = cancel.clone();
            async move {
                while !client.rests(&cancel).await {
                    call(&mut client).await;
                }
            }
        })
        .await;
    }
}

async fn call(client: &mut WorkloadClient) {
    let path = *[PING, ECHO, UPSTREAM]
        .choose(&mut client.rng)
        .unwrap_or(&PING);
    let invoked = client.invoke("http", Some(path), Value::Null);
    let (method, body) = match path {
        PING => (Method::GET, ""),
        _ => (Method::POST, "hello"),
    };
    let url = client.member.http(path);
    let outcome = client.http.ask(method, &url, &[], body).await;
    let settled = match &outcome {
        RequestOutcome::Answer(it) if it.status == 200 => {
            let text = String::from_utf8_lossy(&it.body);
            if path != ECHO || text == body {
                SettledOperation::ok(Some(json!(200)), None)
            } else {
                SettledOperation::fail(format!("200, and the answer was {text:?}"), None)
            }
        }
        _ => SettledOperation::unread(&outcome),
    };
    client.settle(invoked, settled);
}

/// Declares a resource, for what is there before a run begins.
pub async fn put(
    context: &RunContext,
    kind: &str,
    name: &str,
    fields: &Value,
) -> Result<(), ClusterError> {
    let url = context.cluster.members[0].admin(&format!("/v1/config/{kind}/{name}"));
    let put = api::accepted(Method::PUT, &url, fields.to_string());
    put.await.map(drop)
}
