//! `GET /v1/connectors`: only the connector server has rows, so the others ask it.

use axum::{Json, Router, extract::State, routing::get};
use http::{HeaderMap, StatusCode};

use super::{Context, answers::ConnectorsAnswer, peers::PASSED_ON, problem::Problem};

const PATH: &str = "/v1/connectors";

/// The route.
pub fn routes() -> Router<Context> {
    Router::new().route(PATH, get(connectors))
}

async fn connectors(
    State(context): State<Context>,
    headers: HeaderMap,
) -> Result<Json<ConnectorsAnswer>, Problem> {
    match headers.contains_key(PASSED_ON) {
        true => own(&context).map(Json),
        false => list(&context).await.map(Json),
    }
}

/// The connector server's rows.
pub async fn list(context: &Context) -> Result<ConnectorsAnswer, Problem> {
    let reign = *context.cluster.state().reign();
    let holder = reign.holder.filter(|_| !reign.released);
    if holder == Some(context.me()) {
        return own(context);
    }
    let Some(holder) = holder.and_then(|id| context.member(id)) else {
        return Err(nobody());
    };
    let asked =
        context
            .peers
            .get::<ConnectorsAnswer>(&holder.member.admin, PATH, context.peer_wait());
    asked.await.map_err(|error| {
        unavailable(format!(
            "the connector server, {}, does not answer: {error}",
            holder.member.name
        ))
    })
}

/// As the connector server. One that holds the reign and whose lease is over, without a
/// quorum for example, runs nothing, and must not say that there is nothing.
fn own(context: &Context) -> Result<ConnectorsAnswer, Problem> {
    if !context.connectors.reign().borrow().acting {
        return Err(nobody());
    }
    Ok(ConnectorsAnswer {
        connectors: context.connectors.statuses().borrow().to_vec(),
    })
}

fn nobody() -> Problem {
    unavailable("no member runs the connectors at the moment; try again in a moment".into())
}

fn unavailable(detail: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
}
