//! One attempt at one member, and its outcome.

use bytes::Bytes;
use http::StatusCode;
use quorate_platform::http_client::{ResponseError, read_bounded};
use quorate_types::error_chain::root_cause;
use url::Url;

use super::{AdminClient, ApiAnswer, ApiCall};

/// The longest answer that is read: a quarter of a million resources, and more.
const ANSWER_BYTES_MAX: usize = 512 << 20;

/// The outcome of a request at one URL.
pub(super) enum AttemptOutcome {
    /// An answer, whatever its status.
    Answered(ApiAnswer),
    /// The request never reached the member.
    NotSent(String),
    /// The request may have reached the member, and there is no answer.
    Lost(String),
    /// The request has reached a member, which did not answer in time.
    Late(String),
}

impl AdminClient {
    /// Sends a request to one member.
    pub(super) async fn try_at(&self, url: &Url, call: &ApiCall) -> AttemptOutcome {
        let target = format!("{}{}", bare(url), call.path);
        let request = self
            .http
            .request(call.method.clone(), target)
            .headers(call.headers.clone())
            .body(call.body.clone())
            .timeout(self.patience(call));
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() || error.is_builder() => {
                return AttemptOutcome::NotSent(cause(&error));
            }
            Err(error) => return lost(&error),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        match read_bounded(response, ANSWER_BYTES_MAX).await {
            Ok(body) if is_of_services(status, &body) => AttemptOutcome::NotSent(SERVICES.into()),
            Ok(body) => AttemptOutcome::Answered(ApiAnswer {
                status,
                headers,
                body,
            }),
            // The status is the outcome; only the text about it is lost.
            Err(_) if !call.is_read() && !status.is_server_error() => {
                AttemptOutcome::Answered(ApiAnswer {
                    status,
                    headers,
                    body: Bytes::new(),
                })
            }
            Err(ResponseError::Broken(error)) => lost(&error),
            Err(error @ ResponseError::TooLong(_)) => AttemptOutcome::Lost(error.to_string()),
        }
    }
}

/// The reason for a URL that is a member's, or the balancer's, but not the administration port's.
pub(super) const SERVICES: &str = "this is where services are called, not the admin port of a member, which is another (17110 unless admin.bind says otherwise)";

/// Returns true for the envelope by which the services' port answers that nothing is there.
pub(super) fn is_of_services(status: StatusCode, body: &[u8]) -> bool {
    let nothing = matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
    );
    nothing && body.trim_ascii_start().starts_with(b"{\"zato_env\"")
}

fn lost(error: &reqwest::Error) -> AttemptOutcome {
    if error.is_timeout() {
        AttemptOutcome::Late(cause(error))
    } else {
        AttemptOutcome::Lost(cause(error))
    }
}

/// Returns true if another member may do better with the same request: this one has no leader, is
/// leaving or is not up yet. All of these answer 503, and that nothing was done.
pub(super) fn surely_not_done(call: &ApiCall, answer: &ApiAnswer) -> bool {
    answer.status == StatusCode::SERVICE_UNAVAILABLE
        && (call.is_read() || answer.problem().code.is_some())
}

/// Returns a URL without its last slash.
pub(super) fn bare(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

/// Returns the innermost cause: "connection refused" and not "error sending request".
pub(super) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    root_cause(error)
}
