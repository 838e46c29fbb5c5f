//! Public interface of services, for Rust programs that embed a member.
//!
//! A service is a type with one method. It is registered under a name on every member whose program
//! carries it, and called for HTTP requests and for messages alike:
//!
//! ```
//! use quorate_service::{async_trait, Reply, Request, Service, ServiceError};
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
//! A service may count on this:
//! - At the request's deadline it is dropped where it awaits; it should not block the thread.
//! - A panic is caught and counts as [`ServiceError::Failed`]; the member lives on.
//! - A message comes at least once. A service that must not handle a message twice keeps its
//!   [`Message::id`]; one that must not handle a copy of the past compares [`Message::epoch`] with
//!   the greatest that it has seen and answers [`Reply::fenced`].

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use quorate_clock::Instant;

use super::params::Params;

/// Handler of requests and messages. Registered under a name; runs on every member whose program
/// registers it.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Handles one call. It is cancelled (dropped) at the request's deadline.
    async fn handle(&self, request: Request) -> Result<Reply, ServiceError>;
}

/// One call of a service.
#[derive(Clone, Debug)]
pub struct Request {
    /// Correlation id: `K` and 39 digits.
    pub cid: String,
    /// HTTP method; POST for messages.
    pub method: Method,
    /// Path, without the query; `/` for messages.
    pub path: String,
    /// Query string, without `?`.
    pub query: Option<String>,
    /// Values that the braces in the HTTP channel's path matched, decoded: a value may be `../x` or
    /// hold control characters, see [`Params`].
    pub params: Params,
    /// Headers, without the hop-by-hop ones.
    pub headers: HeaderMap,
    /// Whole body.
    pub body: Bytes,
    /// Origin of the call.
    pub origin: Origin,
    /// Time at which the caller stops waiting.
    pub deadline: Instant,
}

impl Request {
    /// Returns the time left until the deadline.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Origin of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An HTTP channel, by name; `None` for the built-in paths.
    Http(Option<String>),
    /// A connector's message.
    Message(Message),
    /// `POST /v1/services/{name}/invoke` of the admin API.
    Admin,
}

/// Coordinates of a message, by which a service can refuse a copy of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Kind of the channel, for example `amqp_channel`.
    pub kind: String,
    /// Name of the channel.
    pub channel: String,
    /// Epoch of the reign under which the message was taken from the queue.
    pub epoch: u64,
    /// Id of the message.
    pub id: String,
    /// Number of the try, from 1.
    pub attempt: u32,
}

/// Answer of a service.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status; 2xx means done: a message can be acknowledged.
    pub status: StatusCode,
    /// Headers of the answer.
    pub headers: HeaderMap,
    /// Whole body.
    pub body: Bytes,
}

/// Header by which a service refuses a message of an older epoch than one it has seen.
pub const FENCED: HeaderName = HeaderName::from_static("quorate-fenced");

impl Reply {
    /// Builds a status without a body.
    pub fn empty(status: StatusCode) -> Reply {
        Reply {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// Builds a 200 with a body of JSON.
    pub fn json(body: impl Into<Bytes>) -> Reply {
        Reply::typed(StatusCode::OK, "application/json", body.into())
    }

    /// Builds a status and a line for people. A number that is no status becomes 500.
    pub fn text(status: u16, body: impl Into<Bytes>) -> Reply {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Reply::typed(status, "text/plain; charset=utf-8", body.into())
    }

    /// Builds the refusal of a message whose epoch is older than one that the service has seen: the
    /// message goes back to its queue, and nothing counts as failed.
    pub fn fenced() -> Reply {
        let mut reply = Reply::empty(StatusCode::CONFLICT);
        reply
            .headers
            .insert(FENCED, HeaderValue::from_static("true"));
        reply
    }

    /// Returns true for such a refusal.
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

/// Reason why there is no reply.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum ServiceError {
    /// No such service here, or it can't be reached; it surely did not run.
    #[error("{0}")]
    NotRun(String),
    /// The service ran, or may have run, and failed.
    #[error("{0}")]
    Failed(String),
    /// The deadline was over first, after so many milliseconds; the service may have run.
    #[error("no answer within {}", format_duration(Duration::from_millis(*.0)))]
    TimedOut(u64),
    /// A newer epoch than the message's has been applied; the service did not run.
    #[error("the message's epoch is older than {0}, which has been applied")]
    Fenced(u64),
    /// The caller asked for what can't be: its own mistake, and the service did not run.
    #[error("{0}")]
    BadRequest(String),
}

/// Formats a time as it was set: `10 s`, `1500 ms`.
pub(crate) fn format_duration(time: Duration) -> String {
    let ms = time.as_millis();
    if ms > 0 && ms.is_multiple_of(1000) {
        format!("{} s", ms / 1000)
    } else {
        format!("{ms} ms")
    }
}

/// Check whether a call may still begin: a message may while the lease of its epoch runs.
pub type MayRun<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// Check of calls that depend on nothing.
pub const ALWAYS: MayRun<'static> = &|| true;

/// Caller of services on some live member of the cluster.
#[async_trait]
pub trait ServiceDispatch: Send + Sync + 'static {
    /// Runs `service` once: on a live member that carries it, chosen fairly. Tries another member
    /// only after one that surely did not run it, and only while `may_run` allows it.
    async fn dispatch(
        &self,
        service: &str,
        request: Request,
        may_run: MayRun<'_>,
    ) -> Result<Reply, ServiceError>;
}
