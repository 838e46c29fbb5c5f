//! Which message is got, and what becomes of it.

use libmqm_default as default;
use libmqm_sys as mq;
use mq_stand_in::wire::Attributes;

use super::program::*;

fn descriptor(correlation: u8) -> mq::MQMD2 {
    mq::MQMD2 {
        CorrelId: [correlation; 24],
        ..default::MQMD2_DEFAULT
    }
}

fn put(program: &Program, hobj: mq::MQHOBJ, descriptor: mq::MQMD2, body: &[u8]) -> mq::MQMD2 {
    let (codes, descriptor) = program.put_with(hobj, default::MQPMO_DEFAULT, descriptor, body);
    assert_eq!(codes, (mq::MQCC_OK, mq::MQRC_NONE));
    descriptor
}

const BOTH: mq::MQLONG = mq::MQOO_INPUT_SHARED | mq::MQOO_OUTPUT | mq::MQOO_BROWSE;
const NOTHING: (mq::MQLONG, mq::MQLONG) = (mq::MQCC_FAILED, mq::MQRC_NO_MSG_AVAILABLE);

#[test]
fn get_without_options_is_outside_unit_of_work() {
    let manager = manager();
    let program = Program::connect(&manager);
    let hobj = program.open(BOTH).unwrap();
    put(&program, hobj, descriptor(0), b"a");
    assert_eq!(program.get_plain(hobj, 0).body, b"a");
    program.back_out();
    assert_eq!(program.get_plain(hobj, 0).codes, NOTHING);

    let persistent = mq::MQMD2 {
        Persistence: mq::MQPER_PERSISTENT,
        ..descriptor(0)
    };
    put(&program, hobj, persistent, b"p");
    put(&program, hobj, descriptor(0), b"n");
    let either = mq::MQGMO_SYNCPOINT_IF_PERSISTENT;
    assert_eq!(program.get_plain(hobj, either).body, b"p");
    assert_eq!(program.get_plain(hobj, either).body, b"n");
    program.back_out();
    let again = program.get_plain(hobj, 0);
    assert_eq!(
        (again.body, again.descriptor.BackoutCount),
        (b"p".to_vec(), 1)
    );
    assert_eq!(program.get_plain(hobj, 0).codes, NOTHING);
}

#[test]
fn browse_cursor_advances_and_takes_current_message() {
    let manager = manager();
    let program = Program::connect(&manager);
    let hobj = program.open(BOTH).unwrap();
    for body in [b"a", b"b", b"c"] {
        put(&program, hobj, descriptor(0), body);
    }
    let under = mq::MQGMO_MSG_UNDER_CURSOR;
    let none = (mq::MQCC_FAILED, mq::MQRC_NO_MSG_UNDER_CURSOR);
    assert_eq!(program.get_plain(hobj, under).codes, none);
    let body = |options| program.get_plain(hobj, options).body;
    assert_eq!(body(mq::MQGMO_BROWSE_NEXT), b"a");
    assert_eq!(body(mq::MQGMO_BROWSE_NEXT), b"b");
    assert_eq!(body(mq::MQGMO_BROWSE_MSG_UNDER_CURSOR), b"b");
    assert_eq!(body(under), b"b");
    assert_eq!(program.get_plain(hobj, under).codes, none);
    assert_eq!(body(mq::MQGMO_BROWSE_NEXT), b"c");
    assert_eq!(
        program.get_plain(hobj, mq::MQGMO_BROWSE_NEXT).codes,
        NOTHING
    );
    assert_eq!(body(mq::MQGMO_BROWSE_FIRST), b"a");
    assert_eq!(control(&manager).depth("Q").unwrap(), 2);
}

