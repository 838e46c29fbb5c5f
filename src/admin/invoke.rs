//! `POST /v1/services/{name}/invoke`: runs a service with the body.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{
        Path, RawQuery, State,
        rejection::{BytesRejection, PathRejection},
    },
    response::Response,
};
use http::{HeaderMap, Method, StatusCode};
use quorate_clock::Instant;
use quorate_resources::Kind;
use quorate_service::{
    Origin, Reply, Request, ServiceError,
    headers::{strip_hop_by_hop, strip_identity, strip_ours},
};
use quorate_state as state;

use super::{
    AdminContext,
    access::{self, Routes},
    problem::ApiProblem,
};

/// The largest body.
pub(super) const BODY_MAX: usize = 16 << 20;

/// The longest time that a caller waits here; the service's own limit is mostly shorter.
const WAIT: std::time::Duration = std::time::Duration::from_secs(20);

/// The route.
pub(super) fn routes() -> Routes<AdminContext> {
    Routes::new().on(&access::INVOKE, invoke).body_max(BODY_MAX)
}

/// The text for a body that is too long.
fn too_long() -> String {
    format!(
        "the service was not called: a body has at most {} MiB here; send a longer one by a channel of the service, at the services' port",
        BODY_MAX >> 20
    )
}

async fn invoke(
    State(context): State<AdminContext>,
    name: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    mut headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiProblem> {
    let Path(name) = name?;
    let body = body.map_err(|rejection| ApiProblem::unread(rejection, too_long))?;
    for_service(&mut headers);
    let cid = quorate_service::http::cid::fresh();
    tracing::Span::current().record("cid", &cid);
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

/// Removes headers that only a connector may send, or a service that remembers the greatest epoch
/// would refuse every message from then on; and the credentials that the caller showed to this API
/// alone.
fn for_service(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    strip_ours(headers);
    strip_identity(headers);
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

/// Returns true if the catalog or some member's program has the service.
fn known(state: &state::State, name: &str) -> bool {
    let carried =
        |it: &Arc<state::AnnouncedProgram>| it.services.iter().any(|service| service == name);
    state.catalog().get(Kind::Service, name).is_some()
        || state.announced_programs().values().any(carried)
}

fn problem(name: &str, known: bool, error: ServiceError) -> ApiProblem {
    let (status, code) = match &error {
        ServiceError::NotRun(_) if known => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        ServiceError::NotRun(_) => (StatusCode::NOT_FOUND, "not_found"),
        ServiceError::Failed(_) => (StatusCode::BAD_GATEWAY, "service_failed"),
        ServiceError::TimedOut(_) => (StatusCode::GATEWAY_TIMEOUT, "unknown_outcome"),
        ServiceError::Fenced(_) => (StatusCode::CONFLICT, "fenced"),
        ServiceError::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad_request"),
    };
    ApiProblem::new(status, code, format!("service {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // guarantee: SECURITY-8
    #[test]
    fn forged_or_private_caller_headers_never_reach_service() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("quorate-epoch", "18446744073709551615"),
            ("quorate-channel", "orders"),
            ("quorate-message-id", "1"),
            ("quorate-attempt", "1"),
            ("quorate-header-a", "1"),
            ("quorate-requested-by", "console"),
            ("authorization", "Bearer secret"),
            ("proxy-authorization", "Basic secret"),
            ("cookie", "session=secret"),
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-host", "evil.example"),
            ("x-real-ip", "1.2.3.4"),
            ("x_forwarded_for", "1.2.3.4"),
            ("x_real_ip", "1.2.3.4"),
            ("client-cert", ":x:"),
            ("client_cert", ":x:"),
            ("client-cert-chain", ":x:"),
            ("sec_fetch_site", "same-origin"),
            ("origin", "http://127.0.0.1"),
            ("sec-fetch-site", "same-origin"),
            ("connection", "x-named"),
            ("x-named", "1"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("x-own", "kept".parse().unwrap());
        for_service(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(|name| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-type", "x-own"]);
    }
}
