use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};

use proptest::{collection::vec, prelude::*};

use super::*;

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap();
    [
        &[kind],
        &channel.to_be_bytes()[..],
        &size.to_be_bytes(),
        payload,
        &[END],
    ]
    .concat()
}

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

/// A content header with these flags and properties.
fn header(channel: u16, flags: u16, properties: &[u8]) -> Vec<u8> {
    let before = [&[0, 60, 0, 0][..], &7_u64.to_be_bytes()].concat();
    let payload = [&before, &flags.to_be_bytes()[..], properties].concat();
    frame(HEADER, channel, &payload)
}

fn deliver(channel: u16, key: &[u8]) -> Vec<u8> {
    let payload = [
        &[0, 60, 0, 60][..],
        &short(b"tag"),
        &1_u64.to_be_bytes(),
        &[0],
        &short(b"exchange"),
        &short(key),
    ];
    frame(METHOD, channel, &payload.concat())
}

const CORRELATION_ID: u16 = 1 << 10;
const BAD: &[u8] = b"\x03\xff\xfe\x01";

fn through(bytes: &[u8], at_a_time: usize) -> Vec<u8> {
    let mut sanitizer = FrameSanitizer::default();
    let mut out = Vec::new();
    let mut buffer = [0; 64];
    for part in bytes.chunks(at_a_time) {
        if sanitizer.passes(part.len()) {
            out.extend_from_slice(part);
            continue;
        }
        sanitizer.push(part);
        loop {
            match sanitizer.pop(&mut buffer) {
                0 => break,
                n => out.extend_from_slice(&buffer[..n]),
            }
        }
    }
    out
}

/// The properties in the only frame.
fn properties(bytes: &[u8]) -> BasicProperties {
    assert_eq!(bytes.last(), Some(&END));
    let size = u32::from_be_bytes(bytes[3..7].try_into().unwrap()) as usize;
    assert_eq!(bytes.len(), HEAD + size + 1);
    let payload = &bytes[HEAD + BEFORE_PROPERTIES..bytes.len() - 1];
    let (rest, properties) = protocol::basic::parse_properties(payload).unwrap();
    assert!(rest.is_empty());
    properties
}

fn bytes_of(table: &FieldTable, name: &str) -> Vec<u8> {
    match &table.inner()[name] {
        AMQPValue::ByteArray(bytes) => bytes.as_slice().to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn readable_frames_pass_unchanged_in_any_pieces() {
    let all = [
        frame(METHOD, 0, b"\0\x0a\0\x0asome"),
        deliver(1, "grün".as_bytes()),
        header(1, CORRELATION_ID, b"\x02ok"),
        frame(BODY, 1, &[0xff; 300]),
        frame(HEARTBEAT, 0, b""),
        deliver(2, b"key"),
    ]
    .concat();
    for at_a_time in [1, 2, 7, 8, 100, 1000] {
        assert_eq!(through(&all, at_a_time), all, "{at_a_time} at a time");
    }
}

#[test]
fn unreadable_properties_become_one_header() {
    for at_a_time in [1, 3, 1000] {
        let bad = header(1, CORRELATION_ID, BAD);
        let after = header(1, CORRELATION_ID, b"\x02ok");
        let out = through(&[&bad[..], &after].concat(), at_a_time);
        let first = &out[..out.len() - after.len()];
        assert!(out.ends_with(&after));
        // The size of the body stays.
        assert_eq!(
            first[HEAD..HEAD + BEFORE_PROPERTIES],
            bad[HEAD..HEAD + BEFORE_PROPERTIES]
        );
        let properties = properties(first);
        let table = properties.headers().as_ref().unwrap();
        assert_eq!(table.inner().len(), 1);
        let raw = [&CORRELATION_ID.to_be_bytes()[..], BAD].concat();
        assert_eq!(bytes_of(table, mark()), raw);
    }
}

#[test]
fn unreadable_routing_key_is_mended_and_marked() {
    let out = through(
        &[
            deliver(1, b"a\xff\xfeb"),
            deliver(2, b"fine"),
            header(2, CORRELATION_ID, b"\x02ok"),
            header(1, CORRELATION_ID, b"\x02ok"),
        ]
        .concat(),
        5,
    );
    let mended = deliver(1, b"a??b");
    let untouched = [deliver(2, b"fine"), header(2, CORRELATION_ID, b"\x02ok")].concat();
    assert!(out.starts_with(&[&mended[..], &untouched].concat()));
    let properties = properties(&out[mended.len() + untouched.len()..]);
    let table = properties.headers().as_ref().unwrap();
    assert_eq!(bytes_of(table, key_mark()), b"a\xff\xfeb");
    let raw = [&CORRELATION_ID.to_be_bytes()[..], b"\x02ok"].concat();
    assert_eq!(bytes_of(table, mark()), raw);
}

#[test]
fn close_reason_cut_in_character_is_readable() {
    let close = |text: &[u8]| {
        let payload = [&[0, 20, 0, 40, 1, 0x96][..], &short(text), &[0, 60, 0, 20]];
        frame(METHOD, 1, &payload.concat())
    };
    assert_eq!(
        through(&close(b"queue 'gr\xc3..."), 4),
        close(b"queue 'gr?...")
    );
}

/// A header that fills its frame has no room for more.
#[test]
fn rewritten_frame_keeps_the_bound() {
    let text = vec![b'v'; 130_000];
    let value = [b"S", &130_000_u32.to_be_bytes()[..], &text].concat();
    let entry = [&short(b"\xff")[..], &value].concat();
    let table = [
        &u32::try_from(entry.len()).unwrap().to_be_bytes()[..],
        &entry,
    ]
    .concat();
    let before = header(1, 1 << 13, &table);
    let after = through(&before, 4096);
    assert_eq!(after.len(), before.len());
    assert!(properties(&after).headers().is_some());
}

#[test]
fn foreign_bytes_pass_unchanged() {
    let rubbish = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    assert_eq!(through(rubbish, 3), rubbish);
    let huge = [&[METHOD, 0, 0, 0xff, 0xff, 0xff, 0xff][..], &[0; 5000]].concat();
    assert_eq!(through(&huge, 1000), huge);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    /// Test 65: whatever a broker sends, in whatever pieces, comes out within bounds, and the same
    /// whatever the pieces are.
    #[test]
    fn any_bytes_come_out_alike_in_any_pieces(
        kind in 1..4_u8,
        payload in vec(any::<u8>(), 0..120),
        rest in vec(any::<u8>(), 0..40),
        at_a_time in 1..50_usize,
    ) {
        // Method and class of a delivery in half of them, or nothing would be looked into.
        let delivery = [&[0, 60, 0, 60][..], &payload].concat();
        for payload in [&payload, &delivery] {
            let bytes = [frame(kind, 1, payload), rest.clone()].concat();
            let (whole, pieces) = (through(&bytes, bytes.len()), through(&bytes, at_a_time));
            prop_assert_eq!(&whole, &pieces);
            prop_assert!(whole.len() <= 2 * bytes.len() + 1024);
        }
    }
}
