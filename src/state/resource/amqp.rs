//! `amqp_connection` and `amqp_channel`.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use url::Url;

use super::{Hidden, fields::Fields, rules};
use crate::state::FieldError;

/// The longest wait between two tries, in milliseconds: a day.
const BACKOFF_MS_MAX: u64 = 86_400_000;

/// What keeps a second consumer off a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fence {
    /// The broker: an exclusive consumer. A takeover has nothing to wait for, unless the
    /// old connection hangs: then for the broker to give it up, or for `management_url`.
    #[default]
    Exclusive,
    /// The lease alone: a takeover waits until no earlier lease can run, and then consumes
    /// at once. For queues that others consume too.
    Lease,
}

/// What the members that don't run a channel have of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standby {
    /// On every other voter a process that is connected and consumes nothing.
    #[default]
    Warm,
    /// Nothing: for brokers that count connections. A takeover starts the process.
    Cold,
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
    /// Where RabbitMQ's management API answers, for example `http://rabbit:15672`. With it
    /// a takeover closes the connection of a connector server that hangs or has vanished.
    /// User name and password may stand in it, and are not shown again; otherwise they are
    /// `username` and `password`. The user needs the tag `management`, to close the
    /// connections of another user `administrator`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management_url: Option<String>,
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
                .one_of(
                    "fence",
                    &[("exclusive", Fence::Exclusive), ("lease", Fence::Lease)],
                )
                .unwrap_or_default(),
            management_url: fields.secret("management_url", rules::management_url),
        };
        fields.finish(it)
    }

    /// `management_url` without user name and password: what may be shown.
    pub fn management_url_shown(&self) -> Option<String> {
        let text = self.management_url.as_ref()?;
        Some(match Url::parse(text).ok().filter(has_credentials) {
            Some(url) => bare(url).into(),
            None => text.clone(),
        })
    }

    /// The `management_url` of `before` with its credentials, if this one is the same
    /// without them: what was shown without them and is put again loses none.
    pub(in crate::state) fn management_url_kept(&self, before: &Self) -> Option<String> {
        let parsed = |it: &Self| Url::parse(it.management_url.as_deref()?).ok();
        let (here, there) = (parsed(self)?, parsed(before)?);
        let lost = !has_credentials(&here) && has_credentials(&there) && bare(there) == here;
        before.management_url.clone().filter(|_| lost)
    }
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn bare(mut url: Url) -> Url {
    // They can't fail: the URL has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
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
            .field("management_url", &self.management_url_shown())
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
    /// What the members that don't run it have of it.
    #[serde(default)]
    pub standby: Standby,
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
            standby: fields
                .one_of(
                    "standby",
                    &[("warm", Standby::Warm), ("cold", Standby::Cold)],
                )
                .unwrap_or_default(),
            on_failure: OnFailure::read(&mut fields, &queue),
            active: fields.flag("active", yes()),
            queue,
        };
        fields.finish(it)
    }
}
