//! Problems that more than one handler answers.

use http::{Method, StatusCode, Uri};

use super::problem::ApiProblem;

/// Answers a path that does not exist.
pub async fn unknown_path(uri: Uri) -> ApiProblem {
    ApiProblem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("nothing answers {} here", uri.path()),
    )
}

/// Answers a method that the path does not take.
pub async fn wrong_method(method: Method, uri: Uri) -> ApiProblem {
    let detail = format!("{} does not take {method}", uri.path());
    ApiProblem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// Answers a call that needs a leader while this member knows of none.
pub fn no_leader() -> ApiProblem {
    let detail = "this member has not heard from a leader within the lease; try again in a moment";
    ApiProblem::new(StatusCode::SERVICE_UNAVAILABLE, "no_leader", detail)
}
