//! Problems of the administration API: `application/problem+json` (RFC 9457).
//!
//! Programs go by `code`, which never changes its meaning; people read `detail`.
//!
//! | code | status | meaning |
//! |---|---|---|
//! | `bad_request` | 400 | the request can't be read |
//! | `future_revision` | 400 | the log does not go that far: the revision is of another cluster |
//! | `forbidden_host` | 403 | `Host` is none of this member's names |
//! | `forbidden_origin` | 403 | a browser asks for a page from elsewhere |
//! | `header_required` | 403 | a browser's write lacks `Quorate-Requested-By` |
//! | `unauthenticated` | 401 | nobody is known by what the request bears |
//! | `forbidden` | 403 | a verb on a scope is missing, which the text names |
//! | `not_found` | 404 | there is no such thing |
//! | `method_not_allowed` | 405 | the path does not take this method |
//! | `conflict` | 409 | others depend on it: `referenced_by` |
//! | `paused` | 409 | the outgoing is paused or inactive |
//! | `compacted` | 410 | the changes that were asked for are not all kept any more: `oldest_revision` |
//! | `precondition_failed` | 412 | the thing has another `revision` (0: there is none) |
//! | `too_large` | 413 | the body is longer than this call takes |
//! | `unsupported_media_type` | 415 | the body is of a type that this call does not take |
//! | `invalid` | 422 | each bad field stands in `errors` |
//! | `too_many_failures` | 429 | too many logins failed from there: `Retry-After` |
//! | `refused` | 502 | surely not sent: the broker said no, and would again |
//! | `internal` | 500 | a fault of this program |
//! | `no_quorum` | 503 | surely not done: no leader took it in time |
//! | `no_leader` | 503 | this member knows of no leader |
//! | `too_many_keys` | 503 | surely not sent: no room for another idempotency key now |
//! | `too_many_watchers` | 503 | this member has as many watchers as it takes |
//! | `unavailable` | 503 | surely not done: the member that should do it can't now |
//! | `quota` | 507 | nothing was written: the cluster keeps as much as it may |
//! | `unknown_outcome` | 504 | it may have been done or not |

use std::time::Duration;

use axum::{
    Json,
    extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection},
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, Method, StatusCode, Uri,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use quorate_proto::command::FieldError;
use quorate_state::{Answer, OverQuota, SENDS_MAX, SENDS_OF_ONE_MAX, SendAdmission};
use quorate_types::{ProposeError, ReadError};
use serde::Serialize;

/// A field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldProblem {
    /// The field's name.
    pub field: String,
    /// The value that was given; secrets are hidden.
    pub value: String,
    /// The rule that the value breaks.
    pub problem: String,
}

impl FieldProblem {
    /// Describes a bad field.
    pub fn new(
        field: impl Into<String>,
        value: impl Into<String>,
        problem: impl Into<String>,
    ) -> FieldProblem {
        FieldProblem {
            field: field.into(),
            value: value.into(),
            problem: problem.into(),
        }
    }
}

impl From<FieldError> for FieldProblem {
    fn from(it: FieldError) -> Self {
        FieldProblem::new(it.field, it.value, it.problem)
    }
}

/// A problem as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ApiProblem(Box<ProblemBody>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ProblemBody {
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    /// The code, for programs.
    code: &'static str,
    /// The code in words.
    title: String,
    /// The text for people: what was wrong, where, and what would be right.
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    referenced_by: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_revision: Option<u64>,
    #[serde(skip)]
    retry_after_s: Option<u64>,
}

fn as_number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

