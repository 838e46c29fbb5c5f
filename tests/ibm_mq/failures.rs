//! Messages whose service fails, against the stand-in.

use std::time::Duration;

use mq_stand_in::wire::Attributes;
use quorate_resources::Kind;
use quorate_rfh2::PropertyValue as Typed;

use super::world::*;

fn property<'a>(jms: &'a quorate_rfh2::JmsFolders, name: &str) -> &'a Typed {
    let found = jms.properties.iter().find(|(it, _)| it == name);
    &found.unwrap_or_else(|| panic!("no {name}: {jms:?}")).1
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_message_is_backed_out_to_its_place() {
    let mut stand_in = StandIn::start();
    let member = stand_in.consuming(channel()).await;
    member.group.behave(|call| {
        let fails = call.body == "0" && call.attempt < 3;
        (Duration::ZERO, status(if fails { 500 } else { 200 }))
    });
    bodies(3).for_each(|body| stand_in.text(&body));
    stand_in.depth("Q", 0).await;
    let calls: Vec<(String, u32)> = called(&member.group, 5)
        .await
        .iter()
        .map(|call| (call.body.clone(), call.attempt))
        .collect();
    let expected = [("0", 1), ("0", 2), ("0", 3), ("1", 1), ("2", 1)];
    assert_eq!(
        calls,
        expected.map(|(body, attempt)| (body.to_owned(), attempt))
    );
    let status = member
        .when("orders", "handled", |status| status.counts.handled == 3)
        .await;
    assert_eq!((status.counts.retried, status.counts.failed), (2, 0));
}

// guarantee: MESSAGE-5
#[tokio::test(flavor = "multi_thread")]
async fn message_past_threshold_moves_to_backout_with_reason() {
    let mut stand_in = StandIn::start();
    stand_in
        .control
        .define("BAD", Attributes::default())
        .unwrap();
    let channel = with(
        with(channel(), "backout_queue", "BAD"),
        "backout_threshold",
        2,
    );
    let member = stand_in.consuming(channel).await;
    member.group.behave(|call| {
        (
            Duration::ZERO,
            status(if call.body == "bad" { 500 } else { 200 }),
        )
    });
    stand_in.text("bad");
    stand_in.text("good");
    let taken = stand_in.taken("BAD").await;
    let (jms, inner, body) = opened(&taken);
    assert_eq!((body.as_slice(), &inner.format), (&b"bad"[..], b"MQSTR   "));
    let cid = said(&called(&member.group, 2).await[1], "x-zato-cid").to_owned();
    assert_eq!(property(&jms, "quorate_cid"), &Typed::Text(cid));
    assert_eq!(property(&jms, "quorate_attempts"), &Typed::Int(2));
    assert_eq!(
        property(&jms, "quorate_channel"),
        &Typed::Text("orders".into())
    );
    let Typed::Text(reason) = property(&jms, "quorate_reason") else {
        panic!()
    };
    assert!(reason.contains("500"), "{reason}");
    stand_in.depth("Q", 0).await;
    let status = member
        .when("orders", "handled", |status| status.counts.handled == 1)
        .await;
    assert_eq!((status.counts.dead_lettered, status.counts.failed), (1, 1));
    assert_eq!(member.group.calls_by_body()["bad"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_may_name_its_backout_queue_itself() {
    let mut stand_in = StandIn::start();
    stand_in
        .control
        .define("BAD", Attributes::default())
        .unwrap();
    let attributes = Attributes {
        backout_queue: "BAD".into(),
        ..Attributes::default()
    };
    stand_in.control.define("Q", attributes).unwrap();
    let member = stand_in
        .consuming(with(channel(), "backout_threshold", 1))
        .await;
    member.group.behave(|_| (Duration::ZERO, status(500)));
    stand_in.text("bad");
    let (_, _, body) = opened(&stand_in.taken("BAD").await);
    assert_eq!(body, b"bad");
    stand_in.depth("Q", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn message_without_backout_queue_is_kept_and_reported() {
    let mut stand_in = StandIn::start();
    let member = stand_in
        .consuming(with(channel(), "backout_threshold", 1))
        .await;
    member.group.behave(|_| (Duration::ZERO, status(500)));
    stand_in.text("bad");
    let text = complains(&member, "orders", "nowhere to go").await;
    assert!(text.contains("BOQNAME") && text.contains("500"), "{text}");
    assert_eq!(stand_in.control.depth("Q").unwrap(), 1);
    assert_eq!(member.group.calls.lock().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn message_is_kept_until_backout_queue_exists() {
    let mut stand_in = StandIn::start();
    let channel = with(
        with(channel(), "backout_queue", "BAD"),
        "backout_threshold",
        1,
    );
    let member = stand_in.consuming(channel).await;
    member.group.behave(|_| (Duration::ZERO, status(500)));
    stand_in.text("bad");
    complains(&member, "orders", "there is no queue \"BAD\"").await;
    assert_eq!(stand_in.control.depth("Q").unwrap(), 1);
    stand_in
        .control
        .define("BAD", Attributes::default())
        .unwrap();
    let (_, _, body) = opened(&stand_in.taken("BAD").await);
    assert_eq!(body, b"bad");
    stand_in.depth("Q", 0).await;
    member
        .when("orders", "no error", |status| status.last_error.is_none())
        .await;
    assert_eq!(member.group.calls.lock().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_channel_field_changes_while_messages_flow() {
    let mut stand_in = StandIn::start();
    let member = stand_in.consuming(channel()).await;
    stand_in.text("first");
    called(&member.group, 1).await;
    stand_in.control.define("R", Attributes::default()).unwrap();
    member.group.put(
        Kind::IbmMqChannel,
        with(with(channel(), "queue", "R"), "service", "other"),
    );
    eventually("the other queue is open", async || {
        let mut head = mq_stand_in::descriptor::plain();
        head[32..40].copy_from_slice(b"MQSTR   ");
        mq_stand_in::descriptor::set_field(&mut head, mq_stand_in::descriptor::CCSID, 1208);
        stand_in.control.put("R", &head, b"second").unwrap();
        let calls = member.group.calls.lock();
        calls
            .iter()
            .any(|call| call.service == "other" && call.body == "second")
            .then_some(())
    })
    .await;
}
