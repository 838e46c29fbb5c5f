//! `POST /v1/outgoing/{kind}/{name}/send`: sends the body, from any member.
//!
//! The connector server sends; another member passes the request on to it. During a takeover the
//! caller waits within its deadline: a message that surely was not sent is tried again, here or at
//! the next connector server. A message that may have been sent is not, except under a key, where
//! the log knows; and it is never reported as not sent (see [`send_attempts`]).

mod body_budget;
mod caller_attempts;
mod fingerprint;
mod idempotent_send;
mod local_send;
mod open_intents;
pub mod outcome;
mod send_attempts;

use std::time::Duration;

use axum::{
    extract::{
        Path, RawQuery, State,
        rejection::{BytesRejection, PathRejection},
    },
    middleware::from_fn_with_state,
    response::Response,
};
use bytes::Bytes;
use caller_attempts::CallerAttempts;
use http::{HeaderMap, HeaderName, Uri};
use quorate_clock::Instant;
use quorate_resources::Kind;

use super::{
    AdminContext,
    access::{self, Routes},
    caller::Caller,
    peers::PASSED_ON,
    problem::ApiProblem,
};

pub use open_intents::OpenIntents;

/// The largest message.
const BODY_MAX: usize = 64 << 20;
/// The time that the caller waits, in milliseconds.
const WITHIN: HeaderName = HeaderName::from_static("quorate-within-ms");
const WITHIN_DEFAULT: Duration = Duration::from_secs(10);
const WITHIN_MAX: Duration = Duration::from_secs(20);

/// The route.
pub(super) fn routes() -> Routes<AdminContext> {
    let budget = from_fn_with_state(body_budget::budget(), body_budget::admit_request);
    Routes::new()
        .on(&access::SEND, send)
        .body_max(BODY_MAX)
        .layers(|router| router.layer(budget))
}

async fn send(
    State(context): State<AdminContext>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiProblem> {
    let Path((kind, name)) = path?;
    let kind = outgoing_kind(&kind)?;
    let deadline = Instant::now() + within(&headers)?;
    let call = local_send::SendCall::read(kind, name, &headers, query.as_deref(), whole(body)?)?;
    if headers.contains_key(PASSED_ON) {
        let outcome = idempotent_send::send(&context, &call, deadline).await?;
        return Ok(outcome::into_response(outcome));
    }
    let mut attempts = CallerAttempts::new(&context, &caller, &call, &uri, &headers, deadline);
    let outcome = send_attempts::settle(call.is_keyed(), &mut attempts).await;
    Ok(outcome.unwrap_or_else(outcome::into_response))
}

/// Reads the message; the error names the bound for one that is too long, and the remedy.
fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, ApiProblem> {
    body.map_err(|rejection| {
        ApiProblem::unread(rejection, || {
            format!(
                "nothing was sent: a message has at most {} MiB here, whatever its broker takes; store a longer one where its reader can fetch it and send where that is, or send it in parts",
                BODY_MAX >> 20
            )
        })
    })
}

fn outgoing_kind(text: &str) -> Result<Kind, ApiProblem> {
    text.parse::<Kind>()
        .ok()
        .filter(|kind| kind.is_outgoing())
        .ok_or_else(|| {
            let kinds = Kind::ALL.into_iter().filter(|kind| kind.is_outgoing());
            let kinds: Vec<_> = kinds.map(Kind::as_str).collect();
            ApiProblem::not_found(format!(
                "there is no kind of outgoing {text:?}; the kinds are {}",
                kinds.join(", ")
            ))
        })
}

fn within(headers: &HeaderMap) -> Result<Duration, ApiProblem> {
    let Some(text) = headers.get(WITHIN) else {
        return Ok(WITHIN_DEFAULT);
    };
    let number = text.to_str().ok().and_then(|it| it.parse::<u64>().ok());
    let within = number.map(Duration::from_millis);
    within
        .filter(|it| (Duration::ZERO..=WITHIN_MAX).contains(it))
        .ok_or_else(|| {
            ApiProblem::bad_request(format!(
                "Quorate-Within-Ms is {text:?}; it must be a whole number of milliseconds, at most {}",
                WITHIN_MAX.as_millis()
            ))
        })
}

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        body::{Body, to_bytes},
        extract::DefaultBodyLimit,
        http::Request,
        routing::post,
    };
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn too_long_message_problem_names_bound_and_remedy() {
        async fn take(body: Result<Bytes, BytesRejection>) -> Result<(), ApiProblem> {
            whole(body).map(drop)
        }
        let face = Router::new()
            .route("/", post(take))
            .layer(DefaultBodyLimit::max(10));
        let request = Request::post("/").body(Body::from(vec![b'x'; 11])).unwrap();
        let refused = face.oneshot(request).await.unwrap();
        assert_eq!(refused.status(), 413);
        let body = to_bytes(refused.into_body(), 10_000).await.unwrap();
        let text = String::from_utf8_lossy(&body);
        for part in ["too_large", "64 MiB", "nothing was sent", "in parts"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
