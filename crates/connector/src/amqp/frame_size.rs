//! How much of a frame headers and properties take.

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};

/// What a frame takes beside its content.
pub const FRAME_OVERHEAD_BYTES: usize = 8;
/// Class, weight, the body's size, and which properties there are.
const BEFORE: usize = 14;

/// The content header of a message with these properties; at most a few bytes less.
pub fn header(of: &BasicProperties) -> usize {
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

/// One entry of a table.
pub fn entry(name: &ShortString, of: &AMQPValue) -> usize {
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
    // Its type is said in a byte.
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
