//! `amqp_outgoing`

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{
    field_reader::{FieldReader, ParseOutcome},
    sending, text_rules, yes,
};

/// The longest `expiration_ms`: what RabbitMQ takes, about 49 days.
const EXPIRATION_MS_MAX: u64 = u32::MAX as u64;

/// `amqp_outgoing`. What it says of messages is what they get that say nothing themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmqpOutgoing {
    /// Its name.
    pub name: String,
    /// The `amqp_connection` that it uses.
    pub connection: String,
    /// The exchange that it publishes to; it must exist. Empty is the default exchange,
    /// which leads to the queue whose name is the routing key.
    pub exchange: String,
    /// The routing key. Without one each message to the default exchange brings its own.
    #[serde(default)]
    pub routing_key: String,
    /// 1 is transient, 2 is persistent.
    #[serde(default = "sending::default_delivery_mode")]
    pub delivery_mode: u8,
    /// 0 to 9, the highest.
    #[serde(default = "sending::default_priority")]
    pub priority: u8,
    /// The content type of messages that bring none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The content encoding of messages that bring none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// How long a message may wait in its queue, in milliseconds; for ever otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_ms: Option<u64>,
    /// The application that messages are said to come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Whether a queue must take a message. Otherwise it is the exchange's, whatever that does.
    #[serde(default = "yes")]
    pub mandatory: bool,
    /// Inactive outgoings send nothing.
    #[serde(default = "yes")]
    pub active: bool,
}

impl AmqpOutgoing {
    pub(crate) fn read(spec: &Value) -> ParseOutcome<Self> {
        let mut fields = FieldReader::new(spec);
        let name = fields.required("name", text_rules::name);
        let connection = fields.required("connection", text_rules::name);
        if !fields.has("exchange") {
            fields.refuse_unreadable(
                "exchange",
                "",
                "is required: the name of an exchange, or \"\" for the default one, which leads to the queue that `routing_key` names",
            );
        }
        let it = AmqpOutgoing {
            name,
            connection,
            exchange: fields
                .text("exchange", text_rules::amqp_text_or_none)
                .unwrap_or_default(),
            routing_key: fields
                .text("routing_key", text_rules::amqp_text_or_none)
                .unwrap_or_default(),
            delivery_mode: sending::delivery_mode(&mut fields),
            priority: sending::priority(&mut fields),
            content_type: fields.text("content_type", text_rules::amqp_text),
            content_encoding: fields.text("content_encoding", text_rules::amqp_text),
            expiration_ms: sending::expiration_ms(&mut fields, EXPIRATION_MS_MAX),
            app_id: fields.text("app_id", text_rules::amqp_text),
            mandatory: fields.flag("mandatory", yes()),
            active: fields.flag("active", yes()),
        };
        fields.finish(it)
    }
}
