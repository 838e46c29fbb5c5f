//! Bounds on memory for the bodies of requests, all together.
//!
//! A request is let in once there is room for its body, before any of the body is read; until then
//! it waits, for a while and beside a bounded number of others. Where a request does not say how
//! long its body is, the longest counts that its path takes. Long bodies have half of the room, so
//! that a few slow ones keep no others out. Messages to be sent have a budget of their own, and
//! what asks for health needs no room.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, RETRY_AFTER, TRANSFER_ENCODING},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{health, invoke, problem::ApiProblem};

/// The number of requests that may wait for room, and the time for which each does.
const WAITING: usize = 128;
const WAIT: Duration = Duration::from_secs(5);

/// The bytes for the bodies of all requests but messages to be sent.
const ROOM: usize = 256 << 20;
/// The least that a body counts for.
const LEAST: usize = 64 << 10;
/// The longest body of these requests, and of most of them.
const LONGEST: usize = 64 << 20;
const USUAL: usize = 1 << 20;
/// The path of messages to be sent.
const SENDS: &str = "/v1/outgoing/";

/// The room that is left. Cheap to clone.
#[derive(Clone)]
pub(super) struct BodyBudget {
    /// Free units of `least`.
    left: Arc<Semaphore>,
    /// Free units for bodies of more than [`USUAL`] bytes, where others may be shorter.
    left_for_long: Option<Arc<Semaphore>>,
    /// Free places to wait at.
    places: Arc<Semaphore>,
    room: usize,
    least: usize,
    longest: usize,
    wait: Duration,
}

impl BodyBudget {
    /// Makes a budget of `room` bytes, all of it free, for bodies of `longest` bytes at most, which
    /// count for `least` bytes each at least.
    pub(super) fn new(room: usize, least: usize, longest: usize) -> BodyBudget {
        BodyBudget {
            left: Arc::new(Semaphore::new(room / least)),
            left_for_long: None,
            places: Arc::new(Semaphore::new(WAITING)),
            room,
            least,
            longest,
            wait: WAIT,
        }
    }

    /// Makes the budget of all requests but messages to be sent.
    pub(super) fn for_requests() -> BodyBudget {
        BodyBudget::new(ROOM, LEAST, LONGEST).with_half_for_long()
    }

    fn with_half_for_long(self) -> BodyBudget {
        let half = Semaphore::new(self.room / self.least / 2);
        BodyBudget {
            left_for_long: Some(Arc::new(half)),
            ..self
        }
    }

    #[cfg(test)]
    pub(super) fn with_wait(self, wait: Duration) -> BodyBudget {
        BodyBudget { wait, ..self }
    }

    #[cfg(test)]
    pub(super) fn is_free(&self) -> bool {
        self.left.available_permits() == self.room / self.least
    }

    /// Returns the bytes of all bodies, in MiB, and the number of the shortest ones that fit.
    pub(super) fn bounds(&self) -> (usize, usize) {
        (self.room >> 20, self.room / self.least)
    }

    /// Waits for room for the body of a request with these headers, on a path that takes `longest`
    /// bytes at most. `None`: there was none in time.
    pub(super) async fn take(&self, headers: &HeaderMap, longest: usize) -> Option<BodyPermit> {
        let longest = longest.min(self.longest);
        let length = headers.get(CONTENT_LENGTH);
        let length = length.and_then(|it| it.to_str().ok()?.parse::<usize>().ok());
        // A longer body is refused when it is read.
        let bytes = length.unwrap_or(longest).min(longest);
        let units = bytes.div_ceil(self.least).max(1);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let half = self.left_for_long.as_ref().filter(|_| bytes > USUAL);
        let (left, half) = (self.left.clone(), half.cloned());
        let taken_at_once = || {
            let of_half = half.clone().map(|it| it.try_acquire_many_owned(units));
            let of_half = of_half.transpose().ok()?;
            let of_all = left.clone().try_acquire_many_owned(units).ok()?;
            Some((of_all, of_half))
        };
        if let Some(held) = taken_at_once() {
            return Some(held);
        }
        let _place = self.places.try_acquire().ok()?;
        let taking = async {
            // First of the half: who waits for that keeps nothing from the others.
            let of_half = match &half {
                Some(half) => Some(half.clone().acquire_many_owned(units).await.ok()?),
                None => None,
            };
            Some((left.clone().acquire_many_owned(units).await.ok()?, of_half))
        };
        timeout(self.wait, taking).await.ok()?
    }
}