#[test]
fn ids_that_are_set_are_matched() {
    let manager = manager();
    let program = Program::connect(&manager);
    let hobj = program.open(BOTH).unwrap();
    put(&program, hobj, descriptor(1), b"one");
    let second = put(&program, hobj, descriptor(2), b"two");
    put(&program, hobj, descriptor(3), b"three");
    let get = |options, wanted| program.get_with(hobj, options, wanted, 100);
    let first_version = mq::MQGMO {
        Version: mq::MQGMO_VERSION_1,
        ..default::MQGMO_DEFAULT
    };
    assert_eq!(get(first_version, descriptor(3)).body, b"three");
    assert_eq!(get(first_version, descriptor(3)).codes, NOTHING);
    let any = mq::MQGMO {
        Version: mq::MQGMO_VERSION_2,
        MatchOptions: mq::MQMO_NONE,
        ..default::MQGMO_DEFAULT
    };
    assert_eq!(get(any, descriptor(9)).body, b"one");
    let by_id = mq::MQMD2 {
        MsgId: second.MsgId,
        ..default::MQMD2_DEFAULT
    };
    assert_eq!(get(first_version, by_id).body, b"two");
}

#[test]
fn truncated_message_warns_and_stays_unless_accepted() {
    let manager = manager();
    let program = Program::connect(&manager);
    let hobj = program.open(BOTH).unwrap();
    let put = put(&program, hobj, descriptor(7), b"twelve bytes");
    let options = |options| mq::MQGMO {
        Version: mq::MQGMO_VERSION_4,
        Options: options,
        ..default::MQGMO_DEFAULT
    };
    let get = |flags| program.get_with(hobj, options(flags), default::MQMD2_DEFAULT, 6);
    let failed = get(mq::MQGMO_SYNCPOINT);
    assert_eq!(
        failed.codes,
        (mq::MQCC_WARNING, mq::MQRC_TRUNCATED_MSG_FAILED)
    );
    assert_eq!((failed.body, failed.length), (b"twelve".to_vec(), 12));
    assert_eq!(
        failed.descriptor.MsgId, put.MsgId,
        "the descriptor tells which it is"
    );
    let accepted = get(mq::MQGMO_ACCEPT_TRUNCATED_MSG);
    assert_eq!(
        accepted.codes,
        (mq::MQCC_WARNING, mq::MQRC_TRUNCATED_MSG_ACCEPTED)
    );
    assert_eq!((accepted.body, accepted.length), (b"twelve".to_vec(), 12));
    assert_eq!(program.get_plain(hobj, 0).codes, NOTHING);
}

#[test]
fn queue_and_manager_defaults_are_filled_in() {
    let manager = manager();
    let own = Attributes {
        persistent: true,
        priority: 4,
        ..Attributes::default()
    };
    control(&manager).define("Q", own).unwrap();
    let program = Program::connect(&manager);
    let hobj = program.open(BOTH).unwrap();
    let request = mq::MQMD2 {
        MsgType: mq::MQMT_REQUEST,
        ReplyToQ: field("Q"),
        ..descriptor(0)
    };
    put(&program, hobj, request, b"");
    let got = program.get_plain(hobj, 0).descriptor;
    assert_eq!((got.Priority, got.Persistence), (4, mq::MQPER_PERSISTENT));
    assert_eq!(got.ReplyToQMgr, field("STANDIN"));
    assert_eq!(got.CodedCharSetId, 1208);
    assert_eq!(got.PutApplType, mq::MQAT_UNIX);
    for (wrong, reason) in [
        (
            mq::MQMD2 {
                MsgType: 0,
                ..request
            },
            mq::MQRC_MSG_TYPE_ERROR,
        ),
        (
            mq::MQMD2 {
                Expiry: 0,
                ..request
            },
            mq::MQRC_EXPIRY_ERROR,
        ),
        (
            mq::MQMD2 {
                Priority: -2,
                ..request
            },
            mq::MQRC_PRIORITY_ERROR,
        ),
        (
            mq::MQMD2 {
                Persistence: 7,
                ..request
            },
            mq::MQRC_PERSISTENCE_ERROR,
        ),
        (
            mq::MQMD2 {
                ReplyToQ: field(""),
                ..request
            },
            mq::MQRC_MISSING_REPLY_TO_Q,
        ),
    ] {
        let (codes, _) = program.put_with(hobj, default::MQPMO_DEFAULT, wrong, b"");
        assert_eq!(codes, (mq::MQCC_FAILED, reason));
    }
    let high = mq::MQMD2 {
        Priority: 12,
        ..descriptor(0)
    };
    let (codes, _) = program.put_with(hobj, default::MQPMO_DEFAULT, high, b"");
    assert_eq!(codes, (mq::MQCC_WARNING, mq::MQRC_PRIORITY_EXCEEDS_MAXIMUM));
}