impl ApiProblem {
    /// Makes a problem.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> ApiProblem {
        let mut title = code.replace('_', " ");
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        ApiProblem(Box::new(ProblemBody {
            status,
            code,
            title,
            detail: detail.into(),
            errors: Vec::new(),
            referenced_by: Vec::new(),
            revision: None,
            oldest_revision: None,
            retry_after_s: None,
        }))
    }

    /// Adds the first revision from which nothing is missing.
    pub fn with_oldest_revision(mut self, oldest: u64) -> ApiProblem {
        self.0.oldest_revision = Some(oldest);
        self
    }

    /// Makes the problem of a request by which nobody is known.
    pub fn unauthenticated(detail: impl Into<String>) -> ApiProblem {
        ApiProblem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    }

    /// Makes the problem of a caller who lacks a permission: `missing` is a verb on a scope.
    pub fn forbidden(missing: &str) -> ApiProblem {
        let verb = missing.split(' ').next().unwrap_or_default().to_owned();
        metrics::counter!("quorate_authz_denied_total", "verb" => verb).increment(1);
        let detail = format!(
            "you may not do this: it needs {missing}. Whoever may grant that puts it into a role of yours"
        );
        ApiProblem::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// Makes the problem of a source from which too many logins failed.
    pub fn too_many_failures(wait: Duration) -> ApiProblem {
        let seconds = wait.as_secs() + 1;
        let detail =
            format!("too many logins from this address have failed; try again in {seconds} s");
        let status = StatusCode::TOO_MANY_REQUESTS;
        let mut problem = ApiProblem::new(status, "too_many_failures", detail);
        problem.0.retry_after_s = Some(seconds);
        problem
    }

    /// Adds a sentence to the text for people.
    pub fn with_more(mut self, sentence: &str) -> ApiProblem {
        self.0.detail = format!("{}. {sentence}", self.0.detail);
        self
    }

    /// Makes the problem of a request that can't be read.
    pub fn bad_request(detail: impl Into<String>) -> ApiProblem {
        ApiProblem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// Makes the problem of a thing that does not exist.
    pub fn not_found(detail: impl Into<String>) -> ApiProblem {
        ApiProblem::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// Makes the problem of a fault of this program.
    pub fn internal(detail: impl Into<String>) -> ApiProblem {
        ApiProblem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// Makes the problem of a body that is too long.
    pub fn too_large(detail: impl Into<String>) -> ApiProblem {
        ApiProblem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    /// Makes the problem of a body that could not be read; `too_long` is the text for a body that
    /// is too long, with its bound and the remedy.
    pub fn unread(
        rejection: impl Into<ApiProblem>,
        too_long: impl FnOnce() -> String,
    ) -> ApiProblem {
        let problem = rejection.into();
        match problem.0.status {
            StatusCode::PAYLOAD_TOO_LARGE => ApiProblem::too_large(too_long()),
            _ => problem,
        }
    }

    /// Makes the problem of a call that needs a leader while this member knows of none.
    pub fn no_leader() -> ApiProblem {
        let detail =
            "this member has not heard from a leader within the lease; try again in a moment";
        ApiProblem::new(StatusCode::SERVICE_UNAVAILABLE, "no_leader", detail)
    }

    /// Makes the problem of fields that are wrong.
    pub fn invalid(
        detail: impl Into<String>,
        errors: impl IntoIterator<Item = impl Into<FieldProblem>>,
    ) -> ApiProblem {
        let mut problem = ApiProblem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail);
        problem.0.errors = errors.into_iter().map(Into::into).collect();
        problem
    }

    /// Returns the reason why a write to `thing` was not done; `None` when it was done.
    pub fn from_answer(subject: &str, answer: Answer) -> Option<ApiProblem> {
        Some(match answer {
            Answer::Done { .. }
            | Answer::SendAdmitted(SendAdmission::Fresh | SendAdmission::Known(_)) => {
                return None;
            }
            Answer::PreconditionFailed { revision } => {
                let detail = match revision {
                    0 => format!("there is no {subject}; nothing was written"),
                    _ => format!("{subject} has revision {revision}; nothing was written"),
                };
                let status = StatusCode::PRECONDITION_FAILED;
                let mut problem = ApiProblem::new(status, "precondition_failed", detail);
                problem.0.revision = Some(revision);
                problem
            }
            Answer::NotFound => ApiProblem::not_found(format!("there is no {subject}")),
            Answer::Invalid(errors) => {
                ApiProblem::invalid(format!("{subject} can't be like this"), errors)
            }
            Answer::Referenced(by) => {
                let detail = format!("{subject} can't be deleted: {} need it", by.join(", "));
                let mut problem = ApiProblem::new(StatusCode::CONFLICT, "conflict", detail);
                problem.0.referenced_by = by;
                problem
            }
            Answer::Ignored(why) => ApiProblem::new(StatusCode::CONFLICT, "conflict", why),
            Answer::Forbidden(missing) => ApiProblem::forbidden(&missing),
            Answer::Full(over) => ApiProblem::from(over),
            Answer::SendAdmitted(SendAdmission::Full) => ApiProblem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_keys",
                format!(
                    "nothing was sent to {subject}: the idempotency keys of the last ten minutes are kept, {SENDS_OF_ONE_MAX} of one outgoing and {SENDS_MAX} of all, and there is no room for another; try again later, or send without a key"
                ),
            ),
        })
    }

    /// Returns the code.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Returns the text for people.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let status = self.0.status;
        let retry_after_s = self.0.retry_after_s;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(seconds) = retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<OverQuota> for ApiProblem {
    fn from(over: OverQuota) -> Self {
        let detail = format!("nothing was written: {over}");
        ApiProblem::new(StatusCode::INSUFFICIENT_STORAGE, "quota", detail)
    }
}

impl From<ProposeError> for ApiProblem {
    fn from(error: ProposeError) -> Self {
        let (status, code) = match error {
            ProposeError::NoQuorum { .. } => (StatusCode::SERVICE_UNAVAILABLE, "no_quorum"),
            ProposeError::Refused(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            ProposeError::Sealed(_) => (StatusCode::SERVICE_UNAVAILABLE, "sealed"),
            ProposeError::Unknown(_) => (StatusCode::GATEWAY_TIMEOUT, "unknown_outcome"),
        };
        ApiProblem::new(status, code, error.to_string())
    }
}

impl From<ReadError> for ApiProblem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NoQuorum { .. } => ApiProblem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_quorum",
                format!("{error}; ?consistency=stale answers from what this member has applied"),
            ),
        }
    }
}

