//! How an outgoing sends: what outgoings of several kinds share.

use super::field_reader::FieldReader;

/// `delivery_mode`
pub(super) fn delivery_mode(fields: &mut FieldReader<'_>) -> u8 {
    let choices = [(1, "transient"), (2, "persistent")];
    fields
        .one_of_numbers("delivery_mode", &choices)
        .unwrap_or_else(default_delivery_mode)
}

pub(super) fn default_delivery_mode() -> u8 {
    2
}

/// `priority`
pub(super) fn priority(fields: &mut FieldReader<'_>) -> u8 {
    fields.number("priority", default_priority(), 0..=9)
}

pub(super) fn default_priority() -> u8 {
    5
}

/// `expiration_ms`. Zero is refused: it means "at once" to AMQP and "never" to JMS.
pub(super) fn expiration_ms(fields: &mut FieldReader<'_>, most: u64) -> Option<u64> {
    let given = fields.has("expiration_ms");
    let number = fields.number("expiration_ms", 1, 1..=most);
    given.then_some(number)
}
