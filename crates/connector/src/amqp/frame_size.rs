//! Size of headers and properties in a frame.

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};

/// Frame size, RabbitMQ's own. The connection asks for it because lapin makes room for 32 frames of
/// the size that the broker asks for, and a broker may set no bound.
pub(super) const FRAME_MAX: u32 = 131_072;
/// Bytes of a frame beside its content.
pub(super) const FRAME_OVERHEAD_BYTES: usize = 8;
/// Bytes of class, weight, the body's size, and property flags.
const BEFORE: usize = 14;

/// Returns the size of the content header of a message with these properties; at most a few bytes
/// too much.
pub(super) fn header(of: &BasicProperties) -> usize {
    let texts = [
        of.content_type(),
        of.content_encoding(),
        of.correlation_id(),
        of.reply_to(),
        of.expiration(),
        of.message_id(),
        of.kind(),
        of.user_id(),
        of.app_id(),
        of.cluster_id(),
    ];
    let short =
        |text: &Option<ShortString>| text.as_ref().map_or(0, |text| 1 + text.as_str().len());
    // Delivery mode, priority and timestamp.
    let numbers = 1 + 1 + 8;
    let headers = of.headers().as_ref().map_or(0, table);
    BEFORE + numbers + texts.into_iter().map(short).sum::<usize>() + headers
}

/// Returns the size of an entry of a table.
pub(super) fn entry(name: &ShortString, of: &AMQPValue) -> usize {
    1 + name.as_str().len() + value(of)
}

fn table(of: &FieldTable) -> usize {
    4 + of
        .inner()
        .iter()
        .map(|(name, of)| entry(name, of))
        .sum::<usize>()
}

fn value(of: &AMQPValue) -> usize {
    // Its type takes a byte.
    1 + match of {
        AMQPValue::Void => 0,
        AMQPValue::Boolean(_) | AMQPValue::ShortShortInt(_) | AMQPValue::ShortShortUInt(_) => 1,
        AMQPValue::ShortInt(_) | AMQPValue::ShortUInt(_) => 2,
        AMQPValue::LongInt(_) | AMQPValue::LongUInt(_) | AMQPValue::Float(_) => 4,
        AMQPValue::DecimalValue(_) => 5,
        AMQPValue::LongLongInt(_) | AMQPValue::Timestamp(_) | AMQPValue::Double(_) => 8,
        AMQPValue::ShortString(text) => 1 + text.as_str().len(),
        AMQPValue::LongString(text) => 4 + text.as_bytes().len(),
        AMQPValue::ByteArray(bytes) => 4 + bytes.as_slice().len(),
        AMQPValue::FieldArray(values) => 4 + values.as_slice().iter().map(value).sum::<usize>(),
        AMQPValue::FieldTable(inner) => table(inner),
    }
}
