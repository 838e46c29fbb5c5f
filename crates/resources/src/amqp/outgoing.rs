//! `amqp_outgoing`

use crate::{
    Kind,
    declaration::declare,
    field_rules::{
        flag, optional, optional_number, reference, required, required_or_empty, text_or,
    },
    sending, text_rules,
};

/// The longest `expiration_ms`: what RabbitMQ takes, about 49 days.
const EXPIRATION_MS_MAX: u64 = u32::MAX as u64;

declare! {
    /// `amqp_outgoing`: its fields hold for messages that bring no such properties themselves.
    pub struct AmqpOutgoing {
        /// The name of the outgoing.
        name: String = required(text_rules::name);
        /// The `amqp_connection` that it uses.
        connection: String = reference(Kind::AmqpConnection);
        /// The exchange that it publishes to; it must exist. Empty is the default exchange,
        /// which leads to the queue whose name is the routing key.
        exchange: String = required_or_empty(
            text_rules::amqp_text_or_none,
            "is required: the name of an exchange, or \"\" for the default one, which leads to the queue that `routing_key` names",
        );
        /// The routing key. Without one each message to the default exchange brings its own.
        routing_key: String = text_or("", text_rules::amqp_text_or_none);
        /// 1 is transient, 2 is persistent.
        delivery_mode: u8 = sending::DELIVERY_MODE;
        /// 0 to 9, the highest.
        priority: u8 = sending::PRIORITY;
        /// The content type of messages that bring none.
        content_type: Option<String> = optional(text_rules::amqp_text);
        /// The content encoding of messages that bring none.
        content_encoding: Option<String> = optional(text_rules::amqp_text);
        /// How long a message may wait in its queue, in milliseconds; for ever otherwise.
        expiration_ms: Option<u64> = optional_number(EXPIRATION_MS_MAX);
        /// The application that messages are said to come from.
        app_id: Option<String> = optional(text_rules::amqp_text);
        /// Whether a queue must take a message. Otherwise it is the exchange's, whatever that
        /// does.
        mandatory: bool = flag(true);
        /// Inactive outgoings send nothing.
        active: bool = flag(true);
    }
}
