//! The bound on memory for messages to be sent, all together.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::header::CONTENT_LENGTH;
use quorate_ipc::SendOutcome;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{BODY_MAX, outcome};

/// The bytes for the bodies of all messages that are under way here.
const ROOM: usize = 4 * BODY_MAX;
/// The least that a message counts for. So there are at most [`ROOM`] / [`LEAST`] messages, which
/// leaves connections of this API for everything else that it answers.
const LEAST: usize = 2 << 20;
/// The number of messages that may wait for room, and the time for which each does.
const WAITING: usize = 128;
const WAIT: Duration = Duration::from_secs(5);

/// The room that is left.
#[derive(Clone)]
pub(super) struct BodyBudget {
    /// Free units of [`LEAST`].
    left: Arc<Semaphore>,
    /// Free places to wait at.
    places: Arc<Semaphore>,
    wait: Duration,
}

impl BodyBudget {
    /// Makes a budget with all of its room free.
    pub(super) fn new() -> BodyBudget {
        BodyBudget {
            left: Arc::new(Semaphore::new(ROOM / LEAST)),
            places: Arc::new(Semaphore::new(WAITING)),
            wait: WAIT,
        }
    }
}

impl BodyBudget {
    async fn take(&self, units: u32) -> Option<OwnedSemaphorePermit> {
        if let Ok(held) = self.left.clone().try_acquire_many_owned(units) {
            return Some(held);
        }
        let _place = self.places.try_acquire().ok()?;
        let taking = self.left.clone().acquire_many_owned(units);
        timeout(self.wait, taking).await.ok()?.ok()
    }
}

/// Lets a request in once there is room for its body, before any of the body is read.
pub(super) async fn admit_request(
    State(room): State<BodyBudget>,
    request: Request,
    next: Next,
) -> Response {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|it| it.to_str().ok()?.parse::<usize>().ok());
    // A longer body is refused when it is read.
    let bytes = length.unwrap_or(BODY_MAX).min(BODY_MAX);
    let units = u32::try_from(bytes / LEAST + 1).unwrap_or(u32::MAX);
    match room.take(units).await {
        Some(_held) => next.run(request).await,
        None => outcome::into_response(SendOutcome::NotSent(format!(
            "{} messages, or {} MiB of them, are under way by this member already",
            ROOM / LEAST,
            ROOM >> 20
        ))),
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, middleware::from_fn_with_state, routing::post};
    use tower::ServiceExt;

    use super::*;

    /// Four of the largest size fit, a fifth does not; and all is given back.
    #[tokio::test]
    async fn only_so_many_bytes_are_under_way() {
        let room = BodyBudget {
            wait: Duration::from_millis(20),
            ..BodyBudget::new()
        };
        let app = Router::new()
            .route("/", post(async || std::future::pending::<()>().await))
            .layer(from_fn_with_state(room.clone(), admit_request));
        let ask = || {
            let request = Request::post("/").header(CONTENT_LENGTH, BODY_MAX - LEAST);
            app.clone().oneshot(request.body(Body::empty()).unwrap())
        };
        let four: Vec<_> = (0..4).map(|_| tokio::spawn(ask())).collect();
        tokio::task::yield_now().await;
        let fifth = ask().await.unwrap();
        assert_eq!(fifth.status(), 503);
        for one in four {
            one.abort();
            let _ = one.await;
        }
        assert_eq!(room.left.available_permits(), ROOM / LEAST);
    }
}
