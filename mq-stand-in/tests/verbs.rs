//! The stand-in does what Quorate's tests count on, through the functions of its library.
#![allow(
    clippy::disallowed_types,
    reason = "it stands for a program of others, which has a clock of its own"
)]

use libmqm_default as default;
use libmqm_sys as mq;
use mq_stand_in::{
    abi::{MQBACK, MQCLOSE, MQCMIT, MQCONNX, MQDISC, MQGET, MQOPEN, MQPUT},
    control::Control,
    manager::{Manager, Settings},
    wire::Attributes,
};

fn field<const N: usize>(text: &str) -> [mq::MQCHAR; N] {
    let mut field = [b' ' as mq::MQCHAR; N];
    for (to, byte) in field.iter_mut().zip(text.bytes()) {
        *to = byte as mq::MQCHAR;
    }
    field
}

fn answer(call: impl FnOnce(&mut mq::MQLONG, &mut mq::MQLONG)) -> mq::MQLONG {
    let (mut completion, mut reason) = (-1, -1);
    call(&mut completion, &mut reason);
    assert_eq!(completion == mq::MQCC_OK, reason == mq::MQRC_NONE);
    reason
}

struct Program {
    hconn: mq::MQHCONN,
}

impl Program {
    fn connect(manager: &Manager) -> Program {
        let address = manager.address();
        let mut channel = mq::MQCD {
            ChannelName: field("DEV.APP.SVRCONN"),
            ConnectionName: field(&format!("{}({})", address.ip(), address.port())),
            ..default::MQCD_CLIENT_CONN_DEFAULT
        };
        let mut options = mq::MQCNO {
            Version: mq::MQCNO_VERSION_7,
            Options: mq::MQCNO_RECONNECT_DISABLED,
            ClientConnPtr: (&raw mut channel).cast(),
            ..default::MQCNO_DEFAULT
        };
        let mut hconn = 0;
        let reason = answer(|completion, reason| {
            // SAFETY: the options and what they point at are there.
            unsafe {
                MQCONNX(
                    &field("STANDIN"),
                    &mut options,
                    &mut hconn,
                    completion,
                    reason,
                )
            }
        });
        assert_eq!(reason, 0);
        Program { hconn }
    }

    fn open(&self, options: mq::MQLONG) -> Result<mq::MQHOBJ, mq::MQLONG> {
        let mut object = mq::MQOD {
            ObjectName: field("Q"),
            ..default::MQOD_DEFAULT
        };
        let mut hobj = 0;
        match answer(|completion, reason| {
            MQOPEN(
                self.hconn,
                &mut object,
                options,
                &mut hobj,
                completion,
                reason,
            );
        }) {
            0 => Ok(hobj),
            reason => Err(reason),
        }
    }

    fn put(&self, hobj: mq::MQHOBJ, body: &str, priority: mq::MQLONG, syncpoint: mq::MQLONG) {
        let mut descriptor = mq::MQMD2 {
            Priority: priority,
            ..default::MQMD2_DEFAULT
        };
        let mut options = mq::MQPMO {
            Options: syncpoint,
            ..default::MQPMO_DEFAULT
        };
        let reason = answer(|completion, reason| {
            let (head, buffer) = (
                (&raw mut descriptor).cast(),
                body.as_ptr().cast_mut().cast(),
            );
            let length = body.len() as mq::MQLONG;
            // SAFETY: the descriptor and the body are there.
            unsafe {
                MQPUT(
                    self.hconn,
                    hobj,
                    head,
                    &mut options,
                    length,
                    buffer,
                    completion,
                    reason,
                )
            }
        });
        assert_eq!(reason, 0);
    }

    /// The body and the count of backouts, or the reason and the length.
    fn get(
        &self,
        hobj: mq::MQHOBJ,
        room: usize,
    ) -> Result<(String, mq::MQLONG), (mq::MQLONG, mq::MQLONG)> {
        let mut descriptor = default::MQMD2_DEFAULT;
        let mut options = mq::MQGMO {
            Options: mq::MQGMO_SYNCPOINT,
            ..default::MQGMO_DEFAULT
        };
        let (mut buffer, mut length) = (vec![0; room], 0);
        let reason = answer(|completion, reason| {
            let (head, to) = ((&raw mut descriptor).cast(), buffer.as_mut_ptr().cast());
            let room = room as mq::MQLONG;
            // SAFETY: the descriptor is there, and the buffer has that much room.
            unsafe {
                MQGET(
                    self.hconn,
                    hobj,
                    head,
                    &mut options,
                    room,
                    to,
                    &mut length,
                    completion,
                    reason,
                );
            }
        });
        buffer.truncate(length as usize);
        match reason {
            0 => Ok((String::from_utf8(buffer).unwrap(), descriptor.BackoutCount)),
            reason => Err((reason, length)),
        }
    }

    fn commit(&self) {
        assert_eq!(
            answer(|completion, reason| MQCMIT(self.hconn, completion, reason)),
            0
        );
    }

    fn back_out(&self) {
        assert_eq!(
            answer(|completion, reason| MQBACK(self.hconn, completion, reason)),
            0
        );
    }

