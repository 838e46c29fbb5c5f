//! The refusals that more than one handler gives.

use http::{Method, StatusCode, Uri};

use super::problem::ApiProblem;

/// A path that nothing answers.
pub async fn unknown_path(uri: Uri) -> ApiProblem {
    ApiProblem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("nothing answers {} here", uri.path()),
    )
}

/// A path that is there, asked in a way that it does not answer.
pub async fn wrong_method(method: Method, uri: Uri) -> ApiProblem {
    let detail = format!("{} does not take {method}", uri.path());
    ApiProblem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// Nobody leads, as far as this member knows.
pub fn no_leader() -> ApiProblem {
    let detail = "this member has not heard from a leader within the lease; try again in a moment";
    ApiProblem::new(StatusCode::SERVICE_UNAVAILABLE, "no_leader", detail)
}
