//! What MQGMO_CONVERT converts.

use libmqm_default as default;
use libmqm_sys as mq;

use super::program::*;

const BOTH: mq::MQLONG = mq::MQOO_INPUT_SHARED | mq::MQOO_OUTPUT | mq::MQOO_BROWSE;
/// `日本 ABC カタ` in page 1399, which changes to two bytes for a character and back.
const JAPANESE: &[u8] = b"\x0e\x45\x62\x45\x66\x0f\x40\xc1\xc2\xc3\x40\x0e\x43\x86\x43\x91\x0f";
const UTF_8: &str = "日本 ABC カタ";

fn text(ccsid: mq::MQLONG) -> mq::MQMD2 {
    mq::MQMD2 {
        Format: field("MQSTR"),
        CodedCharSetId: ccsid,
        ..default::MQMD2_DEFAULT
    }
}

fn put(program: &Program, hobj: mq::MQHOBJ, descriptor: mq::MQMD2, body: &[u8]) {
    let (codes, _) = program.put_with(hobj, default::MQPMO_DEFAULT, descriptor, body);
    assert_eq!(codes, (mq::MQCC_OK, mq::MQRC_NONE));
}

fn get(program: &Program, hobj: mq::MQHOBJ, ccsid: mq::MQLONG, options: i32, room: usize) -> Got {
    let options = mq::MQGMO {
        Options: options | mq::MQGMO_CONVERT,
        ..default::MQGMO_DEFAULT
    };
    program.get_with(hobj, options, text(ccsid), room)
}

#[test]
fn texts_of_mainframes_are_converted_either_way() {
    let manager = manager();
    let program = Program::connect(&manager);
    let hobj = program.open(BOTH).unwrap();
    put(&program, hobj, text(1399), JAPANESE);
    put(&program, hobj, text(1141), b"\xc7\x99\xd0\xa1\x85\x15\x9f");
    put(&program, hobj, text(1208), UTF_8.as_bytes());
    for (ccsid, expected) in [
        (1208, UTF_8.as_bytes()),
        (1208, "Grüße\n€".as_bytes()),
        (1399, JAPANESE),
    ] {
        let got = get(&program, hobj, ccsid, mq::MQGMO_NONE, 100);
        assert_eq!(got.codes, (mq::MQCC_OK, mq::MQRC_NONE));
        assert_eq!(
            (&*got.body, got.descriptor.CodedCharSetId),
            (expected, ccsid)
        );
    }
}

#[test]
fn overlong_conversion_returns_original_and_browse_may_retry() {
    let manager = manager();
    let program = Program::connect(&manager);
    let hobj = program.open(BOTH).unwrap();
    // Six bytes, and in UTF-8 eighteen.
    let katakana = [0x81; 3].repeat(2);
    put(&program, hobj, text(930), &katakana);
    let too_long = (mq::MQCC_WARNING, mq::MQRC_TRUNCATED_MSG_FAILED);
    let too_big = (mq::MQCC_WARNING, mq::MQRC_CONVERTED_MSG_TOO_BIG);
    let converted = (mq::MQCC_OK, mq::MQRC_NONE);
    for (options, room, codes) in [
        (mq::MQGMO_BROWSE_FIRST, 5, too_long),
        (mq::MQGMO_BROWSE_FIRST, 6, too_big),
        (mq::MQGMO_BROWSE_FIRST, 17, too_big),
        (mq::MQGMO_BROWSE_FIRST, 18, converted),
        (mq::MQGMO_NONE, 17, too_big),
    ] {
        let got = get(&program, hobj, 1208, options, room);
        assert_eq!(got.codes, codes, "{room}");
        if codes == too_big {
            let as_it_is = (katakana.clone(), 930);
            assert_eq!((got.body, got.descriptor.CodedCharSetId), as_it_is);
        } else if codes == converted {
            assert_eq!(got.body, "ｱ".repeat(6).as_bytes());
        }
    }
    let gone = get(&program, hobj, 1208, mq::MQGMO_NONE, 100);
    assert_eq!(gone.codes.1, mq::MQRC_NO_MSG_AVAILABLE);
}

#[test]
fn header_is_converted_with_its_text() {
    let manager = manager();
    let program = Program::connect(&manager);
    let hobj = program.open(BOTH).unwrap();
    // From a mainframe: names in page 500, numbers and folders in big endian.
    let mut message = b"\xd9\xc6\xc8\x40\0\0\0\x02\0\0\0\x38\0\0\x03\x11".to_vec();
    message.extend(1399_i32.to_be_bytes());
    message.extend(b"\xd4\xd8\xe2\xe3\xd9\x40\x40\x40\0\0\0\0");
    message.extend(b"\0\0\x04\xb0\0\0\0\x10\0<\0u\0s\0r\0/\0>\0 \0 ");
    message.extend(JAPANESE);
    let head = mq::MQMD2 {
        Format: field("MQHRF2"),
        Encoding: 0x311,
        ..text(500)
    };
    put(&program, hobj, head, &message);
    let options = mq::MQGMO {
        Options: mq::MQGMO_CONVERT | mq::MQGMO_PROPERTIES_FORCE_MQRFH2,
        ..default::MQGMO_DEFAULT
    };
    let wanted = mq::MQMD2 {
        Encoding: 0x222,
        ..text(1208)
    };
    let got = program.get_with(hobj, options, wanted, 200);
    assert_eq!(got.codes, (mq::MQCC_OK, mq::MQRC_NONE));
    let mut expected = b"RFH \x02\0\0\0\x38\0\0\0\x22\x02\0\0".to_vec();
    expected.extend(1208_i32.to_le_bytes());
    expected.extend(b"MQSTR   \0\0\0\0\xb0\x04\0\0\x10\0\0\0");
    expected.extend(b"<\0u\0s\0r\0/\0>\0 \0 \0");
    expected.extend(UTF_8.as_bytes());
    assert_eq!(got.body, expected);
}
