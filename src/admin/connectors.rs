//! `GET /v1/connectors`: the connectors of the cluster, with the members that could take each over.
//!
//! Only the connector server has the rows, so the other members ask it; each other member is asked
//! what it has standing by.

use axum::{Json, extract::State};
use http::{HeaderMap, StatusCode};
use quorate_clock::Instant;
use quorate_supervisor::connector_status::ConnectorStatus;

use super::{
    AdminContext,
    access::{self, Routes},
    cluster_answers::ConnectorsAnswer,
    member_report::{self, MemberReply},
    peers::PASSED_ON,
    problem::ApiProblem,
    standbys::ConnectorRow,
};

const PATH: &str = "/v1/connectors";

/// The route.
pub(super) fn routes() -> Routes<AdminContext> {
    Routes::new().on(&access::CONNECTORS, connectors)
}

async fn connectors(
    State(context): State<AdminContext>,
    headers: HeaderMap,
) -> Result<Json<ConnectorsAnswer>, ApiProblem> {
    if headers.contains_key(PASSED_ON) {
        return own_rows(&context)
            .map(|rows| merge(&context, rows, &[]))
            .map(Json);
    }
    let (rows, asked) = tokio::join!(rows(&context), member_report::collect_reports(&context));
    Ok(Json(merge(&context, rows?, &asked)))
}

/// Returns the connector server's rows, with the standbys that `asked` reports.
pub(super) fn merge(
    context: &AdminContext,
    rows: Vec<ConnectorStatus>,
    asked: &[MemberReply],
) -> ConnectorsAnswer {
    let holder = context.cluster.state().reign().holder.unwrap_or_default();
    let rows = rows.into_iter();
    ConnectorsAnswer {
        connectors: rows
            .map(|status| ConnectorRow::new(status, holder, asked))
            .collect(),
    }
}

/// Returns the connector server's rows.
pub(super) async fn rows(context: &AdminContext) -> Result<Vec<ConnectorStatus>, ApiProblem> {
    let reign = *context.cluster.state().reign();
    let holder = reign.holder.filter(|_| !reign.released);
    if holder == Some(context.me()) {
        return own_rows(context);
    }
    let Some(holder) = holder.and_then(|id| context.member(id)) else {
        return Err(nobody());
    };
    if context.is_silent(holder.id) {
        return Err(nobody());
    }
    let asked =
        context
            .peers
            .get::<ConnectorsAnswer>(&holder.member.admin, PATH, context.peer_wait());
    let answer = asked.await.map_err(|error| {
        unavailable(format!(
            "the connector server, {}, does not answer: {error}",
            holder.member.name
        ))
    })?;
    Ok(answer
        .connectors
        .into_iter()
        .map(|row| row.status)
        .collect())
}

/// Returns this member's rows, as the connector server. A member that holds the reign and whose
/// lease is over, without a quorum for example, runs nothing, and must not answer an empty list.
fn own_rows(context: &AdminContext) -> Result<Vec<ConnectorStatus>, ApiProblem> {
    if !context.connectors.reign().borrow().acting {
        return Err(nobody());
    }
    let now = Instant::now();
    let statuses = context.connectors.statuses().borrow().clone();
    Ok(statuses.iter().map(|it| it.clone().as_of(now)).collect())
}

fn nobody() -> ApiProblem {
    unavailable("no member runs the connectors at the moment; try again in a moment".into())
}

fn unavailable(detail: String) -> ApiProblem {
    ApiProblem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
}