/// Answers a path that does not exist.
pub async fn unknown_path(uri: Uri) -> ApiProblem {
    ApiProblem::not_found(format!("nothing answers {} here", uri.path()))
}

/// Answers a method that the path does not take.
pub async fn wrong_method(method: Method, uri: Uri) -> ApiProblem {
    let detail = format!("{} does not take {method}", uri.path());
    ApiProblem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// Words axum's rejections anew where axum's own texts are for programmers.
fn unreadable(status: StatusCode, detail: String) -> ApiProblem {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            // Calls with another bound make the problem themselves.
            ApiProblem::too_large(
                "the body is longer than the 2 MiB that this call takes at most; what it is asked needs far less",
            )
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ApiProblem::new(
            status,
            "unsupported_media_type",
            "the body must be JSON, with Content-Type: application/json",
        ),
        status if status.is_server_error() => ApiProblem::new(status, "internal", detail),
        _ => ApiProblem::bad_request(detail),
    }
}

impl From<BytesRejection> for ApiProblem {
    fn from(it: BytesRejection) -> Self {
        unreadable(it.status(), it.body_text())
    }
}

impl From<JsonRejection> for ApiProblem {
    fn from(it: JsonRejection) -> Self {
        unreadable(it.status(), it.body_text())
    }
}

impl From<PathRejection> for ApiProblem {
    fn from(it: PathRejection) -> Self {
        unreadable(it.status(), it.body_text())
    }
}

impl From<QueryRejection> for ApiProblem {
    fn from(it: QueryRejection) -> Self {
        let text = it.body_text();
        let what = text.split_once(": ").map_or(&*text, |(_, what)| what);
        unreadable(it.status(), format!("the query can't be read: {what}"))
    }
}

#[cfg(test)]
mod tests;
