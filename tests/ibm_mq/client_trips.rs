//! IBM's client package at the other end: what it puts comes to a service, and what is sent
//! is read by it.

use quorate_ipc::SendOutcome;
use quorate_proto::connector::Send;
use quorate_resources::Kind;
use quorate_service::api::Reply;
use serde_json::{Value, json};

use super::{client::Client, world::*};

/// A queue manager with these queues beside `Q`.
fn with_queues(queues: &[&str]) -> StandIn {
    let mut stand_in = StandIn::start();
    for queue in queues {
        stand_in.control.define(queue, Default::default()).unwrap();
    }
    stand_in
}

fn string(ccsid: i32) -> Value {
    json!({"Format": "MQSTR   ", "CodedCharSetId": ccsid})
}

#[tokio::test(flavor = "multi_thread")]
async fn ibm_client_texts_and_bytes_arrive_unchanged() {
    let stand_in = StandIn::start();
    let Some(mut client) = Client::connected(&stand_in) else {
        return;
    };
    client.open("Q", &["OUTPUT"]);
    let put = client.does(json!({"do": "put", "queue": "Q", "text": "Grüße", "md": string(1208)}));
    let latin = json!({"do": "put", "queue": "Q", "text": "Grüße", "encoding": "latin-1",
                       "md": string(819)});
    client.does(latin);
    client.does(json!({"do": "put", "queue": "Q", "bytes": "00ff80"}));
    let member = stand_in.consuming(channel()).await;
    let calls = called(&member.group, 3).await;
    assert_eq!((&*calls[0].body, &*calls[1].body), ("Grüße", "Grüße"));
    assert_eq!(said(&calls[0], "content-type"), "text/plain; charset=utf-8");
    assert_eq!(said(&calls[0], "quorate-property-user-id"), "app");
    let id = format!("ID:{}", put["md"]["MsgId"].as_str().unwrap());
    assert_eq!(said(&calls[0], "quorate-message-id"), id);
    assert_eq!(said(&calls[2], "content-type"), "application/octet-stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn ibm_client_headers_are_read_in_either_encoding() {
    let stand_in = StandIn::start();
    let Some(mut client) = Client::connected(&stand_in) else {
        return;
    };
    let folders = [
        "<mcd><Msd>jms_text</Msd><Type>order</Type></mcd>",
        "<jms><Dst>queue:///Q</Dst><Tms>1795515630400</Tms></jms>",
        "<usr><region>north &amp; south</region><count dt=\"i4\">-3</count></usr>",
    ];
    for encoding in [546, 273] {
        let put = json!({"do": "put", "queue": "Q", "text": "body", "folders": folders,
                         "md": {"Encoding": encoding, "CodedCharSetId": 1208, "Persistence": 1}});
        client.does(put);
    }
    let member = stand_in.consuming(channel()).await;
    for call in called(&member.group, 2).await {
        assert_eq!(call.body, "body");
        for (name, value) in [
            ("quorate-header-region", "north & south"),
            ("quorate-header-count", "-3"),
            ("quorate-property-type", "order"),
            ("quorate-property-message-class", "jms_text"),
            ("quorate-property-destination", "queue:///Q"),
            ("quorate-property-timestamp-ms", "1795515630400"),
            ("quorate-property-delivery-mode", "2"),
        ] {
            assert_eq!(said(&call, name), value, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ibm_client_reads_sent_message() {
    let stand_in = StandIn::start();
    let Some(mut client) = Client::connected(&stand_in) else {
        return;
    };
    let out = with(outgoing(), "expiration_ms", 60_000);
    let member = stand_in.member(Kind::IbmMqOutgoing, out);
    let message = Send {
        content_type: "text/plain".into(),
        headers: vec![header("region", "a < b")],
        properties: vec![header("correlation-id", "order-7"), header("type", "order")],
        body: "Grüße".into(),
        ..Send::default()
    };
    let SendOutcome::Confirmed { message_id, .. } = send(&member, message).await else {
        panic!()
    };
    client.open("Q", &["INPUT_SHARED"]);
    let got = client.gets("Q");
    assert_eq!(got["text"], "Grüße");
    assert_eq!(
        (&got["inner_format"], &got["inner_ccsid"]),
        (&"MQSTR   ".into(), &1208.into())
    );
    let folders = &got["folders"];
    let mcd = "<mcd><Msd>jms_text</Msd><Type>order</Type></mcd>";
    assert_eq!(folders["mcd"], mcd);
    assert!(
        folders["usr"]
            .as_str()
            .unwrap()
            .contains(">a &lt; b</region>"),
        "{folders}"
    );
    let descriptor = &got["md"];
    assert_eq!(
        message_id,
        format!("ID:{}", descriptor["MsgId"].as_str().unwrap())
    );
    assert_eq!(
        (&descriptor["Priority"], &descriptor["Persistence"]),
        (&5.into(), &1.into())
    );
    let expiry = descriptor["Expiry"].as_i64().unwrap();
    assert!((500..=600).contains(&expiry), "{expiry}");

    let plain = with(outgoing(), "jms", false);
    member.group.put(Kind::IbmMqOutgoing, plain);
    let bytes = Send {
        content_type: "application/octet-stream".into(),
        body: b"\0\xff\x80".as_slice().into(),
        ..Send::default()
    };
    let got = eventually("it is sent without headers", async || {
        let sent = send(&member, bytes.clone()).await;
        assert!(matches!(sent, SendOutcome::Confirmed { .. }), "{sent:?}");
        let got = client.gets("Q");
        got.get("folders").is_none().then_some(got)
    });
    assert_eq!(got.await["bytes"], "00ff80");
}

#[tokio::test(flavor = "multi_thread")]
async fn service_answers_request_of_ibm_client() {
    let stand_in = StandIn::start();
    let Some(mut client) = Client::connected(&stand_in) else {
        return;
    };
    let group = stand_in.group();
    group.put(Kind::IbmMqOutgoing, outgoing());
    group.put(Kind::IbmMqChannel, channel());
    // What came as Reply-To and message id says where the answer goes and whose it is.
    group.behave(|call| {
        let mut headers = http::HeaderMap::new();
        let mut say = |name: &'static str, value: &str| {
            headers.insert(name, value.parse().unwrap());
        };
        say("quorate-send", "ibm_mq_outgoing/out");
        say("content-type", "text/plain");
        say(
            "quorate-property-queue",
            said(call, "quorate-property-reply-to"),
        );
        say(
            "quorate-property-correlation-id",
            said(call, "quorate-message-id"),
        );
        say("quorate-property-delivery-mode", "1");
        let reply = Reply {
            status: http::StatusCode::OK,
            headers,
            body: format!("answer to {}", call.body).into(),
        };
        (std::time::Duration::ZERO, Ok(reply))
    });
    let member = SimulatedMember::start(&group, 1, 5000);
    member.lead(2);
    member.active("orders").await;
    let open = json!({"do": "open", "queue": "SYSTEM.DEFAULT.MODEL.QUEUE", "dynamic": "REPLIES.*",
                      "options": ["INPUT_AS_Q_DEF"]});
    let replies = client.does(open)["queue"].as_str().unwrap().to_owned();
    assert!(replies.starts_with("REPLIES."), "{replies}");
    let mut request = string(1208);
    request["MsgType"] = 1.into();
    request["ReplyToQ"] = replies.as_str().into();
    let sent = client.does(json!({"do": "put", "queue": "Q", "text": "order 1", "md": request}));
    let got = client.gets(&replies);
    assert_eq!(got["text"], "answer to order 1");
    assert_eq!(got["md"]["CorrelId"], sent["md"]["MsgId"]);
    member
        .when("orders", "handled", |status| status.counts.handled == 1)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ibm_client_answers_sent_request() {
    let stand_in = with_queues(&["ANSWERS"]);
    let Some(mut client) = Client::connected(&stand_in) else {
        return;
    };
    let group = stand_in.group();
    group.put(Kind::IbmMqOutgoing, outgoing());
    group.put(Kind::IbmMqChannel, with(channel(), "queue", "ANSWERS"));
    let member = SimulatedMember::start(&group, 1, 5000);
    member.lead(2);
    let request = Send {
        content_type: "text/plain".into(),
        properties: vec![header("reply-to", "ANSWERS")],
        body: "how many?".into(),
        ..Send::default()
    };
    let SendOutcome::Confirmed { message_id, .. } = send(&member, request).await else {
        panic!()
    };
    client.open("Q", &["INPUT_SHARED"]);
    let got = client.gets("Q");
    let asked = &got["md"];
    // MQMT_REQUEST, without which many programs don't answer.
    assert_eq!(asked["MsgType"], 1);
    assert_eq!(
        (&asked["ReplyToQ"], &asked["ReplyToQMgr"]),
        (&"ANSWERS".into(), &"STANDIN".into())
    );
    let mut reply = string(1208);
    reply["MsgType"] = 2.into();
    reply["CorrelId"] = asked["MsgId"].clone();
    client.does(json!({"do": "put", "queue": asked["ReplyToQ"], "text": "seven", "md": reply}));
    let call = called(&group, 1).await.remove(0);
    assert_eq!(call.body, "seven");
    assert_eq!(said(&call, "quorate-property-correlation-id"), message_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn mainframe_texts_round_trip_with_ibm_client() {
    let stand_in = with_queues(&["OUT"]);
    let Some(mut client) = Client::connected(&stand_in) else {
        return;
    };
    let group = stand_in.group();
    group.put(Kind::IbmMqChannel, channel());
    let mut out = with(outgoing(), "queue", "OUT");
    out["ccsid"] = 1141.into();
    group.put(Kind::IbmMqOutgoing, out);
    let member = SimulatedMember::start(&group, 1, 5000);
    member.lead(2);
    // `日本` in page 1399, which the queue manager has to convert for us, and `Grüße` in 1141.
    for (ccsid, bytes) in [(1399, "0e456245660f"), (1141, "c799d0a185")] {
        let mut descriptor = string(ccsid);
        descriptor["Encoding"] = 785.into();
        client.does(json!({"do": "put", "queue": "Q", "bytes": bytes, "md": descriptor}));
    }
    let calls = called(&group, 2).await;
    assert_eq!((&*calls[0].body, &*calls[1].body), ("日本", "Grüße"));

    // What is sent in page 1141 is converted for the client by the tables of others.
    let text = Send {
        content_type: "text/plain".into(),
        body: "Grüße 1 €".into(),
        ..Send::default()
    };
    let sent = send(&member, text).await;
    assert!(matches!(sent, SendOutcome::Confirmed { .. }), "{sent:?}");
    client.open("OUT", &["INPUT_SHARED", "OUTPUT"]);
    // Without the header, which is in UTF-8: MQ compares no more than the descriptor, and
    // leaves what is behind headers that need no conversion.
    let converted = |queue: &str| {
        json!({"do": "get", "queue": queue, "options": ["CONVERT", "NO_PROPERTIES"],
               "md": {"CodedCharSetId": 1208}})
    };
    let got = client.does(converted("OUT"));
    assert_eq!(
        (&got["text"], &got["md"]["CodedCharSetId"]),
        (&"Grüße 1 €".into(), &1208.into())
    );
    // A warning, to which IBM's client makes an error.
    client.does(json!({"do": "put", "queue": "OUT", "bytes": "c1", "md": string(9999)}));
    assert_eq!(client.fails(converted("OUT")), 2111);
}
