//! IBM's client package at the same queue: who has it, what comes back to it, what goes by
//! priority, what expires, and what is reported.

use std::time::Duration;

use mq_stand_in::wire::Attributes;
use quorate_resources::Kind;
use serde_json::{Value, json};

use super::{client::Client, world::*};

const OBJECT_IN_USE: i64 = 2042;
const NO_MSG_AVAILABLE: i64 = 2033;

fn text(text: &str, md: Value) -> Value {
    let mut own = json!({"Format": "MQSTR   ", "CodedCharSetId": 1208});
    own.as_object_mut()
        .unwrap()
        .extend(md.as_object().unwrap().clone());
    json!({"do": "put", "queue": "Q", "text": text, "md": own})
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_has_one_reader_across_both_clients() {
    let mut stand_in = StandIn::start();
    let Some(mut client) = Client::connected(&stand_in) else {
        return;
    };
    let open = |how: &str| json!({"do": "open", "queue": "Q", "options": [how]});
    let member = stand_in.consuming(channel()).await;
    for how in ["INPUT_SHARED", "INPUT_EXCLUSIVE", "INPUT_AS_Q_DEF"] {
        assert_eq!(client.fails(open(how)), OBJECT_IN_USE, "{how}");
    }
    client.does(open("BROWSE"));
    client.does(json!({"do": "close", "queue": "Q"}));
    // A simulated member goes on when it is dropped: its connector is what has to go.
    member.group.delete(Kind::IbmMqChannel, "orders");
    eventually("the queue is free", async || {
        (stand_in.control.readers("Q").unwrap() == 0).then_some(())
    })
    .await;
    client.does(open("INPUT_SHARED"));
    member.group.put(Kind::IbmMqChannel, channel());
    complains(&member, "orders", "another program has the queue").await;
    client.does(json!({"do": "close", "queue": "Q"}));
    member.active("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ibm_client_backouts_count_and_backout_queue_readable() {
    let mut stand_in = StandIn::start();
    let Some(mut client) = Client::connected(&stand_in) else {
        return;
    };
    stand_in
        .control
        .define("BAD", Attributes::default())
        .unwrap();
    client.open("Q", &["INPUT_SHARED", "OUTPUT"]);
    let put = client.does(text("bad", json!({"ReplyToQ": "BAD"})));
    for count in 0..2 {
        let got = client.does(json!({"do": "get", "queue": "Q", "options": ["SYNCPOINT"]}));
        assert_eq!(got["md"]["BackoutCount"], count);
        client.does(json!({"do": "backout"}));
    }
    client.does(json!({"do": "close", "queue": "Q"}));
    let mut channel = with(channel(), "backout_queue", "BAD");
    channel["backout_threshold"] = 4.into();
    let group = stand_in.group();
    group.behave(|_| (Duration::ZERO, status(500)));
    group.put(Kind::IbmMqChannel, channel);
    let member = SimulatedMember::start(&group, 1, 5000);
    member.lead(2);
    let calls = called(&group, 2).await;
    assert_eq!((calls[0].attempt, calls[1].attempt), (3, 4));
    client.open("BAD", &["INPUT_SHARED"]);
    let got = client.gets("BAD");
    assert_eq!(got["text"], "bad");
    assert_eq!(got["md"]["MsgId"], put["md"]["MsgId"]);
    // Who had put it and where its answer goes stay as they were.
    assert_eq!(
        (&got["md"]["UserIdentifier"], &got["md"]["ReplyToQ"]),
        (&"app".into(), &"BAD".into())
    );
    let notes = got["folders"]["usr"].as_str().unwrap();
    for part in [
        "<quorate_reason>",
        ">4</quorate_attempts>",
        ">orders</quorate_channel>",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    assert_eq!(group.calls.lock().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_ibms_client_come_by_their_priority() {
    let stand_in = StandIn::start();
    let Some(mut client) = Client::connected(&stand_in) else {
        return;
    };
    for (body, priority) in [("a", 1), ("b", 9), ("c", 9), ("d", 4)] {
        client.does(text(body, json!({"Priority": priority})));
    }
    let member = stand_in.consuming(channel()).await;
    let calls = called(&member.group, 4).await;
    let order: Vec<_> = calls.iter().map(|call| call.body.as_str()).collect();
    assert_eq!(order, ["b", "c", "d", "a"]);
    assert_eq!(said(&calls[0], "quorate-property-priority"), "9");
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_message_is_reported_and_not_handed_on() {
    let mut stand_in = StandIn::start();
    let Some(mut client) = Client::connected(&stand_in) else {
        return;
    };
    stand_in.control.define("R", Attributes::default()).unwrap();
    // MQRO_EXPIRATION; in tenths of a second.
    let short = json!({"Expiry": 2, "Report": 0x20_0000, "ReplyToQ": "R"});
    let late = client.does(text("late", short));
    let long = client.does(text("in time", json!({"Expiry": 6000})));
    assert_ne!(late["md"]["MsgId"], long["md"]["MsgId"]);
    client.open("Q", &["BROWSE"]);
    let first = json!({"do": "get", "queue": "Q", "options": ["BROWSE_FIRST"]});
    eventually("the first has expired", async || {
        (client.does(first.clone())["text"] == "in time").then_some(())
    })
    .await;
    let member = stand_in.consuming(channel()).await;
    let call = called(&member.group, 1).await.remove(0);
    assert_eq!(call.body, "in time");
    let left: u64 = said(&call, "quorate-property-expiration-ms")
        .parse()
        .unwrap();
    assert!((500_000..600_000).contains(&left), "{left}");
    client.open("R", &["INPUT_SHARED"]);
    let report = client.gets("R");
    // MQMT_REPORT and MQFB_EXPIRATION.
    assert_eq!(
        (&report["md"]["MsgType"], &report["md"]["Feedback"]),
        (&4.into(), &258.into())
    );
    assert_eq!(report["md"]["CorrelId"], late["md"]["MsgId"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn delivery_is_reported_after_service_success() {
    let mut stand_in = StandIn::start();
    let Some(mut client) = Client::connected(&stand_in) else {
        return;
    };
    stand_in.control.define("R", Attributes::default()).unwrap();
    client.open("R", &["INPUT_SHARED"]);
    // MQRO_COA, MQRO_COD_WITH_DATA and MQRO_PASS_CORREL_ID.
    let asking = json!({"Report": 0x100 | 0x1800 | 0x40, "ReplyToQ": "R",
                        "CorrelId": "07".repeat(24)});
    client.does(text("order", asking));
    let arrival = client.gets("R");
    assert_eq!(
        (&arrival["md"]["Feedback"], &arrival["bytes"]),
        (&259.into(), &"".into())
    );
    let group = stand_in.group();
    group.behave(|call| {
        (
            Duration::ZERO,
            status(if call.attempt < 3 { 500 } else { 200 }),
        )
    });
    group.put(Kind::IbmMqChannel, channel());
    let member = SimulatedMember::start(&group, 1, 5000);
    member.lead(2);
    let delivery = client.gets("R");
    assert_eq!(group.calls.lock().len(), 3);
    assert_eq!(
        (&delivery["md"]["Feedback"], &delivery["text"]),
        (&260.into(), &"order".into())
    );
    assert_eq!(delivery["md"]["CorrelId"], "07".repeat(24));
    assert_eq!(
        client.fails(json!({"do": "get", "queue": "R"})),
        NO_MSG_AVAILABLE,
        "one delivery, one report"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stand_in_supports_ibm_client_requests() {
    let mut stand_in = StandIn::start();
    let server = format!("DEV.APP.SVRCONN/TCP/127.0.0.1({})", stand_in.port);
    let Some(mut client) = Client::start(Some(&server)) else {
        return;
    };
    let get = |client: &mut Client, options: &[&str], room: Value| {
        client.asks(json!({"do": "get", "queue": "Q", "options": options, "room": room}))
    };
    client.does(json!({"do": "connect"}));
    client.open("Q", &["INPUT_SHARED", "OUTPUT", "BROWSE", "INQUIRE"]);
    for body in ["first", "second"] {
        client.does(text(body, json!({"CorrelId": "00".repeat(24)})));
    }
    let first = get(&mut client, &["BROWSE_FIRST"], Value::Null);
    assert_eq!(
        (&first["text"], &first["returned"]),
        (&"first".into(), &5.into())
    );
    assert_eq!(first["resolved"], "Q");
    let cut = get(&mut client, &["NO_SYNCPOINT"], 2.into());
    assert_eq!(
        (&cut["completion"], &cut["reason"]),
        (&1.into(), &2080.into())
    );
    let cut = get(&mut client, &["ACCEPT_TRUNCATED_MSG"], 2.into());
    assert_eq!(
        (&cut["completion"], &cut["reason"]),
        (&1.into(), &2079.into())
    );
    // Longer than the room that the package has at first: it asks for the same one again.
    client.does(text(&"x".repeat(9000), json!({"Priority": 9})));
    let long = get(&mut client, &[], Value::Null);
    assert_eq!(long["text"].as_str().map(str::len), Some(9000));
    let selectors = [
        "MQCA_Q_NAME",
        "MQIA_CURRENT_Q_DEPTH",
        "MQIA_OPEN_INPUT_COUNT",
    ];
    let asked = client.does(json!({"do": "inquire", "queue": "Q", "selectors": selectors}));
    let told = json!({"MQCA_Q_NAME": "Q", "MQIA_CURRENT_Q_DEPTH": 1, "MQIA_OPEN_INPUT_COUNT": 1});
    assert_eq!(asked, told);
    assert_eq!(client.fails(json!({"do": "begin"})), 2298);
    client.does(json!({"do": "disconnect"}));
    assert_eq!(stand_in.control.readers("Q").unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_connections_never_come_back_by_themselves() {
    let mut stand_in = StandIn::start();
    let group = stand_in.group();
    group.put(Kind::IbmMqOutgoing, outgoing());
    group.put(Kind::IbmMqChannel, channel());
    let member = SimulatedMember::start(&group, 1, 5000);
    member.lead(2);
    member.active("orders").await;
    member.active("out").await;
    let all = stand_in.control.connect_options().unwrap();
    assert!(all.len() >= 2, "{all:?}");
    for (options, version) in all {
        // MQCNO_RECONNECT_DISABLED, and a name that is shown from version 7 on.
        assert_eq!((options, version), (0x200_0000, 7));
    }
}
