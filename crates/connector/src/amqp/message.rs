//! Conversion of AMQP messages to those of the run loop, and properties of dead letters.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable, ShortString},
};
use quorate_proto::connector::{Header, HeaderType};

use super::{
    super::broker_link::{DeadLetterInfo, IncomingMessage},
    frame_size, header_value, stream,
};

/// Longest reason in a header, in bytes.
const REASON_MAX: usize = 1000;
/// Header with the number of earlier deliveries by a quorum queue.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// Header with the number of headers that a dead-lettered message was too large for.
const LEFT_OUT: &str = "x-quorate-headers-left-out";

/// Converts a delivery whose body has been taken out.
pub(super) fn read(delivery: &Delivery, body: Bytes) -> IncomingMessage {
    let properties = &delivery.properties;
    let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
    let named = [
        ("correlation-id", text(properties.correlation_id())),
        ("reply-to", text(properties.reply_to())),
        ("type", text(properties.kind())),
        ("app-id", text(properties.app_id())),
        ("user-id", text(properties.user_id())),
        ("cluster-id", text(properties.cluster_id())),
        ("content-encoding", text(properties.content_encoding())),
        ("expiration-ms", text(properties.expiration())),
        (
            "delivery-mode",
            properties.delivery_mode().map(|n| n.to_string()),
        ),
        ("priority", properties.priority().map(|n| n.to_string())),
        ("timestamp", properties.timestamp().map(|n| n.to_string())),
        ("exchange", Some(delivery.exchange.to_string())),
        ("routing-key", Some(delivery.routing_key.to_string())),
    ];
    let properties_told = named
        .into_iter()
        .filter_map(|(name, value)| {
            let value = value.filter(|value| !value.is_empty())?;
            Some(Header {
                name: name.to_owned(),
                value: value.into(),
            })
        })
        .collect();
    let (mut headers, mut types, mut left_out) = (Vec::new(), Vec::new(), 0);
    for (name, value) in properties.headers().iter().flatten() {
        let name = name.to_string();
        let Some((value, kind)) = header_value::to_text(value) else {
            left_out += 1;
            continue;
        };
        if !kind.is_empty() {
            types.push(HeaderType {
                name: name.clone(),
                kind: kind.to_owned(),
            });
        }
        headers.push(Header { name, value });
    }
    IncomingMessage {
        id: text(properties.message_id()).unwrap_or_default(),
        content_type: text(properties.content_type()).unwrap_or_default(),
        headers,
        types,
        headers_left_out: left_out,
        properties: properties_told,
        body,
        redelivered: delivery.redelivered,
        delivery_count: delivered(properties),
        ..IncomingMessage::default()
    }
}

