//! `POST /v1/services/{name}/invoke`: runs a service with the body.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{
        DefaultBodyLimit, Path, RawQuery, State,
        rejection::{BytesRejection, PathRejection},
    },
    response::Response,
    routing::post,
};
use http::{HeaderMap, Method, StatusCode};
use quorate_clock::Instant;

use super::{Context, problem::Problem};
use crate::{
    service::{Origin, Reply, Request, ServiceError},
    state::{self, Kind},
};

/// The largest body.
const BODY_MAX: usize = 16 << 20;

/// The longest time that anyone waits here; the service's own limit is mostly shorter.
const WAIT: std::time::Duration = std::time::Duration::from_secs(20);

/// The route.
pub fn routes() -> Router<Context> {
    Router::new()
        .route("/v1/services/{name}/invoke", post(invoke))
        .layer(DefaultBodyLimit::max(BODY_MAX))
}

async fn invoke(
    State(context): State<Context>,
    name: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Path(name) = name?;
    let body = body?;
    let cid = crate::http::cid::fresh();
    let request = Request {
        cid: cid.clone(),
        method: Method::POST,
        path: "/".into(),
        query,
        params: Default::default(),
        headers,
        body,
        origin: Origin::Admin,
        deadline: Instant::now() + WAIT,
    };
    match context.services.call_anywhere(&name, request).await {
        Ok(reply) => Ok(response(reply, &cid)),
        Err(error) => Err(problem(
            &name,
            known(&context.cluster.state(), &name),
            error,
        )),
    }
}

fn response(reply: Reply, cid: &str) -> Response {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    if let Ok(cid) = cid.parse() {
        response.headers_mut().insert("x-zato-cid", cid);
    }
    response
}

/// Whether there is such a service, in the catalog or in some member's program.
fn known(state: &state::State, name: &str) -> bool {
    let carried = |it: &Arc<state::Announced>| it.services.iter().any(|service| service == name);
    state.catalog().get(Kind::Service, name).is_some() || state.announced().values().any(carried)
}

fn problem(name: &str, known: bool, error: ServiceError) -> Problem {
    let (status, code) = match &error {
        ServiceError::NotRun(_) if known => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        ServiceError::NotRun(_) => (StatusCode::NOT_FOUND, "not_found"),
        ServiceError::Failed(_) => (StatusCode::BAD_GATEWAY, "service_failed"),
        ServiceError::TimedOut(_) => (StatusCode::GATEWAY_TIMEOUT, "unknown_outcome"),
        ServiceError::Fenced(_) => (StatusCode::CONFLICT, "fenced"),
        ServiceError::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad_request"),
    };
    Problem::new(status, code, format!("service {name}: {error}"))
}
