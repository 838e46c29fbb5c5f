//! `/health`: yes or no by status alone, for HAProxy, Kubernetes and the like.
//!
//! `ready` asks for no quorum: HTTP services work without one, on the last applied
//! configuration, and a balancer that took every member out would stop them all. A member that has
//! lost its key can't open any secret, so it is not ready as long as another member can: a rolling
//! restart stops there, before the last member has lost its key, too.

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use http::StatusCode;
use quorate_vault::NoKey;
use serde_json::{Value, json};

use super::AdminContext;

/// The paths. Every caller is answered, since the answer is no more than a status.
pub(super) const PATHS: [&str; 4] = [
    "/health/live",
    "/health/ready",
    "/leader",
    "/connector-server",
];

/// The routes.
pub(super) fn routes() -> Router<AdminContext> {
    // HEAD goes with GET; HAProxy's own default is OPTIONS.
    let asked = MethodFilter::GET.or(MethodFilter::OPTIONS);
    Router::new()
        .route("/health/live", on(asked, live))
        .route("/health/ready", on(asked, ready))
        .route("/leader", on(asked, leader))
        .route("/connector-server", on(asked, connector_server))
}

async fn live() -> Response {
    answer(true, json!({ "live": true }))
}

async fn ready(State(context): State<AdminContext>) -> Response {
    let draining = *context.draining.borrow();
    let state = context.cluster.state();
    // Until its first announcement is in, the others don't know which services it carries.
    let announced = state.announced_programs().contains_key(&context.me());
    let missing_key = context.cluster.vault().missing_key(state.keyring());
    let key_lost = matches!(missing_key, Some(NoKey::OtherKey | NoKey::BadBox));
    let others_serve = state.keyring().is_held_beside(context.me());
    let ready = !draining && announced && !(key_lost && others_serve);
    let applied = state.applied();
    answer(
        ready,
        json!({ "ready": ready, "draining": draining, "announced": announced, "key_lost": key_lost, "applied": applied }),
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
