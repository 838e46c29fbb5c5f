//! AMQP messages to and from what the run loop knows of a message.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable, ShortString},
};
use quorate_proto::connector::Header;

use super::super::link::{Epitaph, Message};

/// Longest reason in a header, in bytes.
const REASON_MAX: usize = 1000;

/// A delivery whose body has been taken out.
pub fn read(delivery: &Delivery, body: Bytes) -> Message {
    let properties = &delivery.properties;
    let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
    let named = [
        ("correlation-id", text(properties.correlation_id())),
        ("reply-to", text(properties.reply_to())),
        ("type", text(properties.kind())),
        ("app-id", text(properties.app_id())),
        ("user-id", text(properties.user_id())),
        ("content-encoding", text(properties.content_encoding())),
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
    let headers = properties.headers().iter().flatten();
    Message {
        id: text(properties.message_id()).unwrap_or_default(),
        content_type: text(properties.content_type()).unwrap_or_default(),
        headers: headers
            .filter_map(|(name, value)| {
                Some(Header {
                    name: name.to_string(),
                    value: told(value)?,
                })
            })
            .collect(),
        properties: properties_told,
        body,
        redelivered: delivery.redelivered,
        delivered: 0,
    }
}

/// A header's value as bytes; tables and arrays, which only brokers write, have none.
fn told(value: &AMQPValue) -> Option<Bytes> {
    Some(match value {
        AMQPValue::LongString(text) => text.as_bytes().to_vec().into(),
        AMQPValue::ShortString(text) => text.to_string().into(),
        AMQPValue::ByteArray(bytes) => bytes.as_slice().to_vec().into(),
        AMQPValue::Boolean(it) => it.to_string().into(),
        AMQPValue::ShortShortInt(n) => n.to_string().into(),
        AMQPValue::ShortShortUInt(n) => n.to_string().into(),
        AMQPValue::ShortInt(n) => n.to_string().into(),
        AMQPValue::ShortUInt(n) => n.to_string().into(),
        AMQPValue::LongInt(n) => n.to_string().into(),
        AMQPValue::LongUInt(n) => n.to_string().into(),
        AMQPValue::LongLongInt(n) => n.to_string().into(),
        AMQPValue::Timestamp(n) => n.to_string().into(),
        AMQPValue::Float(n) => n.to_string().into(),
        AMQPValue::Double(n) => n.to_string().into(),
        AMQPValue::DecimalValue(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::Void => {
            return None;
        }
    })
}

/// The properties of the copy that goes into the dead-letter queue: as they were, but
/// persistent; without what would let the copy expire, be refused (`user-id` must be the
/// publisher's) or be sent elsewhere (`CC`, `BCC`); and with why it is there.
pub fn buried(of: &BasicProperties, epitaph: &Epitaph) -> BasicProperties {
    let mut headers: BTreeMap<ShortString, AMQPValue> = of
        .headers()
        .as_ref()
        .map(|table| table.inner().clone())
        .unwrap_or_default();
    headers.retain(|name, _| !matches!(name.as_str(), "CC" | "BCC"));
    let mut note = |name: &str, value: AMQPValue| headers.insert(name.into(), value);
    note(
        "x-quorate-reason",
        AMQPValue::LongString(shortened(&epitaph.reason).into()),
    );
    note("x-quorate-attempts", AMQPValue::LongUInt(epitaph.attempts));
    note(
        "x-quorate-cid",
        AMQPValue::LongString(epitaph.cid.as_str().into()),
    );
    note(
        "x-quorate-channel",
        AMQPValue::LongString(epitaph.channel.as_str().into()),
    );
    let mut to = BasicProperties::default()
        .with_delivery_mode(2)
        .with_headers(FieldTable::from(headers));
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
    to
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
    fn a_buried_message_keeps_what_it_was_and_says_why_it_is_there() {
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
        let epitaph = Epitaph {
            reason: "é".repeat(800),
            attempts: 4,
            cid: "K1".into(),
            channel: "orders".into(),
        };
        let to = buried(&of, &epitaph);
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
    fn what_the_protocol_says_is_told_and_what_is_empty_is_not() {
        let mut headers = FieldTable::default();
        headers.insert("n".into(), AMQPValue::LongInt(-5));
        headers.insert("table".into(), AMQPValue::FieldTable(FieldTable::default()));
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
        assert_eq!(pairs(&message.headers), ["n=-5"]);
        assert_eq!(
            pairs(&message.properties),
            ["correlation-id=c", "routing-key=orders"]
        );
    }
}
