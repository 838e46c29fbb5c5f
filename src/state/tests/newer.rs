//! What a newer version has added to commands and snapshots is refused, wherever it stands.

use super::*;

/// A field that this version does not know: number 900, with the value 1.
const ADDED: [u8; 3] = [0xa0, 0x38, 0x01];

/// A field with a length before it.
fn field(number: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[number << 3 | 2, body.len() as u8][..], &body].concat()
}

fn refused(bytes: Vec<u8>) -> FieldError {
    Command::decode(bytes.into()).unwrap_err()
}

#[test]
fn a_part_of_a_command_that_is_not_known_is_refused_at_any_depth() {
    let precondition = Some(Precondition::Revision(5));
    let (key, value) = ("k".to_owned(), "v".into());
    let command = Command::PutKey {
        key,
        value,
        precondition,
    };
    let revision: &[u8] = &[0x08, 0x05];
    let put = |inner: &[u8], outer: &[u8]| {
        let (key, value) = (field(1, &[b"k"]), field(2, &[b"v"]));
        field(3, &[&key, &value, &field(3, &[revision, inner]), outer])
    };
    assert_eq!(command.encode(), put(&[], &[]));
    let expected = command::error("command", "3", "has a part that this version does not know");
    assert_eq!(refused(put(&ADDED, &[])), expected);
    assert_eq!(refused(put(&[], &ADDED)), expected);
    assert_eq!(refused([put(&[], &[]), ADDED.to_vec()].concat()), expected);
}

#[test]
fn a_command_and_a_value_that_are_not_known_are_refused_by_number() {
    let unknown = |field: &str, value: &str| command::error(field, value, command::NOT_KNOWN);
    assert_eq!(
        refused([&[0xfa, 0x7f][..], b"\x01x"].concat()),
        unknown("command", "2047")
    );
    let takeover = Takeover {
        reason: 77,
        ..Takeover::default()
    };
    let explain = Command::Explain(Box::new(takeover));
    assert_eq!(refused(explain.encode().into()), unknown("reason", "77"));
}

#[test]
fn a_fingerprint_of_another_length_is_no_fingerprint() {
    let key = field(1, &[&field(1, &[b"zmq_outgoing"])]);
    let intend = field(11, &[&key, &field(4, &[&[1; 8]])]);
    let expected = command::error("fingerprint", "8 bytes", "must have 32 bytes");
    assert_eq!(refused(intend), expected);
}

#[test]
fn a_part_of_a_snapshot_that_is_not_known_is_refused_in_each_record() {
    let mut log = Log::with_ping();
    log.apply(Command::PutKey {
        key: "k".into(),
        value: "v".into(),
        precondition: None,
    });
    let bytes = snapshot(log.state());
    let mut begin = 0;
    let mut records = 0;
    while begin < bytes.len() {
        let length: [u8; 4] = bytes[begin..begin + 4].try_into().unwrap();
        let length = u32::from_le_bytes(length);
        let end = begin + 4 + length as usize;
        let longer = (length + ADDED.len() as u32).to_le_bytes();
        let newer = [
            &bytes[..begin],
            &longer,
            &bytes[begin + 4..end],
            &ADDED,
            &bytes[end..],
        ];
        let newer = newer.concat();
        let error = State::read_from(&mut &newer[..]).unwrap_err().to_string();
        let says = format!("record {records} is of a sort that this program does not know");
        assert!(error.contains(&says), "{error}");
        (begin, records) = (end, records + 1);
    }
    assert!(records > 4, "{records}");
}
