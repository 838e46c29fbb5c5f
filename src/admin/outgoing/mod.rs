//! `POST /v1/outgoing/{kind}/{name}/send`: has the body sent, from any member.
//!
//! The connector server sends; another member passes the request on to it. During a takeover
//! the caller waits within its deadline: what surely was not sent is tried again, here or at
//! the next connector server; what may have been sent is never.

mod here;
mod once;
pub mod outcome;
mod room;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{
        DefaultBodyLimit, Path, RawQuery, State,
        rejection::{BytesRejection, PathRejection},
    },
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Uri};
use quorate_raft::MemberId;
use tokio::time::{sleep, timeout};

use super::{
    Context,
    peers::{PASSED_ON, PeerError},
    problem::Problem,
};
use crate::{
    connector::Backoff,
    state::{Kind, State as Replicated},
};
use outcome::{NOT_SENT, Outcome};

/// The largest message.
const BODY_MAX: usize = 64 << 20;
/// How long the caller waits, in milliseconds.
const WITHIN: HeaderName = HeaderName::from_static("quorate-within-ms");
const WITHIN_DEFAULT: Duration = Duration::from_secs(10);
const WITHIN_MAX: Duration = Duration::from_secs(20);
/// How much less time the connector server has than the member that waits for it.
const AHEAD: Duration = Duration::from_millis(100);
/// Between two tries under one reign.
const LOOK_FIRST: Duration = Duration::from_millis(10);
const LOOK_LAST: Duration = Duration::from_millis(250);
/// How long the word of a connector server is waited for once there is another one.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The route.
pub fn routes() -> Router<Context> {
    Router::new()
        .route("/v1/outgoing/{kind}/{name}/send", post(send))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn_with_state(room::Room::new(), room::within))
}

async fn send(
    State(context): State<Context>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Path((kind, name)) = path?;
    let kind = outgoing_kind(&kind)?;
    let deadline = Instant::now() + within(&headers)?;
    let order = here::Order::read(kind, name, &headers, query.as_deref(), body?)?;
    if headers.contains_key(PASSED_ON) {
        return Ok(order.send(&context, deadline).await.into_response());
    }
    let mut why = "there is no connector server at the moment".to_owned();
    let mut state = context.cluster.watch_state();
    let mut retry = Backoff::new(LOOK_FIRST, LOOK_LAST);
    loop {
        let reign = *state.borrow_and_update().reign();
        match attempt(&context, &order, &uri, &headers, deadline).await {
            Attempt::Answered(response) => return Ok(*response),
            Attempt::NotSent(reason) => why = reason,
            Attempt::Nobody => {}
        }
        let wait = retry.step();
        // So short a try would leave no time for the word of the one who is asked.
        if Instant::now() + wait + AHEAD >= deadline {
            return Ok(Outcome::NotSent(why).into_response());
        }
        // Another reign may be able to at once.
        let another = state.wait_for(|state| *state.reign() != reign);
        if timeout(wait, another).await.is_ok() {
            retry.reset();
        }
    }
}

/// What came of one try.
enum Attempt {
    Answered(Box<Response>),
    /// Surely not sent; trying again may help.
    NotSent(String),
    /// Nobody is the connector server.
    Nobody,
}

async fn attempt(
    context: &Context,
    order: &here::Order,
    uri: &Uri,
    headers: &HeaderMap,
    deadline: Instant,
) -> Attempt {
    let reign = *context.cluster.state().reign();
    let holder = reign.holder.filter(|_| !reign.released);
    if holder == Some(context.me()) {
        return match order.send(context, deadline).await {
            Outcome::NotSent(why) => Attempt::NotSent(why),
            outcome => Attempt::Answered(Box::new(outcome.into_response())),
        };
    }
    let Some(holder) = holder
        .and_then(|id| context.member(id))
        .filter(|holder| !context.is_silent(holder.id))
    else {
        return Attempt::Nobody;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let mut headers = headers.clone();
    // Its word is to come before the wait for it is over.
    let within = left.saturating_sub(AHEAD.min(left / 4));
    headers.insert(WITHIN, (within.as_millis() as u64).into());
    let path = uri.path_and_query().map_or("/", |it| it.as_str());
    let asked = context
        .peers
        .pass_on(&holder.member.admin, path, headers, order.body(), left);
    let asked = tokio::select! {
        asked = asked => asked,
        () = replaced(context, holder.id) => return match order.is_keyed() {
            // Whatever the old one has begun stands in the log, and it can't begin any more.
            true => Attempt::NotSent("the connector server has changed".into()),
            false => {
                let why = "the connector server that it was passed to fell silent, and there is another one";
                Attempt::Answered(Box::new(Outcome::Unknown(why.into()).into_response()))
            }
        },
    };
    match asked {
        Ok(answer) if answer.headers.contains_key(NOT_SENT) => {
            Attempt::NotSent(outcome::detail(&answer.body))
        }
        Ok(answer) => Attempt::Answered(Box::new(answer.into_response())),
        Err(error @ PeerError::NotAsked(..)) => Attempt::NotSent(error.to_string()),
        Err(error) => {
            let unknown = Outcome::Unknown(error.to_string());
            Attempt::Answered(Box::new(unknown.into_response()))
        }
    }
}

/// Returns when another member has been the connector server for a while.
async fn replaced(context: &Context, holder: MemberId) {
    let mut state = context.cluster.watch_state();
    let other = |state: &Arc<Replicated>| {
        let reign = state.reign();
        !reign.released && reign.holder.is_some_and(|it| it != holder)
    };
    if state.wait_for(other).await.is_err() {
        return std::future::pending().await;
    }
    sleep(LAST_WORD).await;
}

fn outgoing_kind(text: &str) -> Result<Kind, Problem> {
    text.parse::<Kind>()
        .ok()
        .filter(|kind| kind.is_outgoing())
        .ok_or_else(|| {
            let kinds = Kind::ALL.into_iter().filter(|kind| kind.is_outgoing());
            let kinds: Vec<_> = kinds.map(Kind::as_str).collect();
            Problem::not_found(format!(
                "there is no kind of outgoing {text:?}; the kinds are {}",
                kinds.join(", ")
            ))
        })
}

fn within(headers: &HeaderMap) -> Result<Duration, Problem> {
    let Some(text) = headers.get(WITHIN) else {
        return Ok(WITHIN_DEFAULT);
    };
    let number = text.to_str().ok().and_then(|it| it.parse::<u64>().ok());
    let within = number.map(Duration::from_millis);
    within
        .filter(|it| (Duration::ZERO..=WITHIN_MAX).contains(it))
        .ok_or_else(|| {
            Problem::bad_request(format!(
                "Quorate-Within-Ms is {text:?}; it must be a whole number of milliseconds, at most {}",
                WITHIN_MAX.as_millis()
            ))
        })
}
