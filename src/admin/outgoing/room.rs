//! Bounds what messages to be sent take of this member's memory, all together.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::header::CONTENT_LENGTH;
use tokio::{sync::Semaphore, time::timeout};

use super::{BODY_MAX, outcome::Outcome};

/// For the bodies of all messages that are under way here.
const ROOM: usize = 4 * BODY_MAX;
/// What a message takes at least: its headers, and what is kept of it on the way.
const LEAST: usize = 16 << 10;
/// How long a message waits for room.
const WAIT: Duration = Duration::from_secs(5);

/// The room that is left.
#[derive(Clone)]
pub struct Room {
    /// In units of [`LEAST`].
    left: Arc<Semaphore>,
    wait: Duration,
}

impl Room {
    /// All of it.
    pub fn new() -> Room {
        Room {
            left: Arc::new(Semaphore::new(ROOM / LEAST)),
            wait: WAIT,
        }
    }
}

/// Lets a request in once there is room for its body, before any of that is read.
pub async fn within(State(room): State<Room>, request: Request, next: Next) -> Response {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|it| it.to_str().ok()?.parse::<usize>().ok());
    // A longer one is refused when it is read.
    let bytes = length.unwrap_or(BODY_MAX).min(BODY_MAX);
    let units = u32::try_from(bytes / LEAST + 1).unwrap_or(u32::MAX);
    match timeout(room.wait, room.left.acquire_many_owned(units)).await {
        Ok(Ok(_held)) => next.run(request).await,
        _ => Outcome::NotSent(format!(
            "messages of {} MiB are under way by this member already",
            ROOM >> 20
        ))
        .into_response(),
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
        let room = Room {
            wait: Duration::from_millis(20),
            ..Room::new()
        };
        let app = Router::new()
            .route("/", post(async || std::future::pending::<()>().await))
            .layer(from_fn_with_state(room.clone(), within));
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