/// Room of one body, given back when it is dropped: of all, and of what long ones have.
pub(super) type BodyPermit = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// Returns the bytes of the longest body that a path takes.
fn longest_of(path: &str) -> usize {
    match path {
        "/v1/config/apply" | "/v1/config/validate" => LONGEST,
        _ if path.ends_with("/invoke") => invoke::BODY_MAX,
        _ => USUAL,
    }
}

/// Lets a request in once there is room for its body, if it has one.
pub(super) async fn admit_request(
    State(budget): State<BodyBudget>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let is_empty = headers.get(CONTENT_LENGTH).is_none_or(|it| it == "0")
        && !headers.contains_key(TRANSFER_ENCODING);
    let path = request.uri().path();
    if is_empty || path.starts_with(SENDS) || health::PATHS.contains(&path) {
        return next.run(request).await;
    }
    match budget.take(headers, longest_of(path)).await {
        Some(_held) => next.run(request).await,
        None => no_room(&budget),
    }
}

fn no_room(budget: &BodyBudget) -> Response {
    let (mib, _) = budget.bounds();
    let why = format!(
        "nothing was done: bodies of requests fill the {mib} MiB that this member has for them; try again, or ask another member"
    );
    let problem = ApiProblem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", why);
    let mut response = problem.into_response();
    let second = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, second);
    response
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, middleware::from_fn_with_state, routing::any};
    use tower::ServiceExt;

    use super::*;

    // Test 57.
    // guarantee: SECURITY-43
    #[tokio::test]
    async fn all_bodies_together_stay_under_the_budget() {
        let budget = BodyBudget::new(4 << 20, 1 << 20, 2 << 20);
        let budget = budget.with_wait(Duration::from_millis(20));
        let app = Router::new()
            .route(
                "/v1/config/apply",
                any(async || std::future::pending::<()>().await),
            )
            .route("/v1/outgoing/a/b/send", any(async || ()))
            .route("/empty", any(async || ()))
            .layer(from_fn_with_state(budget.clone(), admit_request));
        let ask = |path: &str, length: Option<usize>| {
            let request = Request::put(path);
            let request = match length {
                Some(length) => request.header(CONTENT_LENGTH, length),
                None => request.header(TRANSFER_ENCODING, "chunked"),
            };
            app.clone().oneshot(request.body(Body::empty()).unwrap())
        };
        // One of an unknown length counts as the longest.
        let held: Vec<_> = [Some((1 << 20) + 1), None]
            .map(|length| tokio::spawn(ask("/v1/config/apply", length)))
            .into();
        tokio::task::yield_now().await;
        let refused = ask("/v1/config/apply", Some(10)).await.unwrap();
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()[RETRY_AFTER], "1");
        for path in ["/empty", "/v1/outgoing/a/b/send"] {
            assert_eq!(ask(path, Some(0)).await.unwrap().status(), 200, "{path}");
        }
        for one in held {
            one.abort();
            let _ = one.await;
        }
        assert!(budget.is_free());
    }

    /// Slow long bodies leave room to short ones, and to what asks for health.
    #[tokio::test]
    async fn long_bodies_leave_room_to_others() {
        let budget = BodyBudget::new(8 << 20, 1 << 20, 4 << 20).with_half_for_long();
        let budget = budget.with_wait(Duration::from_millis(20));
        let take = async |length: Option<usize>, longest| {
            let mut headers = HeaderMap::new();
            if let Some(length) = length {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            budget.take(&headers, longest).await
        };
        let long = take(None, longest_of("/v1/config/validate")).await;
        assert!(long.is_some(), "four units of four");
        assert!(take(Some(2 << 20), LONGEST).await.is_none());
        let short: Vec<_> =
            futures_util::future::join_all((0..4).map(|_| take(None, longest_of("/v1/kv/a"))))
                .await;
        assert!(short.iter().all(Option::is_some));
        assert!(take(Some(1), USUAL).await.is_none(), "all is taken");
        drop((long, short));
        assert!(budget.is_free());
    }
}
