//! Structures of whatever version: never read nor written beyond the caller's.

use libmqm_default as default;
use libmqm_sys as mq;
use mq_stand_in::abi::{MQBEGIN, MQCONN, MQCONNX, MQGET, MQPUT};

use super::program::*;

const GUARD: u8 = 0xa5;

/// The first bytes of a structure with this version, before bytes that nobody may touch.
fn cut<S: Copy>(structure: S, version: i32, length: usize) -> Vec<u8> {
    // SAFETY: it is that long.
    let bytes = unsafe { std::slice::from_raw_parts((&raw const structure).cast(), length) };
    let mut bytes = bytes.to_vec();
    bytes[4..8].copy_from_slice(&version.to_ne_bytes());
    bytes.extend([GUARD; 64]);
    bytes
}

fn untouched(bytes: &[u8], length: usize) {
    assert!(
        bytes[length..].iter().all(|byte| *byte == GUARD),
        "written past {length} bytes"
    );
}

#[test]
fn version_1_structures_are_not_written_past_end() {
    let manager = manager();
    let program = Program::connect(&manager);
    let hobj = program
        .open(mq::MQOO_OUTPUT | mq::MQOO_INPUT_SHARED)
        .unwrap();
    let mut head = cut(default::MQMD2_DEFAULT, 1, mq::MQMD_LENGTH_1);
    let mut options = cut(default::MQPMO_DEFAULT, 1, mq::MQPMO_LENGTH_1);
    let reason = answer(|completion, reason| {
        // SAFETY: the structures are as long as those of version 1.
        unsafe {
            MQPUT(
                program.hconn,
                hobj,
                head.as_mut_ptr().cast(),
                options.as_mut_ptr().cast(),
                2,
                b"hi".as_ptr().cast_mut().cast(),
                completion,
                reason,
            );
        }
    });
    assert_eq!(reason, 0);
    untouched(&head, mq::MQMD_LENGTH_1);
    untouched(&options, mq::MQPMO_LENGTH_1);
    assert_eq!(&options[32..34], b"Q ", "the name that it was resolved to");

    let mut head = cut(default::MQMD2_DEFAULT, 1, mq::MQMD_LENGTH_1);
    let mut options = cut(default::MQGMO_DEFAULT, 1, mq::MQGMO_LENGTH_1);
    let (mut buffer, mut length) = ([0_u8; 8], 0);
    let reason = answer(|completion, reason| {
        // SAFETY: the structures are as long as those of version 1, and so is the buffer.
        unsafe {
            MQGET(
                program.hconn,
                hobj,
                head.as_mut_ptr().cast(),
                options.as_mut_ptr().cast(),
                8,
                buffer.as_mut_ptr().cast(),
                &mut length,
                completion,
                reason,
            );
        }
    });
    assert_eq!((reason, length, &buffer[..2]), (0, 2, &b"hi"[..]));
    assert_eq!(&head[48..52], b"SIM ", "the message's id");
    assert_eq!(head[4], 1, "the version stays the caller's");
    untouched(&head, mq::MQMD_LENGTH_1);
    untouched(&options, mq::MQGMO_LENGTH_1);
}

#[test]
fn connect_options_of_every_version_connect() {
    let manager = manager();
    let address = manager.address();
    let mut channel = mq::MQCD {
        ChannelName: field("DEV.APP.SVRCONN"),
        ConnectionName: field(&format!("{}({})", address.ip(), address.port())),
        ..default::MQCD_CLIENT_CONN_DEFAULT
    };
    let options = mq::MQCNO {
        ClientConnPtr: (&raw mut channel).cast(),
        ..default::MQCNO_DEFAULT
    };
    for (version, length) in [
        (2, mq::MQCNO_LENGTH_2),
        (3, mq::MQCNO_LENGTH_3),
        (4, mq::MQCNO_LENGTH_4),
        (5, mq::MQCNO_LENGTH_5),
        (6, mq::MQCNO_LENGTH_6),
        (7, mq::MQCNO_LENGTH_7),
    ] {
        let mut options = cut(options, version, length);
        let mut hconn = 0;
        let reason = answer(|completion, reason| {
            // SAFETY: the options are as long as their version is.
            unsafe {
                let options = options.as_mut_ptr().cast();
                MQCONNX(&field("STANDIN"), options, &mut hconn, completion, reason);
            }
        });
        assert_eq!(reason, 0, "version {version}");
        untouched(&options, length);
    }
    let seen = control(&manager).connect_options().unwrap();
    assert_eq!(
        seen,
        (2..=7).map(|version| (0, version)).collect::<Vec<_>>()
    );
}

