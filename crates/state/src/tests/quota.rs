//! The bounds on what is kept, as commands meet them.

use super::*;
use crate::{KV_BYTES_MAX, OverQuota, QuotaKind, VALUE_BYTES_MAX};

// guarantee: SECURITY-5
#[test]
fn concurrent_puts_are_applied_only_within_quota() {
    let mut machine = Machine::default();
    let mut index = 0;
    // A gigabyte that takes one megabyte: the values share their bytes.
    let value: Bytes = vec![7; VALUE_BYTES_MAX].into();
    let mut apply = |command: &Command| {
        index += 1;
        machine.apply(index, 1, 1, command)
    };
    let put = |key: &str, bytes: usize| Command::PutKey {
        key: key.into(),
        value: value.slice(..bytes),
        precondition: None,
    };
    let delete = |key: &str| Command::DeleteKey {
        key: key.into(),
        precondition: None,
    };
    let each = (VALUE_BYTES_MAX - 4) as u64;
    for n in 0..KV_BYTES_MAX / (each + 4) - 1 {
        let (answer, _) = apply(&put(&format!("{n:04}"), each as usize));
        assert!(answer.changed(), "{n}: {answer:?}");
    }
    // A member proposed each of these while there was room for either.
    assert!(apply(&put("here", each as usize - 10)).0.changed());
    let refused = Answer::Full(OverQuota {
        counted: QuotaKind::KeyBytes,
        now: KV_BYTES_MAX - 10,
        most: KV_BYTES_MAX,
    });
    let (answer, events) = apply(&put("also", 7));
    assert_eq!((&answer, events.len()), (&refused, 0));
    assert_eq!(Answer::decode(&answer.encode()), Some(answer));
    assert!(apply(&put("also", 6)).0.changed());
    // What takes room back is done, and what takes none.
    assert!(apply(&put("0000", each as usize)).0.changed());
    assert!(apply(&put("0000", 10)).0.changed());
    assert!(apply(&delete("0001")).0.changed());
    assert!(apply(&put("0001", each as usize)).0.changed());
}
