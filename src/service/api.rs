//! What a service is: the public face for Rust programs that embed a member.

use std::{collections::BTreeMap, time::Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

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
    /// What the braces in the HTTP channel's path matched.
    pub params: BTreeMap<String, String>,
    /// Headers, without the hop-by-hop ones.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Where the call came from.
    pub origin: Origin,
    /// When the caller stops waiting.
    pub deadline: Instant,
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

impl Reply {
    /// 200 with a body of JSON.
    pub fn json(body: impl Into<Bytes>) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        Reply {
            status: StatusCode::OK,
            headers,
            body: body.into(),
        }
    }
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
    /// The deadline was over first; it may have run.
    #[error("no answer within {0} ms")]
    TimedOut(u64),
    /// A newer epoch than the message's has been applied; it did not run.
    #[error("epoch is older than {0}, which has been applied")]
    Fenced(u64),
}

/// Calls a service on some live member of the cluster.
#[async_trait]
pub trait Dispatch: Send + Sync + 'static {
    /// Runs `service` once: on a live member that carries it, chosen fairly. Tries another
    /// member only after one that surely did not run it.
    async fn dispatch(&self, service: &str, request: Request) -> Result<Reply, ServiceError>;
}
