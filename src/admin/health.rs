//! `/health`: yes or no by status alone, for HAProxy, Kubernetes and the like.
//!
//! `ready` asks for no quorum: HTTP services work without one, on the last applied
//! configuration, and a balancer that took every member out would stop them all.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    AdminContext,
    access::{self, Routes},
};

/// The paths. Every caller is answered, since the answer is no more than a status.
pub(super) const PATHS: [&str; 4] = [
    "/health/live",
    "/health/ready",
    "/leader",
    "/connector-server",
];

/// The routes.
pub(super) fn routes() -> Routes<AdminContext> {
    Routes::new()
        .on(&access::HEALTH_LIVE, live)
        .on(&access::HEALTH_READY, ready)
        .on(&access::HEALTH_LEADER, leader)
        .on(&access::HEALTH_CONNECTOR_SERVER, connector_server)
}

async fn live() -> Response {
    answer(true, json!({ "live": true }))
}

async fn ready(State(context): State<AdminContext>) -> Response {
    let draining = *context.draining.borrow();
    let state = context.cluster.state();
    // Until its first announcement is in, the others don't know which services it carries.
    let announced = state.announced_programs().contains_key(&context.me());
    // Others refuse its calls, and callers may refuse its port.
    let expired = context.tls.as_ref().is_some_and(|tls| tls.has_expired());
    let ready = !draining && announced && !expired;
    let applied = state.applied();
    answer(
        ready,
        json!({ "ready": ready, "draining": draining, "announced": announced, "applied": applied }),
    )
}

async fn leader(State(context): State<AdminContext>) -> Response {
    let leadership = context.leadership();
    let fresh = context.cluster.is_fresh(leadership.heard_at);
    let leads = leadership.leading && fresh;
    answer(leads, json!({ "leader": leads }))
}

async fn connector_server(State(context): State<AdminContext>) -> Response {
    let acting = context.connectors.reign().borrow().acting;
    answer(acting, json!({ "connector_server": acting }))
}

fn answer(yes: bool, body: Value) -> Response {
    let status = if yes {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(body)).into_response()
}
