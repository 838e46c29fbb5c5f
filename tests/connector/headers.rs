//! Every property and every type of header: as the service gets it, and back out again.
//!
//! docs/connectors/amqp.md has it as a table.

use std::time::Duration;

use http::StatusCode;
use lapin::{
    BasicProperties,
    types::{AMQPValue, DecimalValue, FieldArray, FieldTable, ShortString},
};
use quorate_resources::Kind;
use quorate_service::api::Reply;
use serde_json::json;

use super::world::*;

fn table(entries: Vec<(&str, AMQPValue)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(name.into(), value);
    }
    table
}

/// Name, value, what the service gets, and the type that is listed.
fn headers() -> Vec<(&'static str, AMQPValue, &'static str, &'static str)> {
    let nested = table(vec![
        ("n", AMQPValue::LongLongInt(1)),
        ("text", AMQPValue::LongString("ü".into())),
    ]);
    let array = FieldArray::from(vec![AMQPValue::LongLongInt(1), AMQPValue::Boolean(true)]);
    let decimal = DecimalValue {
        scale: 2,
        value: 150,
    };
    let text = |text: &str| AMQPValue::LongString(text.into());
    vec![
        ("text", text("Grün"), "Grün", ""),
        ("lines", text("a\r\nX: y"), "a%0D%0AX:%20y", "percent"),
        ("edges", text(" a "), "%20a%20", "percent"),
        ("t-boolean", AMQPValue::Boolean(true), "true", "boolean"),
        ("t-byte", AMQPValue::ShortShortInt(-5), "-5", "byte"),
        ("t-ubyte", AMQPValue::ShortShortUInt(250), "250", "ubyte"),
        ("t-short", AMQPValue::ShortInt(-300), "-300", "short"),
        ("t-ushort", AMQPValue::ShortUInt(60_000), "60000", "ushort"),
        ("t-int", AMQPValue::LongInt(-70_000), "-70000", "int"),
        (
            "t-uint",
            AMQPValue::LongUInt(4_000_000_000),
            "4000000000",
            "uint",
        ),
        (
            "t-long",
            AMQPValue::LongLongInt(1 << 40),
            "1099511627776",
            "long",
        ),
        ("t-float", AMQPValue::Float(0.5), "0.5", "float"),
        ("t-double", AMQPValue::Double(-0.1), "-0.1", "double"),
        (
            "t-decimal",
            AMQPValue::DecimalValue(decimal),
            "1.50",
            "decimal",
        ),
        (
            "t-timestamp",
            AMQPValue::Timestamp(1_767_323_045),
            "1767323045",
            "timestamp",
        ),
        (
            "t-bytes",
            AMQPValue::ByteArray(vec![0xff, 0].into()),
            "%FF%00",
            "bytes",
        ),
        ("t-void", AMQPValue::Void, "", "void"),
        (
            "t-table",
            AMQPValue::FieldTable(nested),
            r#"{"n":1,"text":"ü"}"#,
            "table",
        ),
        ("t-array", AMQPValue::FieldArray(array), "[1,true]", "array"),
    ]
}

