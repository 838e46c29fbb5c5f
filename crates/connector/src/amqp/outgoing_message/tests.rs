use std::time::Duration;

use bytes::Bytes;
use lapin::types::AMQPValue;
use quorate_resources::AmqpOutgoing;

use super::*;

fn target() -> AmqpOutgoing {
    serde_json::from_value(serde_json::json!({
        "name": "orders", "connection": "broker", "exchange": "shop", "routing_key": "orders",
        "delivery_mode": 2, "priority": 5, "content_type": "application/json",
        "content_encoding": "identity", "expiration_ms": 60000, "app_id": "shop-1", "mandatory": true,
    }))
    .unwrap()
}

fn message(properties: &[(&str, &str)]) -> OutgoingMessage {
    OutgoingMessage {
        message_id: String::new(),
        content_type: String::new(),
        properties: named(properties),
        body: Bytes::from_static(b"body"),
        cid: "K1".into(),
        within: Duration::from_secs(1),
        ..OutgoingMessage::default()
    }
}

fn named(pairs: &[(&str, &str)]) -> Vec<Header> {
    let header = |(name, value): &(&str, &str)| Header {
        name: (*name).to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    pairs.iter().map(header).collect()
}

fn text(value: &Option<ShortString>) -> &str {
    value.as_ref().map_or("-", |text| text.as_str())
}

fn refused(message: &OutgoingMessage) -> String {
    publish_request(&target(), message, "m", "guest")
        .err()
        .unwrap()
        .to_string()
}

#[test]
fn outgoing_settings_fill_missing_properties() {
    let request = publish_request(&target(), &message(&[]), "m-1", "guest").unwrap();
    assert_eq!(request.exchange.as_str(), "shop");
    assert_eq!(request.routing_key.as_str(), "orders");
    let told = &request.properties;
    assert_eq!(text(told.message_id()), "m-1");
    assert_eq!(text(told.content_type()), "application/json");
    assert_eq!(text(told.content_encoding()), "identity");
    assert_eq!(text(told.expiration()), "60000");
    assert_eq!(text(told.app_id()), "shop-1");
    assert_eq!(
        (*told.delivery_mode(), *told.priority()),
        (Some(2), Some(5))
    );
    assert!(told.timestamp().unwrap() > 1_700_000_000);
    assert_eq!((text(told.user_id()), text(told.reply_to())), ("-", "-"));
    let headers = told.headers().as_ref().unwrap().inner();
    assert_eq!(headers.len(), 1);
    assert_eq!(headers[CID], AMQPValue::LongString("K1".into()));
}

#[test]
fn message_overrides_outgoing_settings() {
    let mut message = message(&[
        ("exchange", ""),
        ("routing-key", "elsewhere"),
        ("priority", "9"),
        ("delivery-mode", "1"),
        ("expiration-ms", "5"),
        ("correlation-id", "c"),
        ("reply-to", "r"),
        ("type", "t"),
        ("app-id", "a"),
        ("content-encoding", "gzip"),
        ("timestamp", "7"),
        ("user-id", "guest"),
    ]);
    message.content_type = "text/plain".into();
    message.headers = named(&[("Trace", "1"), ("Trace", "2"), ("n", "3")]);
    let request = publish_request(&target(), &message, "m-1", "guest").unwrap();
    assert_eq!(request.exchange.as_str(), "");
    assert_eq!(request.routing_key.as_str(), "elsewhere");
    let told = &request.properties;
    assert_eq!(
        (*told.delivery_mode(), *told.priority()),
        (Some(1), Some(9))
    );
    assert_eq!((text(told.expiration()), *told.timestamp()), ("5", Some(7)));
    assert_eq!(
        (text(told.correlation_id()), text(told.reply_to())),
        ("c", "r")
    );
    assert_eq!((text(told.kind()), text(told.app_id())), ("t", "a"));
    assert_eq!(
        (text(told.content_encoding()), text(told.user_id())),
        ("gzip", "guest")
    );
    assert_eq!(text(told.content_type()), "text/plain");
    let headers = told.headers().as_ref().unwrap().inner();
    assert_eq!(headers["Trace"], AMQPValue::LongString("1, 2".into()));
    assert_eq!(headers["n"], AMQPValue::LongString("3".into()));
}

#[test]
fn a_queue_is_reached_through_the_default_exchange() {
    let request = publish_request(&target(), &message(&[("queue", "q")]), "m", "guest").unwrap();
    assert_eq!(
        (request.exchange.as_str(), request.routing_key.as_str()),
        ("", "q")
    );
    let both = refused(&message(&[("queue", "q"), ("routing-key", "k")]));
    assert!(
        both.contains("`queue` and `routing-key` exclude each other"),
        "{both}"
    );
}

#[test]
fn wrong_property_is_named() {
    let long = "x".repeat(256);
    for (name, value, part) in [
        (
            "user-id",
            "somebody",
            "only the user of the connection, \"guest\"",
        ),
        (
            "priority",
            "256",
            "`priority` is \"256\": it must be a number from 0 to 255",
        ),
        ("delivery-mode", "3", "from 1 to 2"),
        ("expiration-ms", "soon", "`expiration-ms` is \"soon\""),
        (
            "routing-key",
            &long,
            "`routing-key` is 256 bytes long; AMQP allows 255",
        ),
        ("priorty", "1", "no property `priorty`"),
    ] {
        let said = refused(&message(&[(name, value)]));
        assert!(said.contains(part), "{name}: {said}");
    }
    let twice = refused(&message(&[("type", "a"), ("type", "b")]));
    assert!(twice.contains("`type` is given twice"), "{twice}");
    let mut bytes = message(&[("type", "a")]);
    bytes.properties[0].value = Bytes::from_static(b"\xff");
    assert!(refused(&bytes).contains("must be UTF-8"));
    let mut named_long = message(&[]);
    named_long.headers = named(&[(&long, "v")]);
    assert!(refused(&named_long).contains("a header's name is 256 bytes long"));
}

#[test]
fn headers_have_given_types_and_delay_is_number() {
    let kinds = |pairs: &[(&str, &str)]| -> Vec<HeaderType> {
        let typed = |(name, kind): &(&str, &str)| HeaderType {
            name: (*name).to_owned(),
            kind: (*kind).to_owned(),
        };
        pairs.iter().map(typed).collect()
    };
    let mut message = message(&[]);
    message.headers = named(&[("n", "5"), ("t", r#"{"a":1}"#), ("x-delay", "5000")]);
    message.types = kinds(&[("n", "int"), ("t", "table"), ("other", "long")]);
    let request = publish_request(&target(), &message, "m-1", "guest").unwrap();
    let headers = request.properties.headers().as_ref().unwrap().inner();
    assert_eq!(headers["n"], AMQPValue::LongInt(5));
    assert!(matches!(headers["t"], AMQPValue::FieldTable(_)));
    assert_eq!(headers["x-delay"], AMQPValue::LongLongInt(5000));
    message.types = kinds(&[("n", "boolean")]);
    let said = refused(&message);
    assert!(said.contains("the header `n` is \"5\""), "{said}");
}

#[test]
fn stream_offset_header_is_not_sent_on() {
    let mut message = message(&[]);
    message.headers = named(&[("x-stream-offset", "7"), ("tenant", "a")]);
    let request = publish_request(&target(), &message, "m", "guest").unwrap();
    let headers = request.properties.headers().clone().unwrap();
    assert!(headers.contains_key("tenant"));
    assert!(!headers.contains_key("x-stream-offset"));
}