#[test]
fn invalid_structure_is_refused() {
    let manager = manager();
    let program = Program::connect(&manager);
    let hobj = program.open(mq::MQOO_INPUT_SHARED).unwrap();
    for (version, id) in [(9, *b"MD  "), (0, *b"MD  "), (1, *b"MX  ")] {
        let descriptor = mq::MQMD2 {
            StrucId: id.map(|byte| byte as mq::MQCHAR),
            Version: version,
            ..default::MQMD2_DEFAULT
        };
        let got = program.get_with(hobj, default::MQGMO_DEFAULT, descriptor, 8);
        assert_eq!(got.codes, (mq::MQCC_FAILED, mq::MQRC_MD_ERROR));
    }
}

#[test]
fn missing_structure_or_buffer_is_refused() {
    let manager = manager();
    let program = Program::connect(&manager);
    let both = mq::MQOO_INPUT_SHARED | mq::MQOO_OUTPUT;
    let hobj = program.open(both).unwrap();
    let nothing = std::ptr::null_mut;
    let mut options = default::MQPMO_DEFAULT;
    let mut put = |descriptor: mq::PMQVOID, length| {
        answer(|completion, reason| {
            // SAFETY: the options are there, and so is the descriptor or it is null.
            unsafe {
                MQPUT(
                    program.hconn,
                    hobj,
                    descriptor,
                    &mut options,
                    length,
                    nothing(),
                    completion,
                    reason,
                );
            }
        })
    };
    let mut descriptor = default::MQMD2_DEFAULT;
    let there = (&raw mut descriptor).cast();
    assert_eq!(put(nothing(), 0), mq::MQRC_MD_ERROR);
    assert_eq!(put(there, 8), mq::MQRC_BUFFER_ERROR);
    assert_eq!(put(there, 0), mq::MQRC_NONE);
    let (mut options, mut length) = (default::MQGMO_DEFAULT, 0);
    let got = answer(|completion, reason| {
        // SAFETY: the structures are there.
        unsafe {
            MQGET(
                program.hconn,
                hobj,
                there,
                &mut options,
                8,
                nothing(),
                &mut length,
                completion,
                reason,
            );
        }
    });
    assert_eq!(got, mq::MQRC_BUFFER_ERROR);
}

#[test]
fn unshared_handle_is_bound_to_its_thread() {
    let manager = manager();
    let program = Program::connect(&manager);
    let other = std::thread::spawn(move || program.open(mq::MQOO_OUTPUT));
    assert_eq!(other.join().unwrap(), Err(mq::MQRC_HCONN_ERROR));
}

#[test]
fn verbs_that_are_not_done_say_so() {
    let reason = answer(|completion, reason| {
        MQBEGIN(1, std::ptr::null_mut(), completion, reason);
    });
    assert_eq!(reason, mq::MQRC_FUNCTION_NOT_SUPPORTED);
}

#[test]
fn without_channel_and_mqserver_connecting_fails() {
    let mut hconn = 0;
    let reason = answer(|completion, reason| {
        MQCONN(&field("STANDIN"), &mut hconn, completion, reason);
    });
    assert_eq!(reason, mq::MQRC_Q_MGR_NAME_ERROR);
}
