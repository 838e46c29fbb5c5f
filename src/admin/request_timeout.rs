//! The limit of time for every request, so that none takes forever.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use tokio::time::timeout;

use super::{AdminContext, problem::ApiProblem};

/// The longest time for a request, its body included: longer than any handler's own deadline, since
/// handlers give better answers.
fn longest(context: &AdminContext) -> Duration {
    context.cluster.timing().failover * 4 + context.drain + Duration::from_secs(20)
}

/// Ends a request that takes too long.
pub(super) async fn enforce_timeout(
    State(context): State<AdminContext>,
    request: Request,
    next: Next,
) -> Response {
    let longest = longest(&context);
    let harmless = request.method().is_safe();
    match timeout(longest, next.run(request)).await {
        Ok(response) => response,
        Err(_) if harmless => {
            let detail = format!("there was no answer within {} ms", longest.as_millis());
            ApiProblem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).into_response()
        }
        Err(_) => {
            let detail = format!(
                "there was no outcome within {} ms; it may have been done or not",
                longest.as_millis()
            );
            ApiProblem::new(StatusCode::GATEWAY_TIMEOUT, "unknown_outcome", detail).into_response()
        }
    }
}
