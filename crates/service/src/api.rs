//! What a service is: the public face for Rust programs that embed a member.
//!
//! A service is a type with one method. It is registered under a name on every member
//! whose program carries it, and called for HTTP requests and for messages alike:
//!
//! ```
//! use crate::{async_trait, Reply, Request, Service, ServiceError};
//!
//! struct Greet;
//!
//! #[async_trait]
//! impl Service for Greet {
//!     async fn handle(&self, request: Request) -> Result<Reply, ServiceError> {
//!         let Some(name) = request.params.get("name") else {
//!             return Ok(Reply::text(400, "who is to be greeted?"));
//!         };
//!         Ok(Reply::json(format!("{{\"hello\": {name:?}}}")))
//!     }
//! }
//! ```
//!
//! What a service may count on:
//! - At the request's deadline it is dropped where it awaits; it should not block the thread.
//! - A panic is caught and counts as [`ServiceError::SessionFailure`]; the member lives on.
//! - A message comes at least once. Whoever must not handle it twice keeps its
//!   [`Message::id`]; whoever must not handle a copy of the past compares [`Message::epoch`]
//!   with the greatest that it has seen and answers [`Reply::fenced`].

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use quorate_clock::Instant;

use super::params::Params;

/// Handles requests and messages. Registered under a name; runs on every member whose
/// program registers it.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Handles one call. It is cancelled (dropped) at the request's deadline.
    async fn handle(&self, request: Request) -> Result<Reply, ServiceError>;
}

/// One call of a service.
#[derive(Clone, Debug)]
pub struct Request {
    /// The correlation id: `K` and 39 digits.
    pub cid: String,
    /// The HTTP method; POST for messages.
    pub method: Method,
    /// The path, without the query; `/` for messages.
    pub path: String,
    /// The query string, without `?`.
    pub query: Option<String>,
    /// What the braces in the HTTP channel's path matched, decoded: a value may be `../x` or
    /// hold control characters, see [`Params`].
    pub params: Params,
    /// Headers, without the hop-by-hop ones.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Where the call came from.
    pub origin: Origin,
    /// When the caller stops waiting.
    pub deadline: Instant,
}

impl Request {
    /// What is left until the deadline.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Where a call came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An HTTP channel, by name; `None` for the paths that are built in.
    Http(Option<String>),
    /// A connector's message.
    Message(Message),
    /// `POST /v1/services/{name}/invoke` on the admin face.
    Admin,
}

/// The coordinates of a message: what a service needs to refuse a copy of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The channel's kind, for example `amqp_channel`.
    pub kind: String,
    /// The channel's name.
    pub channel: String,
    /// The epoch of the reign under which it was taken from the queue.
    pub epoch: u64,
    /// The message's id.
    pub id: String,
    /// 1 for the first try.
    pub attempt: u32,
}

/// What a service answers.
#[derive(Clone, Debug)]
pub struct Reply {
    /// 2xx means done: for a message, that it can be acked.
    pub status: StatusCode,
    /// Headers of the answer.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// The header by which a service refuses a message of an older epoch than one it has seen.
pub const FENCED: HeaderName = HeaderName::from_static("quorate-fenced");

impl Reply {
    /// A status without a body.
    pub fn empty(status: StatusCode) -> Reply {
        Reply {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// 200 with a body of JSON.
    pub fn json(body: impl Into<Bytes>) -> Reply {
        Reply::typed(StatusCode::OK, "application/json", body.into())
    }

    /// A status and a line for people. A number that is no status becomes 500.
    pub fn text(status: u16, body: impl Into<Bytes>) -> Reply {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Reply::typed(status, "text/plain; charset=utf-8", body.into())
    }

    /// The refusal of a message whose epoch is older than one that the service has seen: the
    /// message goes back to its queue, and nothing counts as failed.
    pub fn fenced() -> Reply {
        let mut reply = Reply::empty(StatusCode::CONFLICT);
        reply
            .headers
            .insert(FENCED, HeaderValue::from_static("true"));
        reply
    }

    /// Whether this is such a refusal.
    pub fn is_fenced(&self) -> bool {
        is_fenced(self.status, &self.headers)
    }

    fn typed(status: StatusCode, kind: &'static str, body: Bytes) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        Reply {
            status,
            headers,
            body,
        }
    }
}

pub(crate) fn is_fenced(status: StatusCode, headers: &HeaderMap) -> bool {
    let refusal = headers.get(FENCED);
    status == StatusCode::CONFLICT
        && refusal.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// Why there is no reply.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum ServiceError {
    /// No such service here, or it can't be reached; it surely did not run.
    #[error("{0}")]
    NotRun(String),
    /// It ran, or may have run, and failed.
    #[error("{0}")]
    Failed(String),
    /// The deadline was over first, after so many milliseconds; it may have run.
    #[error("no answer within {}", format_duration(Duration::from_millis(*.0)))]
    TimedOut(u64),
    /// A newer epoch than the message's has been applied; it did not run.
    #[error("the message's epoch is older than {0}, which has been applied")]
    Fenced(u64),
    /// What the caller asked for can't be: its own mistake, and the service did not run.
    #[error("{0}")]
    BadRequest(String),
}

/// A time as it was set: `10 s`, `1500 ms`.
pub(crate) fn format_duration(time: Duration) -> String {
    let ms = time.as_millis();
    if ms > 0 && ms.is_multiple_of(1000) {
        format!("{} s", ms / 1000)
    } else {
        format!("{ms} ms")
    }
}

/// Whether a call may still begin. A message may while the lease of its epoch runs.
pub type MayRun<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// The permit of calls that depend on nothing.
pub const ALWAYS: MayRun<'static> = &|| true;

/// Calls a service on some live member of the cluster.
#[async_trait]
pub trait ServiceDispatch: Send + Sync + 'static {
    /// Runs `service` once: on a live member that carries it, chosen fairly. Tries another
    /// member only after one that surely did not run it, and only while `permit` says yes.
    async fn dispatch(
        &self,
        service: &str,
        request: Request,
        permit: MayRun<'_>,
    ) -> Result<Reply, ServiceError>;
}