/// Returns the position in the stream that the message came from, if any.
pub(super) fn offset(properties: &BasicProperties) -> Option<u64> {
    let headers = properties.headers().as_ref()?;
    match headers.inner().get(stream::OFFSET)? {
        AMQPValue::LongLongInt(n) => u64::try_from(*n).ok(),
        AMQPValue::LongInt(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

fn delivered(properties: &BasicProperties) -> u32 {
    let headers = properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get(DELIVERY_COUNT)) {
        Some(AMQPValue::LongLongInt(n)) => u32::try_from(*n).unwrap_or_default(),
        Some(AMQPValue::LongInt(n)) => u32::try_from(*n).unwrap_or_default(),
        _ => 0,
    }
}

/// Returns the properties of the copy for the dead-letter queue: as they were, but persistent;
/// without what would let the copy expire, be refused (`user-id` must be the publisher's), be sent
/// elsewhere (`CC`, `BCC`) or report deliveries from another queue; and with the reason. Where that
/// doesn't fit into `most` bytes, the longest headers are left out.
pub(super) fn dead_letter_properties(
    of: &BasicProperties,
    info: &DeadLetterInfo,
    most: usize,
) -> BasicProperties {
    let mut headers: BTreeMap<ShortString, AMQPValue> = of
        .headers()
        .as_ref()
        .map(|table| table.inner().clone())
        .unwrap_or_default();
    let elsewhere = ["CC", "BCC", DELIVERY_COUNT, stream::OFFSET];
    headers.retain(|name, _| !elsewhere.contains(&name.as_str()));
    let mut notes = BTreeMap::new();
    let mut note = |name: &str, value: AMQPValue| notes.insert(ShortString::from(name), value);
    note(
        "x-quorate-reason",
        AMQPValue::LongString(shortened(&info.reason).into()),
    );
    note("x-quorate-attempts", AMQPValue::LongUInt(info.attempts));
    note(
        "x-quorate-cid",
        AMQPValue::LongString(info.cid.as_str().into()),
    );
    note(
        "x-quorate-channel",
        AMQPValue::LongString(info.channel.as_str().into()),
    );
    let mut to = BasicProperties::default().with_delivery_mode(2);
    let mut keep = |value: &Option<ShortString>,
                    with: fn(BasicProperties, ShortString) -> BasicProperties| {
        if let Some(value) = value {
            to = with(std::mem::take(&mut to), value.clone());
        }
    };
    keep(of.content_type(), BasicProperties::with_content_type);
    keep(
        of.content_encoding(),
        BasicProperties::with_content_encoding,
    );
    keep(of.correlation_id(), BasicProperties::with_correlation_id);
    keep(of.reply_to(), BasicProperties::with_reply_to);
    keep(of.message_id(), BasicProperties::with_message_id);
    keep(of.kind(), BasicProperties::with_type);
    keep(of.app_id(), BasicProperties::with_app_id);
    if let Some(priority) = *of.priority() {
        to = to.with_priority(priority);
    }
    if let Some(timestamp) = *of.timestamp() {
        to = to.with_timestamp(timestamp);
    }
    let notes_alone = to.clone().with_headers(FieldTable::from(notes.clone()));
    let room = most.saturating_sub(frame_size::header(&notes_alone));
    let left_out = leave_out(&mut headers, room);
    headers.extend(notes);
    if left_out > 0 {
        headers.insert(LEFT_OUT.into(), AMQPValue::LongUInt(left_out));
    }
    to.with_headers(FieldTable::from(headers))
}

/// Leaves the longest headers out until the others fit; returns how many.
fn leave_out(headers: &mut BTreeMap<ShortString, AMQPValue>, room: usize) -> u32 {
    let mut sizes: Vec<(usize, ShortString)> = headers
        .iter()
        .map(|(name, value)| (frame_size::entry(name, value), name.clone()))
        .collect();
    let mut total: usize = sizes.iter().map(|(bytes, _)| bytes).sum();
    if total <= room {
        return 0;
    }
    let room = room.saturating_sub(frame_size::entry(&LEFT_OUT.into(), &AMQPValue::LongUInt(0)));
    sizes.sort();
    let mut left_out = 0;
    while total > room
        && let Some((bytes, name)) = sizes.pop()
    {
        total -= bytes;
        headers.remove(&name);
        left_out += 1;
    }
    left_out
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(REASON_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letter_keeps_properties_and_has_reason() {
        let mut headers = FieldTable::default();
        headers.insert("order".into(), AMQPValue::LongString("7".into()));
        headers.insert("CC".into(), AMQPValue::LongString("elsewhere".into()));
        let of = BasicProperties::default()
            .with_headers(headers)
            .with_content_type("application/json".into())
            .with_message_id("m-1".into())
            .with_user_id("somebody".into())
            .with_expiration("1000".into())
            .with_delivery_mode(1)
            .with_priority(3);
        let info = DeadLetterInfo {
            reason: "é".repeat(800),
            attempts: 4,
            cid: "K1".into(),
            channel: "orders".into(),
        };
        let to = dead_letter_properties(&of, &info, 131_000);
        assert_eq!(
            to.content_type().as_ref().unwrap().as_str(),
            "application/json"
        );
        assert_eq!(to.message_id().as_ref().unwrap().as_str(), "m-1");
        assert_eq!((*to.delivery_mode(), *to.priority()), (Some(2), Some(3)));
        assert_eq!((to.user_id(), to.expiration()), (&None, &None));
        let headers = to.headers().as_ref().unwrap().inner();
        assert!(headers.contains_key("order") && !headers.contains_key("CC"));
        assert_eq!(headers["x-quorate-attempts"], AMQPValue::LongUInt(4));
        let AMQPValue::LongString(reason) = &headers["x-quorate-reason"] else {
            panic!()
        };
        assert_eq!(reason.as_bytes(), "é".repeat(500).as_bytes());
    }

    #[test]
    fn dead_letter_fits_frame_and_counts_left_out() {
        let mut headers = FieldTable::default();
        for n in 0..1000 {
            let text = "v".repeat(if n < 10 { 10_000 } else { 20 });
            headers.insert(
                format!("h{n:03}").into(),
                AMQPValue::LongString(text.into()),
            );
        }
        headers.insert(DELIVERY_COUNT.into(), AMQPValue::LongLongInt(7));
        let of = BasicProperties::default().with_headers(headers);
        let info = DeadLetterInfo {
            reason: "r".repeat(2000),
            attempts: 1,
            cid: "K".into(),
            channel: "orders".into(),
        };
        let to = dead_letter_properties(&of, &info, 60_000);
        assert!(
            frame_size::header(&to) <= 60_000,
            "{}",
            frame_size::header(&to)
        );
        let headers = to.headers().as_ref().unwrap().inner();
        assert_eq!(headers[LEFT_OUT], AMQPValue::LongUInt(8));
        assert!(headers.contains_key("h999") && !headers.contains_key("h009"));
        assert!(headers.contains_key("x-quorate-reason"));
        assert!(!headers.contains_key(DELIVERY_COUNT));
        let whole = dead_letter_properties(&of, &info, 1_000_000);
        let headers = whole.headers().as_ref().unwrap().inner();
        assert!(headers.contains_key("h009") && !headers.contains_key(LEFT_OUT));
    }

    #[test]
    fn properties_are_handed_on_unless_empty() {
        let mut headers = FieldTable::default();
        headers.insert("n".into(), AMQPValue::LongInt(-5));
        headers.insert("table".into(), AMQPValue::FieldTable(FieldTable::default()));
        headers.insert(DELIVERY_COUNT.into(), AMQPValue::LongLongInt(3));
        let mut delivery = Delivery::mock(1, "".into(), "orders".into(), true, vec![]);
        delivery.properties = BasicProperties::default()
            .with_headers(headers)
            .with_correlation_id("c".into());
        let message = read(&delivery, Bytes::from_static(b"body"));
        assert!(message.redelivered);
        let pairs = |headers: &[Header]| -> Vec<String> {
            headers
                .iter()
                .map(|header| format!("{}={}", header.name, String::from_utf8_lossy(&header.value)))
                .collect()
        };
        let told = ["n=-5", "table={}", "x-delivery-count=3"];
        assert_eq!(pairs(&message.headers), told);
        let types = message.types.iter().map(|it| it.kind.as_str());
        assert_eq!(types.collect::<Vec<_>>(), ["int", "table", "long"]);
        assert_eq!(message.delivery_count, 3);
        assert_eq!(
            pairs(&message.properties),
            ["correlation-id=c", "routing-key=orders"]
        );
    }
}