#[test]
fn reports_announce_arrival_delivery_and_expiry() {
    let manager = manager();
    control(&manager)
        .define("R", Attributes::default())
        .unwrap();
    let program = Program::connect(&manager);
    let hobj = program.open(BOTH).unwrap();
    let object = mq::MQOD {
        ObjectName: field("R"),
        ..default::MQOD_DEFAULT
    };
    let (reports, _) = program.open_object(object, mq::MQOO_INPUT_SHARED).unwrap();
    let asking = mq::MQMD2 {
        Report: mq::MQRO_COA | mq::MQRO_COD_WITH_FULL_DATA | mq::MQRO_PASS_CORREL_ID,
        ReplyToQ: field("R"),
        ..descriptor(5)
    };
    let sent = put(&program, hobj, asking, b"order");
    let arrived = program.get_plain(reports, 0);
    let of = &arrived.descriptor;
    assert_eq!((of.MsgType, of.Feedback), (mq::MQMT_REPORT, mq::MQFB_COA));
    assert_eq!((of.CorrelId, arrived.body.len()), ([5; 24], 0));
    assert_ne!(of.MsgId, sent.MsgId);

    // The report of a delivery is part of the unit of work of the get.
    assert_eq!(program.get_plain(hobj, mq::MQGMO_SYNCPOINT).body, b"order");
    assert_eq!(program.get_plain(reports, 0).codes, NOTHING);
    program.back_out();
    assert_eq!(program.get_plain(reports, 0).codes, NOTHING);
    assert_eq!(program.get_plain(hobj, mq::MQGMO_SYNCPOINT).body, b"order");
    program.commit();
    let delivered = program.get_plain(reports, 0);
    assert_eq!(delivered.descriptor.Feedback, mq::MQFB_COD);
    assert_eq!(delivered.body, b"order");

    let short = mq::MQMD2 {
        Report: mq::MQRO_EXPIRATION,
        Expiry: 1,
        ..asking
    };
    let sent = put(
        &program,
        hobj,
        mq::MQMD2 {
            CorrelId: [0; 24],
            ..short
        },
        b"late",
    );
    let wait = mq::MQGMO {
        Options: mq::MQGMO_WAIT,
        WaitInterval: 1000,
        ..default::MQGMO_DEFAULT
    };
    // The wait for a message that doesn't come is the wait for this one's end.
    let none = program.get_with(hobj, wait, descriptor(9), 10);
    assert_eq!(none.codes, NOTHING);
    let expired = program.get_plain(reports, 0);
    assert_eq!(expired.descriptor.Feedback, mq::MQFB_EXPIRATION);
    assert_eq!(expired.descriptor.CorrelId, sent.MsgId);
}

