//! Settings of channels and outgoings, from the parent's JSON.

use serde::Deserialize;

/// `amqp_channel`, as far as consuming goes.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct AmqpChannelSettings {
    pub(super) name: String,
    pub(super) queue: String,
    #[serde(default)]
    pub(super) consumer_tag_prefix: Option<String>,
}

/// `amqp_outgoing`, as far as sending goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AmqpOutgoingSettings {
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) delivery_mode: u8,
    pub(super) priority: u8,
    #[serde(default)]
    pub(super) content_type: Option<String>,
    #[serde(default)]
    pub(super) content_encoding: Option<String>,
    #[serde(default)]
    pub(super) expiration_ms: Option<u64>,
    #[serde(default)]
    pub(super) app_id: Option<String>,
    pub(super) mandatory: bool,
}
