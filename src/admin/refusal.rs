//! The refusals that more than one handler gives.

use axum::extract::rejection::{BytesRejection, JsonRejection};
use http::{Method, StatusCode, Uri};
use quorate_raft::{ProposeError, TransferError};

use super::problem::Problem;

/// A path that nothing answers.
pub async fn unknown_path(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no_such_path", format!("nothing answers {} here", uri.path()))
}

/// A path that is there, asked in a way that it does not answer.
pub async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// Nobody leads, as far as this member knows.
pub fn no_leader() -> Problem {
    let detail = "this member has not heard from a leader within the lease; try again in a moment";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_leader", detail)
}

/// A body that can't be read.
pub fn bad_json(rejection: &JsonRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "the body must be JSON, with Content-Type: application/json",
        ),
        _ => Problem::new(StatusCode::BAD_REQUEST, "bad_request", rejection.body_text()),
    }
}

/// A body that can't be read.
pub fn bad_bytes(rejection: &BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Problem::new(StatusCode::BAD_REQUEST, "bad_request", rejection.body_text()),
    }
}

fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is larger than this call takes")
}