#[test]
fn message_context_is_passed_on_when_requested() {
    let manager = manager();
    let program = Program::connect(&manager);
    let own = mq::MQOO_SET_ALL_CONTEXT | mq::MQOO_PASS_ALL_CONTEXT;
    let hobj = program
        .open(BOTH | mq::MQOO_SAVE_ALL_CONTEXT | own)
        .unwrap();
    let setting = mq::MQPMO {
        Options: mq::MQPMO_SET_ALL_CONTEXT,
        ..default::MQPMO_DEFAULT
    };
    let passing = mq::MQPMO {
        Options: mq::MQPMO_PASS_ALL_CONTEXT,
        Context: hobj,
        ..default::MQPMO_DEFAULT
    };
    let (codes, _) = program.put_with(hobj, passing, descriptor(0), b"");
    assert_eq!(codes, (mq::MQCC_FAILED, mq::MQRC_CONTEXT_NOT_AVAILABLE));
    let clerk = mq::MQMD2 {
        UserIdentifier: field("clerk"),
        ..descriptor(0)
    };
    assert_eq!(program.put_with(hobj, setting, clerk, b"").0.1, 0);
    assert_eq!(
        program.get_plain(hobj, 0).descriptor.UserIdentifier,
        field("clerk")
    );
    assert_eq!(program.put_with(hobj, passing, descriptor(0), b"").0.1, 0);
    assert_eq!(
        program.get_plain(hobj, 0).descriptor.UserIdentifier,
        field("clerk")
    );
    let plain = program.open(mq::MQOO_OUTPUT).unwrap();
    let (codes, _) = program.put_with(plain, passing, descriptor(0), b"");
    assert_eq!(codes, (mq::MQCC_FAILED, mq::MQRC_NOT_OPEN_FOR_PASS_ALL));
}

#[test]
fn properties_are_omitted_when_requested() {
    let manager = manager();
    let program = Program::connect(&manager);
    let hobj = program.open(BOTH).unwrap();
    let folder = b"<usr><a>1</a></usr> ";
    let mut message = b"RFH ".to_vec();
    let length = 36 + 4 + folder.len() as i32;
    for number in [2, length, mq::MQENC_NATIVE, 819] {
        message.extend(number.to_ne_bytes());
    }
    message.extend(b"MQSTR   ");
    for number in [0, 1208, folder.len() as i32] {
        message.extend(number.to_ne_bytes());
    }
    message.extend(folder);
    message.extend(b"body");
    let head = mq::MQMD2 {
        Format: field("MQHRF2"),
        ..descriptor(0)
    };
    put(&program, hobj, head, &message);
    put(&program, hobj, head, &message);
    assert_eq!(
        program
            .get_plain(hobj, mq::MQGMO_PROPERTIES_FORCE_MQRFH2)
            .body,
        message
    );
    let bare = program.get_plain(hobj, mq::MQGMO_NO_PROPERTIES);
    assert_eq!(bare.body, b"body");
    assert_eq!(bare.descriptor.Format, field("MQSTR"));
    assert_eq!(bare.descriptor.CodedCharSetId, 819);
}

#[test]
fn get_converts_text_or_warns() {
    let manager = manager();
    let program = Program::connect(&manager);
    let hobj = program.open(BOTH).unwrap();
    let text = mq::MQMD2 {
        Format: field("MQSTR"),
        CodedCharSetId: 819,
        ..descriptor(0)
    };
    put(&program, hobj, text, b"Gr\xfcn");
    let unknown = mq::MQMD2 {
        CodedCharSetId: 9999,
        ..text
    };
    put(&program, hobj, unknown, b"\xc7");
    put(
        &program,
        hobj,
        mq::MQMD2 {
            CodedCharSetId: 819,
            ..descriptor(0)
        },
        b"\0",
    );
    let get = || program.get_plain(hobj, mq::MQGMO_CONVERT);
    let got = get();
    assert_eq!(
        (got.codes.1, got.body, got.descriptor.CodedCharSetId),
        (0, "Grün".into(), 1208)
    );
    let got = get();
    assert_eq!(got.codes, (mq::MQCC_WARNING, mq::MQRC_SOURCE_CCSID_ERROR));
    assert_eq!(
        (got.body, got.descriptor.CodedCharSetId),
        (vec![0xc7], 9999)
    );
    assert_eq!(get().codes, (mq::MQCC_WARNING, mq::MQRC_FORMAT_ERROR));
}
