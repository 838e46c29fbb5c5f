//! The bound on memory for messages to be sent, all together.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use quorate_ipc::SendOutcome;

use super::{BODY_MAX, outcome};
use crate::admin::body_budget::BodyBudget;

/// The bytes for the bodies of all messages that are under way here.
const ROOM: usize = 4 * BODY_MAX;
/// The least that a message counts for. So there are at most [`ROOM`] / [`LEAST`] messages, which
/// leaves connections of this API for everything else that it answers.
const LEAST: usize = 2 << 20;

/// Makes the budget.
pub(super) fn budget() -> BodyBudget {
    BodyBudget::new(ROOM, LEAST, BODY_MAX)
}

/// Lets a message in once there is room for its body, before any of the body is read.
pub(super) async fn admit_request(
    State(budget): State<BodyBudget>,
    request: Request,
    next: Next,
) -> Response {
    match budget.take(request.headers(), BODY_MAX).await {
        Some(_held) => next.run(request).await,
        None => {
            let (mib, messages) = budget.bounds();
            outcome::into_response(SendOutcome::NotSent(format!(
                "{messages} messages, or {mib} MiB of them, are under way by this member already"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{Router, body::Body, middleware::from_fn_with_state, routing::post};
    use http::header::CONTENT_LENGTH;
    use tower::ServiceExt;

    use super::*;

    /// Four of the largest size fit, a fifth does not; and all is given back.
    #[tokio::test]
    async fn only_so_many_bytes_are_under_way() {
        let room = budget().with_wait(Duration::from_millis(20));
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
        assert!(room.is_free());
    }
}
