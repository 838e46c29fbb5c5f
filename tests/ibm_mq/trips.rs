//! There and back, against the stand-in: bodies, headers, properties.

use mq_stand_in::{descriptor, wire::Attributes};
use quorate_ipc::SendOutcome;
use quorate_proto::connector::Send;
use quorate_resources::Kind;
use quorate_rfh2::{
    ByteOrder, ContentDescriptor, ENCODING_BIG, FolderCharset, JmsFolders, JmsMessageClass,
    PropertyValue as Typed, Rfh2Header,
};

use super::world::*;

/// A message of a big endian machine, as JMS writes it.
fn jms_message(stand_in: &mut StandIn, jms: &JmsFolders, body: &[u8]) {
    let mut head = descriptor::plain();
    descriptor::set_field(&mut head, descriptor::ENCODING, ENCODING_BIG);
    descriptor::set_field(&mut head, descriptor::CCSID, 1208);
    descriptor::set_field(&mut head, descriptor::PRIORITY, 7);
    head[descriptor::FORMAT..descriptor::FORMAT + 8].copy_from_slice(b"MQHRF2  ");
    head[descriptor::CORRELATION_ID..descriptor::CORRELATION_ID + 24].fill(0xab);
    descriptor::set_text(
        &mut head[descriptor::REPLY_TO..descriptor::REPLY_TO + 48],
        "ANSWERS",
    );
    let header = Rfh2Header {
        next: ContentDescriptor {
            encoding: ENCODING_BIG,
            ccsid: 819,
            format: *b"MQSTR   ",
        },
        flags: 0,
        folder_charset: FolderCharset::Utf8,
        folders: jms.write().unwrap(),
    };
    let mut message = header.write(ByteOrder::Big).unwrap();
    message.extend(body);
    stand_in.control.put("Q", &head, &message).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn jms_message_arrives_with_headers_and_properties() {
    let mut stand_in = StandIn::start();
    let jms = JmsFolders {
        class: Some(JmsMessageClass::Text),
        kind: Some("order".into()),
        destination: Some("queue:///Q".into()),
        timestamp_ms: Some(1_795_515_630_400),
        properties: vec![
            ("region".into(), Typed::Text("north & south".into())),
            ("count".into(), Typed::Int(-3)),
            ("urgent".into(), Typed::Boolean(true)),
            ("nothing".into(), Typed::Null),
        ],
        ..JmsFolders::default()
    };
    jms_message(&mut stand_in, &jms, b"Gr\xfc\xdfe");
    let member = stand_in.consuming(channel()).await;
    let call = called(&member.group, 1).await.remove(0);
    assert_eq!(call.body, "Grüße");
    for (name, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("quorate-header-region", "north & south"),
        ("quorate-header-count", "-3"),
        ("quorate-header-urgent", "true"),
        ("quorate-header-nothing", ""),
        ("quorate-property-type", "order"),
        ("quorate-property-priority", "7"),
        ("quorate-property-delivery-mode", "2"),
        ("quorate-property-timestamp-ms", "1795515630400"),
        ("quorate-property-destination", "queue:///Q"),
        ("quorate-property-reply-to", "queue://STANDIN/ANSWERS"),
        ("quorate-property-format", "MQSTR"),
        ("quorate-property-message-class", "jms_text"),
        (
            "quorate-property-correlation-id",
            &format!("ID:{}", "ab".repeat(24)),
        ),
    ] {
        assert_eq!(said(&call, name), value, "{name}");
    }
    assert!(
        said(&call, "quorate-message-id").starts_with("ID:53494d20"),
        "{call:?}"
    );
    stand_in.depth("Q", 0).await;
    member
        .when("orders", "handled", |status| status.counts.handled == 1)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sent_message_is_a_jms_message() {
    let mut stand_in = StandIn::start();
    let member = stand_in.member(
        Kind::IbmMqOutgoing,
        with(outgoing(), "expiration_ms", 60_000),
    );
    let sent = send(
        &member,
        Send {
            content_type: "application/json".into(),
            headers: vec![header("region", "a < b")],
            properties: vec![
                header("correlation-id", "order-7"),
                header("reply-to", "queue://OTHER/ANSWERS"),
                header("type", "order"),
                header("priority", "8"),
            ],
            body: "{\"ä\":1}".into(),
            ..Send::default()
        },
    );
    let SendOutcome::Confirmed {
        message_id,
        reply: None,
    } = sent.await
    else {
        panic!()
    };
    let taken = stand_in.taken("Q").await;
    let field = |at| descriptor::field(&taken.descriptor, at);
    assert_eq!(field(descriptor::PRIORITY), 8);
    assert_eq!(field(descriptor::PERSISTENCE), 1);
    assert!((500..=600).contains(&field(descriptor::EXPIRY)));
    let text =
        |at, length| String::from_utf8_lossy(&taken.descriptor[at..at + length]).into_owned();
    assert_eq!(text(descriptor::FORMAT, 8), "MQHRF2  ");
    assert_eq!(text(descriptor::CORRELATION_ID, 7), "order-7");
    assert_eq!(
        text(descriptor::REPLY_TO, 96)
            .split_whitespace()
            .collect::<Vec<_>>(),
        ["ANSWERS", "OTHER"]
    );
    let id: String = taken.descriptor[descriptor::MESSAGE_ID..descriptor::MESSAGE_ID + 24]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(message_id, format!("ID:{id}"));
    let (jms, inner, body) = opened(&taken);
    assert_eq!(body, "{\"ä\":1}".as_bytes());
    assert_eq!((inner.ccsid, &inner.format), (1208, b"MQSTR   "));
    assert_eq!(jms.class, Some(JmsMessageClass::Text));
    assert_eq!(jms.kind.as_deref(), Some("order"));
    assert_eq!(jms.destination.as_deref(), Some("queue:///Q"));
    assert_eq!(jms.reply_to.as_deref(), Some("queue://OTHER/ANSWERS"));
    assert_eq!(jms.correlation_id.as_deref(), Some("order-7"));
    assert_eq!((jms.priority, jms.delivery_mode), (Some(8), Some(2)));
    assert_eq!(jms.expiration_ms, jms.timestamp_ms.map(|it| it + 60_000));
    assert_eq!(
        jms.properties,
        [("region".to_owned(), Typed::Text("a < b".into()))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn message_sent_by_one_connector_arrives_at_another() {
    let stand_in = StandIn::start();
    let group = stand_in.group();
    group.put(Kind::IbmMqOutgoing, outgoing());
    group.put(Kind::IbmMqChannel, channel());
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    let bytes = Send {
        content_type: "application/octet-stream".into(),
        headers: vec![header("order_id", "7")],
        properties: vec![header("correlation-id", "c-1"), header("type", "t")],
        body: b"\0\xff\x80".as_slice().into(),
        ..Send::default()
    };
    let SendOutcome::Confirmed { message_id, .. } = send(&member, bytes).await else {
        panic!()
    };
    let call = called(&group, 1).await.remove(0);
    assert_eq!(said(&call, "quorate-message-id"), message_id);
    assert_eq!(said(&call, "content-type"), "application/octet-stream");
    assert_eq!(said(&call, "quorate-header-order_id"), "7");
    assert_eq!(said(&call, "quorate-property-correlation-id"), "c-1");
    assert_eq!(said(&call, "quorate-property-type"), "t");
    assert_eq!(said(&call, "quorate-property-priority"), "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_jms_a_message_is_its_body() {
    let mut stand_in = StandIn::start();
    let out = with(outgoing(), "jms", false);
    let member = stand_in.member(Kind::IbmMqOutgoing, out);
    let plain = |body: &str| Send {
        content_type: "text/plain".into(),
        body: body.to_owned().into(),
        ..Send::default()
    };
    let sent = send(&member, plain("bare")).await;
    assert!(matches!(sent, SendOutcome::Confirmed { .. }), "{sent:?}");
    let taken = stand_in.taken("Q").await;
    assert_eq!(taken.message, b"bare");
    assert_eq!(&taken.descriptor[descriptor::FORMAT..][..8], b"MQSTR   ");
    let refused = send(
        &member,
        Send {
            headers: vec![header("a", "b")],
            ..plain("")
        },
    );
    assert!(matches!(refused.await, SendOutcome::Refused(text) if text.contains("`jms`")));

    let channel = with(channel(), "jms", false);
    member.group.put(Kind::IbmMqChannel, channel);
    jms_message(
        &mut stand_in,
        &JmsFolders {
            kind: Some("order".into()),
            ..JmsFolders::default()
        },
        b"in",
    );
    let call = called(&member.group, 1).await.remove(0);
    assert_eq!(
        (call.body.as_str(), said(&call, "quorate-property-type")),
        ("in", "")
    );
    assert_eq!(said(&call, "quorate-property-priority"), "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn unsendable_message_is_refused_with_reason() {
    let mut stand_in = StandIn::start();
    let small = Attributes {
        max_length: 1000,
        ..Attributes::default()
    };
    stand_in.control.define("SMALL", small).unwrap();
    let member = stand_in.member(Kind::IbmMqOutgoing, outgoing());
    let property = |name: &str, value: &str| Send {
        properties: vec![header(name, value)],
        ..Send::default()
    };
    let long = Send {
        body: vec![b'x'; 2000].into(),
        ..property("queue", "SMALL")
    };
    for (message, part) in [
        (
            property("exchange", "x"),
            "IBM MQ has no property \"exchange\"",
        ),
        (property("priority", "10"), "it is 0 to 9"),
        (property("delivery-mode", "x"), "it is 1 or 2"),
        (property("expiration-ms", "-1"), "number of milliseconds"),
        (property("reply-to", "queue://A/"), "queue://MANAGER/QUEUE"),
        (
            property("queue", "NOWHERE"),
            "there is no queue \"NOWHERE\"",
        ),
        (long, "MAXMSGL"),
        (
            Send {
                headers: vec![header("order-id", "7")],
                ..Send::default()
            },
            "\"order-id\" can't be the name of a JMS property",
        ),
        (
            Send {
                content_type: "text/plain".into(),
                body: b"\xff".as_slice().into(),
                ..Send::default()
            },
            "not valid UTF-8",
        ),
    ] {
        let sent = send(&member, message).await;
        assert!(
            matches!(&sent, SendOutcome::Refused(text) if text.contains(part)),
            "{part}: {sent:?}"
        );
    }
    assert_eq!(stand_in.control.depth("Q").unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_to_read_messages_are_handed_on_unchanged() {
    let mut stand_in = StandIn::start();
    let mut head = descriptor::plain();
    head[descriptor::FORMAT..descriptor::FORMAT + 8].copy_from_slice(b"MQHRF2  ");
    stand_in.control.put("Q", &head, b"RFH garbage").unwrap();
    // In a set that neither we nor the queue manager know.
    head[descriptor::FORMAT..descriptor::FORMAT + 8].copy_from_slice(b"MQSTR   ");
    descriptor::set_field(&mut head, descriptor::CCSID, 9999);
    stand_in.control.put("Q", &head, b"\xc1\xc2").unwrap();
    // Longer than there is room for at first.
    descriptor::set_field(&mut head, descriptor::CCSID, 437);
    stand_in
        .control
        .put("Q", &head, &vec![b'x'; 3 << 20])
        .unwrap();
    stand_in.text("");
    let member = stand_in.consuming(channel()).await;
    let calls = called(&member.group, 4).await;
    assert_eq!(calls[0].body, "RFH garbage");
    assert_eq!(said(&calls[0], "quorate-property-format"), "MQHRF2");
    assert_eq!(
        said(&calls[0], "quorate-property-malformed"),
        "the MQRFH2 needs 36 bytes, but only 11 are there"
    );
    assert_eq!(said(&calls[0], "content-type"), "application/octet-stream");
    assert_eq!(said(&calls[1], "content-type"), "application/octet-stream");
    assert_eq!(said(&calls[1], "quorate-property-ccsid"), "9999");
    assert_eq!(calls[2].body.len(), 3 << 20);
    assert_eq!(
        (calls[3].body.as_str(), said(&calls[3], "content-type")),
        ("", "text/plain; charset=utf-8")
    );
    stand_in.depth("Q", 0).await;
}
