//! Opening, closing and asking.

use libmqm_default as default;
use libmqm_sys as mq;
use mq_stand_in::{
    abi::{MQCLOSE, MQINQ},
    wire::{Attributes, Dynamic},
};

use super::program::*;

fn queue(name: &str) -> mq::MQOD {
    mq::MQOD {
        ObjectName: field(name),
        ..default::MQOD_DEFAULT
    }
}

#[test]
fn handle_allows_only_options_at_open() {
    let manager = manager();
    let program = Program::connect(&manager);
    let output = program.open(mq::MQOO_OUTPUT).unwrap();
    let input = program.open(mq::MQOO_INPUT_SHARED).unwrap();
    let failed = |reason| (mq::MQCC_FAILED, reason);
    let get = |hobj, options| program.get_plain(hobj, options).codes;
    assert_eq!(get(output, 0), failed(mq::MQRC_NOT_OPEN_FOR_INPUT));
    let browse = mq::MQGMO_BROWSE_FIRST;
    assert_eq!(get(input, browse), failed(mq::MQRC_NOT_OPEN_FOR_BROWSE));
    let (codes, _) = program.put_with(input, default::MQPMO_DEFAULT, default::MQMD2_DEFAULT, b"");
    assert_eq!(codes, failed(mq::MQRC_NOT_OPEN_FOR_OUTPUT));
    let (mut selector, mut number) = (mq::MQIA_CURRENT_Q_DEPTH, 0);
    let inquired = answer(|completion, reason| {
        // SAFETY: one selector, and room for one number.
        unsafe {
            let text = std::ptr::null_mut();
            MQINQ(
                program.hconn,
                input,
                1,
                &mut selector,
                1,
                &mut number,
                0,
                text,
                completion,
                reason,
            );
        }
    });
    assert_eq!(inquired, mq::MQRC_NOT_OPEN_FOR_INQUIRE);
    for options in [0, mq::MQOO_INPUT_SHARED | mq::MQOO_INPUT_EXCLUSIVE] {
        assert_eq!(program.open(options), Err(mq::MQRC_OPTIONS_ERROR));
    }
    let process = mq::MQOD {
        ObjectType: 99,
        ..queue("Q")
    };
    let opened = program.open_object(process, mq::MQOO_INQUIRE);
    assert_eq!(opened, Err(mq::MQRC_OBJECT_TYPE_ERROR));
    let elsewhere = mq::MQOD {
        ObjectQMgrName: field("OTHER"),
        ..queue("Q")
    };
    let opened = program.open_object(elsewhere, mq::MQOO_OUTPUT);
    assert_eq!(opened, Err(mq::MQRC_UNKNOWN_REMOTE_Q_MGR));
}

#[test]
fn inquire_returns_attributes_in_selector_order() {
    let manager = manager();
    let attributes = Attributes {
        backout_queue: "BAD".into(),
        backout_threshold: 3,
        ..Attributes::default()
    };
    control(&manager).define("Q", attributes).unwrap();
    let program = Program::connect(&manager);
    let hobj = program
        .open(mq::MQOO_INQUIRE | mq::MQOO_INPUT_EXCLUSIVE)
        .unwrap();
    let mut selectors = [
        mq::MQCA_BACKOUT_REQ_Q_NAME,
        mq::MQIA_OPEN_INPUT_COUNT,
        mq::MQCA_Q_NAME,
        mq::MQIA_BACKOUT_THRESHOLD,
    ];
    let inquire = |selectors: &mut [i32], room: usize| {
        let (mut numbers, mut texts) = ([-7; 2], [0 as mq::MQCHAR; 96]);
        let reason = answer(|completion, reason| {
            // SAFETY: as many selectors as are said, and as much room.
            unsafe {
                MQINQ(
                    program.hconn,
                    hobj,
                    selectors.len() as mq::MQLONG,
                    selectors.as_mut_ptr(),
                    room as mq::MQLONG,
                    numbers.as_mut_ptr(),
                    96,
                    texts.as_mut_ptr(),
                    completion,
                    reason,
                );
            }
        });
        let texts: String = texts.iter().map(|it| char::from(*it as u8)).collect();
        (reason, numbers, texts)
    };
    let (reason, numbers, texts) = inquire(&mut selectors, 2);
    assert_eq!((reason, numbers), (0, [1, 3]));
    assert_eq!(texts, format!("{:48}{:48}", "BAD", "Q"));
    let (reason, numbers, _) = inquire(&mut selectors, 1);
    assert_eq!(
        (reason, numbers),
        (mq::MQRC_INT_ATTR_COUNT_TOO_SMALL, [1, -7])
    );
    let (reason, ..) = inquire(&mut [mq::MQIA_COMMAND_LEVEL], 1);
    assert_eq!(reason, mq::MQRC_SELECTOR_NOT_FOR_TYPE);
    let (reason, ..) = inquire(&mut [-5], 1);
    assert_eq!(reason, mq::MQRC_SELECTOR_ERROR);
}

#[test]
fn dynamic_queue_ends_with_its_creator() {
    let manager = manager();
    let mut control = control(&manager);
    let permanent = Attributes {
        model: Some(Dynamic::Permanent),
        ..Attributes::default()
    };
    control.define("MODEL", permanent).unwrap();
    let program = Program::connect(&manager);
    let model = |name, dynamic| mq::MQOD {
        DynamicQName: field(dynamic),
        ..queue(name)
    };
    let default_model = "SYSTEM.DEFAULT.MODEL.QUEUE";
    let made = program.open_object(model(default_model, "REPLY.*"), mq::MQOO_INPUT_AS_Q_DEF);
    let (mut hobj, name) = made.unwrap();
    assert!(name.starts_with("REPLY.") && name.len() > 6, "{name}");
    assert_eq!(control.depth(&name).unwrap(), 0);
    let closed = answer(|completion, reason| {
        MQCLOSE(program.hconn, &mut hobj, mq::MQCO_NONE, completion, reason);
    });
    assert_eq!(closed, 0);
    assert!(control.depth(&name).is_err(), "it is gone");

    let made = program
        .open_object(model("MODEL", "KEPT"), mq::MQOO_OUTPUT)
        .unwrap();
    assert_eq!(made.1, "KEPT");
    let again = program.open_object(model("MODEL", "KEPT"), mq::MQOO_OUTPUT);
    assert_eq!(again, Err(mq::MQRC_OBJECT_ALREADY_EXISTS));
    let mut predefined = program.open(mq::MQOO_OUTPUT).unwrap();
    let deleted = answer(|completion, reason| {
        MQCLOSE(
            program.hconn,
            &mut predefined,
            mq::MQCO_DELETE,
            completion,
            reason,
        );
    });
    assert_eq!(deleted, mq::MQRC_OPTION_NOT_VALID_FOR_TYPE);
}
