//! `amqp_connection` and `amqp_channel`.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Hidden, fields::Fields, rules};
use crate::state::FieldError;

/// The longest wait between two tries, in milliseconds: a day.
const BACKOFF_MS_MAX: u64 = 86_400_000;

/// What keeps a second consumer off a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fence {
    /// The broker: an exclusive consumer.
    #[default]
    Exclusive,
}

/// `amqp_connection`
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmqpConnection {
    /// Its name.
    pub name: String,
    /// The broker's host.
    pub host: String,
    /// The broker's port.
    #[serde(default = "port")]
    pub port: u16,
    /// The virtual host.
    #[serde(default = "vhost")]
    pub vhost: String,
    /// The user.
    pub username: String,
    /// Never shown again; left out of a PUT or apply it means unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Seconds between heartbeats of the broker's connection.
    #[serde(default = "heartbeat_s")]
    pub heartbeat_s: u16,
    /// What keeps a second consumer off its queues.
    #[serde(default)]
    pub fence: Fence,
}

fn port() -> u16 {
    5672
}

fn vhost() -> String {
    "/".into()
}

fn heartbeat_s() -> u16 {
    2
}

impl AmqpConnection {
    pub(super) fn parse(spec: &Value) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::of(spec)?;
        let it = AmqpConnection {
            name: fields.required("name", rules::name),
            host: fields.required("host", rules::host),
            port: fields.number("port", port(), 1..=65_535),
            vhost: fields.text("vhost", rules::amqp_text).unwrap_or_else(vhost),
            username: fields.required("username", rules::amqp_text),
            password: fields.secret("password", rules::password),
            heartbeat_s: fields.number("heartbeat_s", heartbeat_s(), 1..=3600),
            fence: fields
                .one_of("fence", &[("exclusive", Fence::Exclusive)])
                .unwrap_or_default(),
        };
        fields.finish(it)
    }
}

impl fmt::Debug for AmqpConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpConnection")
            .field("name", &self.name)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("vhost", &self.vhost)
            .field("username", &self.username)
            .field("password", &Hidden::of(&self.password))
            .field("heartbeat_s", &self.heartbeat_s)
            .field("fence", &self.fence)
            .finish()
    }
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

impl OnFailure {
    fn read(outer: &mut Fields<'_>, queue: &str) -> Self {
        let default = OnFailure::default();
        let Some(mut fields) = outer.nested("on_failure") else {
            return default;
        };
        let it = OnFailure {
            retries: fields.number("retries", default.retries, 0..=100),
            backoff_ms: fields.number("backoff_ms", default.backoff_ms, 1..=BACKOFF_MS_MAX),
            backoff_max_ms: fields.number(
                "backoff_max_ms",
                default.backoff_max_ms,
                1..=BACKOFF_MS_MAX,
            ),
            dead_letter: fields.text("dead_letter", rules::amqp_text),
        };
        if it.backoff_max_ms < it.backoff_ms {
            fields.refuse(
                "backoff_max_ms",
                it.backoff_max_ms.to_string(),
                format!("must be at least backoff_ms, which is {}", it.backoff_ms),
            );
        }
        if it.dead_letter.as_deref() == Some(queue) {
            fields.refuse(
                "dead_letter",
                queue,
                "must be another queue than `queue`: a message that failed for good would come back for ever",
            );
        }
        outer.absorb(fields);
        it
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
    #[serde(default = "prefetch")]
    pub prefetch: u16,
    /// Stands before the consumer tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer_tag_prefix: Option<String>,
    /// What happens to a message that its service did not handle.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Inactive channels consume nothing.
    #[serde(default = "yes")]
    pub active: bool,
}

fn prefetch() -> u16 {
    10
}

fn yes() -> bool {
    true
}

impl AmqpChannel {
    pub(super) fn parse(spec: &Value) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::of(spec)?;
        let name = fields.required("name", rules::name);
        let queue = fields.required("queue", rules::amqp_text);
        let it = AmqpChannel {
            name,
            connection: fields.required("connection", rules::name),
            service: fields.required("service", rules::name),
            prefetch: fields.number("prefetch", prefetch(), 1..=1000),
            consumer_tag_prefix: fields.text("consumer_tag_prefix", rules::consumer_tag_prefix),
            on_failure: OnFailure::read(&mut fields, &queue),
            active: fields.flag("active", yes()),
            queue,
        };
        fields.finish(it)
    }
}
