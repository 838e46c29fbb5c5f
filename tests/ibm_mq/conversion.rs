//! Texts in character sets that only the queue manager has tables for, against the stand-in,
//! whose tables are those of `iconv`.

use std::time::Duration;

use mq_stand_in::wire::Attributes;
use quorate_resources::Kind;
use quorate_rfh2::FolderCharset;

use super::world::*;

/// `日本 ABC カタ` in pages 930, 939, 1390 and 1399.
const JAPANESE: &[u8] = b"\x0e\x45\x62\x45\x66\x0f\x40\xc1\xc2\xc3\x40\x0e\x43\x86\x43\x91\x0f";
const UTF_8: &str = "日本 ABC カタ";
/// `한국` in page 933.
const KOREAN: &[u8] = b"\x0e\xd0\x65\x8a\x82\x0f";

/// A text message of JMS, whose header is in UTF-8 or UTF-16 and whose body is in page 1399.
fn put_jms(stand_in: &mut StandIn, folder_charset: FolderCharset) {
    let mut message = jms_header(1399, *b"MQSTR   ", folder_charset);
    message.extend(JAPANESE);
    let head = big_endian(1208, b"MQHRF2  ");
    stand_in.control.put("Q", &head, &message).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_manager_converts_sets_missing_from_tables() {
    let mut stand_in = StandIn::start();
    // Ours and theirs in turn, so that the order shows.
    stand_in.put(1141, b"\xc7\x99\xd0\xa1\x85");
    stand_in.put(1399, JAPANESE);
    stand_in.put(933, KOREAN);
    put_jms(&mut stand_in, FolderCharset::Utf8);
    put_jms(&mut stand_in, FolderCharset::Utf16);
    stand_in.text("last");
    let member = stand_in.consuming(channel()).await;
    let calls = called(&member.group, 6).await;
    let bodies = ["Grüße", UTF_8, "한국", UTF_8, UTF_8, "last"];
    for (call, body) in calls.iter().zip(bodies) {
        is_text(call, body);
        // The one that showed that it is needed was given back, which is no try.
        assert_eq!(call.attempt, 1, "{body}");
    }
    for call in &calls[3..5] {
        assert_eq!(said(call, "quorate-property-type"), "order");
    }
    let status = member
        .when("orders", "handled", |status| status.counts.handled == 6)
        .await;
    assert_eq!((status.counts.retried, status.counts.failed), (0, 0));
    stand_in.depth("Q", 0).await;
}

// guarantee: MESSAGE-6
#[tokio::test(flavor = "multi_thread")]
async fn failed_converted_text_is_dead_lettered_unconverted() {
    let mut stand_in = StandIn::start();
    stand_in
        .control
        .define("BAD", Attributes::default())
        .unwrap();
    stand_in.put(1399, JAPANESE);
    let group = stand_in.group();
    group.behave(|_| (Duration::ZERO, status(500)));
    let mut channel = with(channel(), "backout_queue", "BAD");
    channel["backout_threshold"] = 3.into();
    group.put(Kind::IbmMqChannel, channel);
    let member = SimulatedMember::start(&group, 1, 5000);
    member.lead(2);
    let taken = stand_in.taken("BAD").await;
    let calls = group.calls.lock().clone();
    let attempts: Vec<u32> = calls.iter().map(|call| call.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    calls.iter().for_each(|call| is_text(call, UTF_8));
    let (_, inner, body) = opened(&taken);
    assert_eq!((inner.ccsid, &inner.format), (1399, b"MQSTR   "));
    assert_eq!(body, JAPANESE);
}

// guarantee: MESSAGE-6
#[tokio::test(flavor = "multi_thread")]
async fn texts_that_grow_past_the_buffer_come_whole() {
    let mut stand_in = StandIn::start();
    // Of page 930: three bytes in UTF-8 for one. The first fits until it is converted, the
    // second doesn't fit at all.
    for length in [65_000, 300_000] {
        stand_in.put(930, &vec![0x81; length]);
    }
    stand_in.text("last");
    let member = stand_in.consuming(channel()).await;
    let calls = called(&member.group, 3).await;
    for (call, length) in calls.iter().zip([65_000, 300_000]) {
        assert_eq!(call.attempt, 1);
        assert!(call.body == "ｱ".repeat(length), "{length}");
    }
    assert_eq!(calls[2].body, "last");
}

// guarantee: MESSAGE-6
#[tokio::test(flavor = "multi_thread")]
async fn unconvertible_text_stays_bytes_with_reason() {
    let mut stand_in = StandIn::start();
    // Unknown to both, no text of its set, and not the number of any set.
    stand_in.put(9999, b"\xc1");
    stand_in.put(1399, b"\x0e\x45");
    stand_in.put(1208, b"\xc3");
    let member = stand_in.consuming(channel()).await;
    let expected = [
        (
            "9999",
            "the queue manager can't convert it (MQGET answered 2111)",
        ),
        (
            "1399",
            "the queue manager can't convert it (MQGET answered 2119)",
        ),
        ("1208", "it is no text of that character set"),
    ];
    let calls = called(&member.group, 3).await;
    for (call, (ccsid, why)) in calls.iter().zip(expected) {
        assert_eq!(said(call, "content-type"), "application/octet-stream");
        assert_eq!(said(call, "quorate-property-ccsid"), ccsid);
        assert_eq!(said(call, "quorate-property-not-converted"), why);
        assert_eq!(call.attempt, 1);
    }
    stand_in.depth("Q", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_browse_authority_text_stays_bytes_with_reason() {
    let mut stand_in = StandIn::start();
    let attributes = Attributes {
        not_browsable: true,
        ..Attributes::default()
    };
    stand_in.control.define("Q", attributes).unwrap();
    stand_in.put(1399, JAPANESE);
    stand_in.put(1399, JAPANESE);
    let member = stand_in.consuming(channel()).await;
    for call in called(&member.group, 2).await {
        assert_eq!(said(&call, "content-type"), "application/octet-stream");
        let why = said(&call, "quorate-property-not-converted");
        assert!(why.contains("2035; grant the authority browse"), "{why}");
        assert_eq!(call.attempt, 1);
    }
    stand_in.depth("Q", 0).await;
}