    fn disconnect(mut self) {
        let hconn = &mut self.hconn;
        assert_eq!(
            answer(|completion, reason| MQDISC(hconn, completion, reason)),
            0
        );
    }
}

fn manager() -> Manager {
    let manager = Manager::start(Settings::default()).unwrap();
    let mut control = Control::connect(&manager.address().to_string()).unwrap();
    control.define("Q", Attributes::default()).unwrap();
    manager
}

const NOW: mq::MQLONG = mq::MQPMO_NO_SYNCPOINT;

#[test]
fn messages_come_by_priority_and_age_and_back_to_their_place() {
    let manager = manager();
    let program = Program::connect(&manager);
    let (to, from) = (
        program.open(mq::MQOO_OUTPUT).unwrap(),
        program.open(mq::MQOO_INPUT_EXCLUSIVE).unwrap(),
    );
    for (body, priority) in [("a", 1), ("b", 5), ("c", 5), ("d", 1)] {
        program.put(to, body, priority, NOW);
    }
    let get = || program.get(from, 10);
    assert_eq!(get(), Ok(("b".into(), 0)));
    assert_eq!(get(), Ok(("c".into(), 0)), "the first is hidden");
    program.back_out();
    assert_eq!(get(), Ok(("b".into(), 1)));
    program.commit();
    assert_eq!(get(), Ok(("c".into(), 1)));
    assert_eq!(get(), Ok(("a".into(), 0)));
    assert_eq!(get(), Ok(("d".into(), 0)));
    program.commit();
    assert_eq!(get(), Err((mq::MQRC_NO_MSG_AVAILABLE, 0)));
}

#[test]
fn what_is_put_in_a_unit_of_work_is_there_after_its_commit() {
    let manager = manager();
    let (writer, reader) = (Program::connect(&manager), Program::connect(&manager));
    let (to, from) = (
        writer.open(mq::MQOO_OUTPUT).unwrap(),
        reader.open(mq::MQOO_INPUT_SHARED).unwrap(),
    );
    writer.put(to, "a", 0, mq::MQPMO_SYNCPOINT);
    assert!(reader.get(from, 10).is_err());
    writer.back_out();
    assert!(reader.get(from, 10).is_err());
    writer.put(to, "b", 0, mq::MQPMO_SYNCPOINT);
    writer.commit();
    assert_eq!(reader.get(from, 10), Ok(("b".into(), 0)));
}

#[test]
fn a_reader_that_is_alone_keeps_others_off_until_it_is_gone() {
    let manager = manager();
    let (first, second) = (Program::connect(&manager), Program::connect(&manager));
    let held = first.open(mq::MQOO_INPUT_EXCLUSIVE).unwrap();
    assert_eq!(
        second.open(mq::MQOO_INPUT_EXCLUSIVE),
        Err(mq::MQRC_OBJECT_IN_USE)
    );
    assert_eq!(
        second.open(mq::MQOO_INPUT_SHARED),
        Err(mq::MQRC_OBJECT_IN_USE)
    );
    assert!(second.open(mq::MQOO_OUTPUT).is_ok());
    let mut hobj = held;
    let closed =
        answer(|completion, reason| MQCLOSE(first.hconn, &mut hobj, 0, completion, reason));
    assert_eq!(closed, 0);
    assert!(second.open(mq::MQOO_INPUT_EXCLUSIVE).is_ok());
}

#[test]
fn a_message_that_there_is_no_room_for_stays_and_its_length_is_told() {
    let manager = manager();
    let program = Program::connect(&manager);
    let (to, from) = (
        program.open(mq::MQOO_OUTPUT).unwrap(),
        program.open(mq::MQOO_INPUT_SHARED).unwrap(),
    );
    program.put(to, "four", 0, NOW);
    assert_eq!(
        program.get(from, 3),
        Err((mq::MQRC_TRUNCATED_MSG_FAILED, 4))
    );
    assert_eq!(program.get(from, 4), Ok(("four".into(), 0)));
}

#[test]
fn a_disconnect_commits_and_a_broken_connection_backs_out() {
    let manager = manager();
    let mut control = Control::connect(&manager.address().to_string()).unwrap();
    let program = Program::connect(&manager);
    let to = program.open(mq::MQOO_OUTPUT).unwrap();
    program.put(to, "a", 0, mq::MQPMO_SYNCPOINT);
    program.disconnect();
    assert_eq!(control.depth("Q").unwrap(), 1);

    let program = Program::connect(&manager);
    let from = program.open(mq::MQOO_INPUT_EXCLUSIVE).unwrap();
    assert_eq!(program.get(from, 10), Ok(("a".into(), 0)));
    control.cut().unwrap();
    assert_eq!(program.get(from, 10), Err((mq::MQRC_CONNECTION_BROKEN, 0)));
    // The queue is free a moment later.
    let other = Program::connect(&manager);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let from = loop {
        match other.open(mq::MQOO_INPUT_EXCLUSIVE) {
            Ok(from) => break from,
            Err(reason) => assert_eq!(reason, mq::MQRC_OBJECT_IN_USE),
        }
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(1));
    };
    assert_eq!(other.get(from, 10), Ok(("a".into(), 1)));
}
