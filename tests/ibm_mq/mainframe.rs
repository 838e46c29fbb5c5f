//! Texts and headers of a mainframe: EBCDIC, and numbers in big endian.

use mq_stand_in::descriptor;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::Send;
use quorate_resources::Kind;
use quorate_rfh2::{ContentDescriptor, ENCODING_BIG, FolderCharset, Rfh2Header};

use super::world::*;

/// `Grüße 1 €` and a line's end, in page 1141.
const GERMAN: &[u8] = b"\xc7\x99\xd0\xa1\x85\x40\xf1\x40\x9f\x15";

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_a_mainframe_come_as_utf_8() {
    let mut stand_in = StandIn::start();
    stand_in.put(1141, GERMAN);
    stand_in.put(278, b"\x5b\xd0\xc0\x6a");
    let member = stand_in.consuming(channel()).await;
    let calls = called(&member.group, 2).await;
    for (call, body) in calls.iter().zip(["Grüße 1 €\n", "Ååäö"]) {
        is_text(call, body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ebcdic_header_is_read_and_annotated() {
    let mut stand_in = StandIn::start();
    stand_in.control.define("BAD", Default::default()).unwrap();
    // MQSTR
    let format = *b"\xd4\xd8\xe2\xe3\xd9\x40\x40\x40";
    let mut message = jms_header(1141, format, FolderCharset::Utf8);
    // RFH
    message[..4].copy_from_slice(b"\xd9\xc6\xc8\x40");
    message.extend(GERMAN);
    let head = big_endian(1141, b"MQHRF2  ");
    stand_in.control.put("Q", &head, &message).unwrap();
    let group = stand_in.group();
    group.behave(|_| (std::time::Duration::ZERO, status(500)));
    let mut channel = with(channel(), "backout_queue", "BAD");
    channel["backout_threshold"] = 1.into();
    group.put(Kind::IbmMqChannel, channel);
    let member = SimulatedMember::start(&group, 1, 5000);
    member.lead(2);
    let call = called(&group, 1).await.remove(0);
    assert_eq!(call.body, "Grüße 1 €\n");
    assert_eq!(said(&call, "quorate-property-type"), "order");
    assert_eq!(said(&call, "quorate-property-format"), "MQSTR");
    let taken = stand_in.taken("BAD").await;
    assert_eq!(
        descriptor::field(&taken.descriptor, descriptor::CCSID),
        1208
    );
    assert_eq!(taken.message[..4], *b"RFH ");
    let contents = ContentDescriptor {
        encoding: ENCODING_BIG,
        ccsid: 1208,
        format: quorate_rfh2::MQHRF2,
    };
    let (header, at) = Rfh2Header::read(&taken.message, contents).unwrap();
    assert_eq!(
        (header.next.ccsid, &header.next.format),
        (1141, b"MQSTR   ")
    );
    assert_eq!(&taken.message[at..], GERMAN, "the body stays as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_use_character_set_of_their_outgoing() {
    let mut stand_in = StandIn::start();
    let member = stand_in.member(Kind::IbmMqOutgoing, with(outgoing(), "ccsid", 1141));
    let text = |body: &str| Send {
        content_type: "text/plain".into(),
        body: body.to_owned().into(),
        ..Send::default()
    };
    let sent = send(&member, text("Grüße 1 €\n")).await;
    assert!(matches!(sent, SendOutcome::Confirmed { .. }), "{sent:?}");
    let taken = stand_in.taken("Q").await;
    let (_, inner, body) = opened(&taken);
    assert_eq!((inner.ccsid, &inner.format), (1141, b"MQSTR   "));
    assert_eq!(body, b"\xc7\x99\xd0\xa1\x85\x40\xf1\x40\x9f\x25");

    let refused = send(&member, text("łódź")).await;
    let reason = "the character set 1141 has no 'ł' (U+0142)";
    assert!(
        matches!(&refused, SendOutcome::Refused(text) if text.contains(reason)),
        "{refused:?}"
    );
    let bytes = Send {
        content_type: "application/octet-stream".into(),
        body: b"\0\xff".as_slice().into(),
        ..Send::default()
    };
    let sent = send(&member, bytes).await;
    assert!(matches!(sent, SendOutcome::Confirmed { .. }), "{sent:?}");
    assert_eq!(opened(&stand_in.taken("Q").await).2, b"\0\xff");
}
