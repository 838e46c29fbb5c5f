//! Calls of the API, and answers to them.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use super::ProblemAnswer;
use crate::cli::error::CliError;

/// The answer of a member.
#[derive(Debug)]
pub struct ApiAnswer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl ApiAnswer {
    /// Parses the body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CliError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            CliError::Refused(format!(
                "the answer is not understood ({error}); is that URL a member's admin port?"
            ))
        })
    }

    /// Returns the revision in `ETag`.
    pub fn revision(&self) -> Option<String> {
        let tag = self.headers.get(http::header::ETAG)?.to_str().ok()?;
        Some(tag.trim_matches('"').to_owned())
    }

    /// Reads the problem in the body.
    pub fn problem(&self) -> ProblemAnswer {
        ProblemAnswer::from_body(self.status, &self.body)
    }

    /// Returns the answer if it is a success, else its problem as an error.
    pub fn good(self) -> Result<ApiAnswer, CliError> {
        if self.status.is_success() {
            Ok(self)
        } else {
            Err(self.problem().into_failure())
        }
    }
}

/// A request that is tried at one URL after the other.
#[derive(Clone, Debug)]
pub struct ApiCall {
    pub(super) method: Method,
    pub(in crate::cli) path: String,
    pub(in crate::cli) headers: HeaderMap,
    pub(super) body: Bytes,
    manner: CallManner,
}

/// The manner in which the members are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallManner {
    /// Changes nothing and costs little: silent members aren't waited for.
    Read,
    /// Changes nothing and costs a member much: one member at a time.
    Costly,
    /// Changes something.
    Write,
}

impl ApiCall {
    /// Makes a request without a body. The path begins with `/` and is percent-encoded.
    pub fn new(method: Method, path: impl Into<String>) -> ApiCall {
        let manner = if method.is_safe() {
            CallManner::Read
        } else {
            CallManner::Write
        };
        ApiCall {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            manner,
        }
    }

    /// Returns the length of the body.
    pub(in crate::cli) fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// Marks the call as one that changes nothing, whatever its method, and makes the member work
    /// for long: it is sent again only where it is not worked on.
    pub fn costly(mut self) -> ApiCall {
        self.manner = CallManner::Costly;
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: http::HeaderName, value: &str) -> Result<ApiCall, CliError> {
        let parsed = http::HeaderValue::from_str(value)
            .map_err(|_| CliError::Usage(format!("{value:?} can't stand in a header")))?;
        self.headers.insert(name, parsed);
        Ok(self)
    }

    /// Adds a JSON body.
    pub fn json(mut self, body: &impl Serialize) -> ApiCall {
        self.headers.insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        let body = serde_json::to_vec(body);
        self.body = body
            .expect("invariant: what is sent has texts for keys")
            .into();
        self
    }

    /// Adds raw bytes.
    pub fn raw(mut self, body: impl Into<Bytes>) -> ApiCall {
        let kind = http::HeaderValue::from_static("application/octet-stream");
        self.headers.insert(http::header::CONTENT_TYPE, kind);
        self.body = body.into();
        self
    }

    /// Returns true if the call may be sent again, since it changes nothing.
    pub(super) fn is_read(&self) -> bool {
        self.manner != CallManner::Write
    }

    /// Returns true if no second member is to be asked while one may be at work on the call.
    pub(super) fn is_costly(&self) -> bool {
        self.manner == CallManner::Costly
    }
}