fn properties() -> BasicProperties {
    let mut all = FieldTable::default();
    for (name, value, ..) in headers() {
        all.insert(name.into(), value);
    }
    for (name, value) in [
        ("Müller", "umlaut"),
        ("sp ace", "space"),
        ("Ok", "1"),
        ("ok", "2"),
    ] {
        all.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    BasicProperties::default()
        .with_headers(all)
        .with_content_type("text/plain; charset=utf-8".into())
        .with_content_encoding("identity".into())
        .with_priority(3)
        .with_correlation_id("a\nb".into())
        .with_reply_to("grün".into())
        .with_expiration("600000".into())
        .with_message_id("m-1".into())
        .with_timestamp(1_767_323_045)
        .with_type("x\ty".into())
        .with_user_id("guest".into())
        .with_app_id(" ä ".into())
        .with_cluster_id("c".into())
}

// guarantee: MESSAGE-12
#[tokio::test(flavor = "multi_thread")]
async fn every_property_and_header_type_round_trips_unchanged() {
    let (broker, queue) = (broker().await, unique("matrix"));
    let out = format!("{queue}-out");
    let client = broker.client().await;
    client.declare(&queue).await;
    client.declare(&out).await;
    let group = group_with_channel(broker, &queue);
    group.put(
        Kind::AmqpOutgoing,
        json!({"name": out, "connection": "broker", "exchange": "", "routing_key": out,
               "delivery_mode": 1, "priority": 9}),
    );
    // Answers with all that it was given.
    let to = format!("amqp_outgoing/{out}");
    group.behave(move |call| {
        let mut headers = call.headers.clone();
        for name in ["quorate-property-exchange", "quorate-property-routing-key"] {
            headers.remove(name);
        }
        headers.insert("quorate-send", to.parse().unwrap());
        let reply = Reply {
            status: StatusCode::OK,
            headers,
            body: call.body.clone().into(),
        };
        (Duration::ZERO, Ok(reply))
    });
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member.active(&queue).await;
    member.active(&out).await;
    client
        .publish_with(&queue, ["all".to_owned()], properties())
        .await;
    let seen = member
        .when(&queue, "handled or failed", |status| {
            status.counts.handled + status.counts.failed + status.counts.retried > 0
        })
        .await;
    assert_eq!(seen.counts.handled, 1, "{seen:?}");

    // In.
    let call = group.calls.lock()[0].clone();
    let told = |name: &str| {
        let value = call
            .headers
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not there"));
        String::from_utf8(value.as_bytes().to_vec()).unwrap()
    };
    let typed = told("quorate-headers-typed");
    let typed: Vec<&str> = typed.split(", ").collect();
    for (name, _, text, kind) in headers() {
        assert_eq!(told(&format!("quorate-header-{name}")), text, "{name}");
        let listed = format!("{name}={kind}");
        assert_eq!(
            typed.contains(&listed.as_str()),
            !kind.is_empty(),
            "{name}: {typed:?}"
        );
    }
    assert_eq!(told("quorate-header-m%c3%bcller"), "umlaut");
    assert_eq!(told("quorate-header-sp%20ace"), "space");
    assert_eq!(told("quorate-header-%4fk"), "1");
    assert_eq!(told("quorate-header-ok"), "2");
    assert!(!call.headers.contains_key("quorate-headers-left-out"));
    for (name, text) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-encoding", "identity"),
        ("quorate-message-id", "m-1"),
        ("quorate-property-content-encoding", "identity"),
        ("quorate-property-delivery-mode", "2"),
        ("quorate-property-priority", "3"),
        ("quorate-property-correlation-id", "a%0Ab"),
        ("quorate-property-reply-to", "grün"),
        ("quorate-property-expiration-ms", "600000"),
        ("quorate-property-timestamp", "1767323045"),
        ("quorate-property-type", "x\ty"),
        ("quorate-property-user-id", "guest"),
        ("quorate-property-app-id", "%20%C3%A4%20"),
        ("quorate-property-cluster-id", "c"),
        ("quorate-property-routing-key", &queue),
        ("quorate-properties-encoded", "correlation-id, app-id"),
    ] {
        assert_eq!(told(name), text, "{name}");
    }

    // Out, as it came in.
    let sent = client.take(&out).await.unwrap();
    let (was, is) = (properties(), &sent.properties);
    let text = |it: &Option<ShortString>| it.as_ref().map(ToString::to_string);
    for (name, was, is) in [
        ("content type", was.content_type(), is.content_type()),
        (
            "content encoding",
            was.content_encoding(),
            is.content_encoding(),
        ),
        ("correlation id", was.correlation_id(), is.correlation_id()),
        ("reply-to", was.reply_to(), is.reply_to()),
        ("expiration", was.expiration(), is.expiration()),
        ("message id", was.message_id(), is.message_id()),
        ("type", was.kind(), is.kind()),
        ("user id", was.user_id(), is.user_id()),
        ("app id", was.app_id(), is.app_id()),
        ("cluster id", was.cluster_id(), is.cluster_id()),
    ] {
        assert_eq!(text(is), text(was), "{name}");
    }
    assert_eq!(is.priority(), was.priority());
    assert_eq!(is.timestamp(), was.timestamp());
    assert_eq!(*is.delivery_mode(), Some(2));
    let (was, is) = (
        was.headers().clone().unwrap(),
        is.headers().clone().unwrap(),
    );
    for (name, ..) in headers() {
        assert_eq!(is.inner()[name], was.inner()[name], "{name}");
    }
    for name in ["sp ace", "Ok", "ok", "müller"] {
        assert!(is.contains_key(name), "{name}: {is:?}");
    }
}

/// Of a message that went through a queue with a time to live, the broker says where it was.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letter_headers_of_broker_arrive() {
    let (broker, queue) = (broker().await, unique("x-death"));
    let before = format!("{queue}-before");
    let client = broker.client().await;
    client.declare(&queue).await;
    let channel = client.connection().create_channel().await.unwrap();
    let arguments = table(vec![
        ("x-message-ttl", AMQPValue::LongInt(10)),
        ("x-dead-letter-exchange", AMQPValue::LongString("".into())),
        (
            "x-dead-letter-routing-key",
            AMQPValue::LongString(queue.as_str().into()),
        ),
    ]);
    channel
        .queue_declare(
            before.as_str().into(),
            lapin::options::QueueDeclareOptions::durable(),
            arguments,
        )
        .await
        .unwrap();
    let member = consuming_member(broker, &queue, 2000).await;
    client.publish(&before, bodies(1)).await;
    member
        .when(&queue, "handled", |status| status.counts.handled == 1)
        .await;
    let call = member.group.calls.lock()[0].clone();
    let deaths = call.headers["quorate-header-x-death"].to_str().unwrap();
    let deaths: serde_json::Value = serde_json::from_str(deaths).unwrap();
    assert_eq!(deaths[0]["count"], 1);
    assert_eq!(deaths[0]["queue"], before);
    assert_eq!(deaths[0]["reason"], "expired");
}
