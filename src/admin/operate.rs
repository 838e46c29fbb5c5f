//! `POST /v1/connectors/{kind}/{name}/{pause|resume|restart}`: orders to a connector.
//!
//! They are kept in the replicated state, so that a takeover does not resume a paused connector.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, rejection::PathRejection},
    response::Response,
};
use quorate_resources::Kind;
use quorate_state::{Answer, Command, OperatorAction};
use serde::{Deserialize, Serialize};

use super::{
    AdminContext,
    access::{self, Routes},
    caller::CallerCluster,
    problem::ApiProblem,
    revision_headers::{with_current_revision, with_revision},
};
use crate::cluster::ClusterHandle;

/// The time that slow members are waited for after an order.
const SLOW_MEMBERS: Duration = Duration::from_millis(250);

/// The connector after an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperateAnswer {
    /// The connector's kind.
    pub kind: Kind,
    /// The connector's name.
    pub name: String,
    /// True while the connector is paused.
    pub paused: bool,
    /// True if this order changed anything.
    pub changed: bool,
}

/// The routes.
pub(super) fn routes() -> Routes<AdminContext> {
    let handler = |action| {
        move |CallerCluster(cluster): CallerCluster, path: ConnectorPath| async move {
            with_current_revision(&cluster, operate(&cluster, path, action).await)
        }
    };
    Routes::new()
        .on(&access::PAUSE, handler(OperatorAction::Pause))
        .on(&access::RESUME, handler(OperatorAction::Resume))
        .on(&access::RESTART, handler(OperatorAction::Restart))
}

type ConnectorPath = Result<Path<(String, String)>, PathRejection>;

async fn operate(
    cluster: &ClusterHandle,
    path: ConnectorPath,
    action: OperatorAction,
) -> Result<Response, ApiProblem> {
    let Path((kind, name)) = path?;
    let kind: Kind = kind
        .parse()
        .map_err(|unknown| ApiProblem::not_found(format!("{unknown}")))?;
    let command = Command::OperateConnector {
        kind,
        name: name.clone(),
        order: action,
    };
    let (index, answer) = cluster.propose(command, cluster.write_deadline()).await?;
    let Answer::Done { changed, .. } = answer else {
        let refusal = ApiProblem::from_answer(&format!("{kind}/{name}"), answer);
        return Err(refusal.expect("invariant: it was not done"));
    };
    cluster
        .node()
        .wait_applied_everywhere(index, SLOW_MEMBERS)
        .await;
    let paused = cluster.state().operations().get(kind, &name).paused;
    let answer = OperateAnswer {
        kind,
        name,
        paused,
        changed,
    };
    Ok(with_revision(index, Json(answer)))
}
