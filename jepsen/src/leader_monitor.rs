//! Monitor of reigns: asks every member all the while who leads and runs the connectors.

use std::{sync::Arc, time::Duration};

use quorate_testkit::http;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    cancel::CancelToken,
    cluster::{id_of, member::ClusterMember},
    history::ReignObservation,
    run_context::RunContext,
};

/// Pause between an answer and the next question.
const EVERY: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_millis(300);

/// Asks every member until it is cancelled.
pub async fn watch(context: Arc<RunContext>, cancel: CancelToken) {
    let mut tasks = JoinSet::new();
    for member in &context.cluster.members {
        tasks.spawn(ask(context.clone(), member.clone(), cancel.clone()));
    }
    while tasks.join_next().await.is_some() {}
}

async fn ask(context: Arc<RunContext>, member: Arc<ClusterMember>, cancel: CancelToken) {
    // It asks all the while, so it keeps its connection.
    let client = http::builder().pool_max_idle_per_host(1).timeout(PATIENCE);
    let Ok(client) = client.build() else {
        return context.note_trouble("the monitor has no client");
    };
    let url = member.admin("/v1/cluster/leader");
    while !cancel.is_cancelled() {
        let asked = context.clock.now();
        // Without an answer there is nothing to note.
        if let Ok(response) = client.get(&url).send().await {
            let told: Value = match response.status().as_u16() {
                200 => response.json().await.unwrap_or_default(),
                _ => Value::Null,
            };
            note(&context, &member, asked, &told);
        }
        cancel.cancelled_within(EVERY).await;
    }
}

fn note(context: &RunContext, member: &ClusterMember, asked: u64, told: &Value) {
    let id = |what: &Value| Some(id_of(what["name"].as_str()?)? as u64);
    context.journals.reigns.note(|time| ReignObservation {
        asked,
        time,
        member: member.id,
        leader: id(&told["leader"]),
        leader_id: told["leader"]["id"].as_u64(),
        term: told["term"].as_u64(),
        connector_server: id(&told["connector_server"]),
        epoch: told["connector_server"]["epoch"].as_u64(),
    });
}
