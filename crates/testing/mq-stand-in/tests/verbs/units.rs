//! Order, units of work, exclusive input, and broken connections.

use libmqm_sys as mq;
use mq_stand_in::{abi::MQCLOSE, control::Control};

use super::program::*;

#[test]
fn messages_keep_priority_and_age_order_across_backout() {
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
fn put_in_unit_of_work_appears_after_commit() {
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
fn exclusive_reader_excludes_others_until_closed() {
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
fn message_over_buffer_stays_and_reports_length() {
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
fn disconnect_commits_and_broken_connection_backs_out() {
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
