//! `POST /v1/connectors/{kind}/{name}/{pause|resume|restart}`: kept in the replicated state,
//! so that a takeover does not resume what someone paused.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    response::Response,
    routing::post,
};
use quorate_resources::Kind;
use quorate_state::{Answer, Command, Order};
use serde::{Deserialize, Serialize};

use super::{
    Context,
    problem::Problem,
    revision::{answered, reflecting},
};
use crate::cluster::Cluster;

/// How long slow members are waited for after an order.
const SLOW_MEMBERS: Duration = Duration::from_millis(250);

/// What stands after an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operated {
    /// The kind.
    pub kind: Kind,
    /// The name.
    pub name: String,
    /// Whether it is paused now.
    pub paused: bool,
    /// Whether this order has changed anything.
    pub changed: bool,
}

/// The routes.
pub fn routes() -> Router<Context> {
    let route = |order| {
        post(
            move |State(cluster): State<Cluster>, path: Thing| async move {
                answered(&cluster, operate(&cluster, path, order).await)
            },
        )
    };
    Router::new()
        .route("/v1/connectors/{kind}/{name}/pause", route(Order::Pause))
        .route("/v1/connectors/{kind}/{name}/resume", route(Order::Resume))
        .route(
            "/v1/connectors/{kind}/{name}/restart",
            route(Order::Restart),
        )
}

type Thing = Result<Path<(String, String)>, PathRejection>;

async fn operate(cluster: &Cluster, path: Thing, order: Order) -> Result<Response, Problem> {
    let Path((kind, name)) = path?;
    let kind: Kind = kind
        .parse()
        .map_err(|unknown| Problem::not_found(format!("{unknown}")))?;
    let command = Command::Operate {
        kind,
        name: name.clone(),
        order,
    };
    let (index, answer) = cluster.propose(command, cluster.write_deadline()).await?;
    let Answer::Done { changed, .. } = answer else {
        let refusal = Problem::of_answer(&format!("{kind}/{name}"), answer);
        return Err(refusal.expect("invariant: it was not done"));
    };
    cluster
        .node()
        .wait_applied_everywhere(index, SLOW_MEMBERS)
        .await;
    let paused = cluster.state().operations().get(kind, &name).paused;
    let told = Operated {
        kind,
        name,
        paused,
        changed,
    };
    Ok(reflecting(index, Json(told)))
}
