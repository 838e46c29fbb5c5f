//! The resources that users declare, field by field. Their JSON form is public:
//! snake_case, defaults as documented, unknown fields refused.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Something that handles a request or a message.
    Service,
    /// A URL path that leads to a service.
    HttpChannel,
    /// An AMQP broker's address and credentials.
    AmqpConnection,
    /// A queue whose messages go to a service.
    AmqpChannel,
    /// A user name and password that an HTTP channel can ask for.
    BasicAuth,
    /// A key in a header that an HTTP channel can ask for.
    ApiKey,
}

impl Kind {
    /// Every kind, in the order in which resources can be created.
    pub const ALL: [Kind; 6] = [
        Kind::BasicAuth,
        Kind::ApiKey,
        Kind::Service,
        Kind::HttpChannel,
        Kind::AmqpConnection,
        Kind::AmqpChannel,
    ];

    /// The name used in REST, on the command line and in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Service => "service",
            Kind::HttpChannel => "http_channel",
            Kind::AmqpConnection => "amqp_connection",
            Kind::AmqpChannel => "amqp_channel",
            Kind::BasicAuth => "basic_auth",
            Kind::ApiKey => "api_key",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind that does not exist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "there is no resource kind {0:?}; the kinds are basic_auth, api_key, service, http_channel, amqp_connection, amqp_channel"
)]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// One URL or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Urls {
    /// `upstream: http://a`
    One(String),
    /// `upstream: [http://a, http://b]`
    Many(Vec<String>),
}

impl Urls {
    /// The URLs as a slice.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Urls::One(url) => std::slice::from_ref(url),
            Urls::Many(urls) => urls,
        }
    }
}

/// `service`: exactly one of `upstream` and `builtin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// HTTP URLs that handle its calls, tried in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Urls>,
    /// A service that the program carries in code (`ping`, `echo`, or one of an embedder's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<String>,
    /// Longest time for one call, in milliseconds.
    #[serde(default = "defaults::timeout_ms")]
    pub timeout_ms: u64,
    /// Further tries after a call that failed.
    #[serde(default)]
    pub retries: u32,
}

/// `http_channel`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpChannel {
    /// Its name.
    pub name: String,
    /// A path, with parameters in braces: `/orders/{id}`.
    pub path: String,
    /// The methods that it takes.
    #[serde(default = "defaults::methods")]
    pub methods: Vec<String>,
    /// The service that handles its requests.
    pub service: String,
    /// A `basic_auth` or `api_key` by `kind/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<String>,
    /// Inactive channels answer 404.
    #[serde(default = "defaults::yes")]
    pub active: bool,
    /// Larger bodies get 413. Bytes.
    #[serde(default = "defaults::max_body_bytes")]
    pub max_body_bytes: u64,
}

/// What keeps a second consumer off a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fence {
    /// The broker: an exclusive consumer.
    #[default]
    Exclusive,
}

/// `amqp_connection`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmqpConnection {
    /// Its name.
    pub name: String,
    /// The broker's host.
    pub host: String,
    /// The broker's port.
    #[serde(default = "defaults::amqp_port")]
    pub port: u16,
    /// The virtual host.
    #[serde(default = "defaults::vhost")]
    pub vhost: String,
    /// The user.
    pub username: String,
    /// Never shown again; left out of a PUT or apply it means unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Seconds between heartbeats of the broker's connection.
    #[serde(default = "defaults::heartbeat_s")]
    pub heartbeat_s: u16,
    /// What keeps a second consumer off its queues.
    #[serde(default)]
    pub fence: Fence,
}

/// What happens to a message that its service did not handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OnFailure {
    /// Further tries before it is dead-lettered.
    pub retries: u32,
    /// Before the first further try, in milliseconds; doubles each time.
    pub backoff_ms: u64,
    /// The longest of these, in milliseconds.
    pub backoff_max_ms: u64,
    /// The queue for messages that failed for good, reached through the default exchange.
    /// Without one they are rejected, so that the queue's own dead-letter exchange takes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<String>,
}

impl Default for OnFailure {
    fn default() -> Self {
        OnFailure {
            retries: 5,
            backoff_ms: 200,
            backoff_max_ms: 30_000,
            dead_letter: None,
        }
    }
}

/// `amqp_channel`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmqpChannel {
    /// Its name.
    pub name: String,
    /// The `amqp_connection` that it uses.
    pub connection: String,
    /// The queue that it consumes; it must exist.
    pub queue: String,
    /// The service that handles its messages.
    pub service: String,
    /// Most messages in flight at a time.
    #[serde(default = "defaults::prefetch")]
    pub prefetch: u16,
    /// Stands before the consumer tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer_tag_prefix: Option<String>,
    /// What happens to a message that its service did not handle.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Inactive channels consume nothing.
    #[serde(default = "defaults::yes")]
    pub active: bool,
}

/// `basic_auth`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// Its name.
    pub name: String,
    /// The user name asked for.
    pub username: String,
    /// Never shown again; left out of a PUT or apply it means unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// `api_key`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Its name.
    pub name: String,
    /// The request header that carries the key.
    #[serde(default = "defaults::api_key_header")]
    pub header: String,
    /// Never shown again; left out of a PUT or apply it means unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Any resource.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Resource {
    Service(Service),
    HttpChannel(HttpChannel),
    AmqpConnection(AmqpConnection),
    AmqpChannel(AmqpChannel),
    BasicAuth(BasicAuth),
    ApiKey(ApiKey),
}

mod defaults {
    pub fn yes() -> bool {
        true
    }
    pub fn timeout_ms() -> u64 {
        10_000
    }
    pub fn methods() -> Vec<String> {
        vec!["GET".into(), "POST".into()]
    }
    pub fn max_body_bytes() -> u64 {
        1 << 20
    }
    pub fn amqp_port() -> u16 {
        5672
    }
    pub fn vhost() -> String {
        "/".into()
    }
    pub fn heartbeat_s() -> u16 {
        2
    }
    pub fn prefetch() -> u16 {
        10
    }
    pub fn api_key_header() -> String {
        "X-API-Key".into()
    }
}
