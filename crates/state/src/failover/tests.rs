use super::*;
use crate::{Command, Machine, StateEvent};

#[derive(Default)]
struct PromiseLog {
    machine: Machine,
    index: u64,
}

impl PromiseLog {
    fn apply(&mut self, command: Command) -> (Answer, Vec<StateEvent>) {
        self.index += 1;
        self.machine.apply(self.index, 1, 1, &command)
    }

    fn set(&mut self, failover_ms: u64) -> Answer {
        let first = false;
        self.apply(Command::SetFailover { failover_ms, first }).0
    }

    fn applied(&mut self, member: MemberId, revision: u64) -> Answer {
        self.apply(Command::FailoverApplied { member, revision }).0
    }

    fn settled(&mut self, revision: u64) -> Answer {
        self.apply(Command::FailoverSettled { revision }).0
    }

    fn promise(&self) -> &FailoverPromise {
        self.machine.state().failover().unwrap()
    }

    /// By what leases are granted and leaders waited for.
    fn in_force(&self) -> (u64, u64) {
        (self.promise().lease_ms(), self.promise().patience_ms())
    }
}

fn done(revision: u64) -> Answer {
    Answer::done(revision, false)
}

fn unchanged(revision: u64) -> Answer {
    Answer::Done {
        revision,
        changed: false,
        created: false,
    }
}

#[test]
fn first_promise_holds_at_once_only_once() {
    let mut log = PromiseLog::default();
    assert_eq!(log.machine.state().failover(), None);
    let first = |failover_ms| Command::SetFailover {
        failover_ms,
        first: true,
    };
    let (answer, events) = log.apply(first(500));
    assert_eq!(answer, Answer::done(1, true));
    let set = StateEvent::FailoverSet {
        failover_ms: 500,
        revision: 1,
    };
    assert_eq!(events, [set]);
    assert!(log.promise().is_settled());
    assert_eq!(log.apply(first(900)).0, unchanged(1));
    assert_eq!(log.in_force(), (500, 500));
}

// guarantee: LEASE-3
#[test]
fn both_values_hold_until_change_is_settled() {
    let mut log = PromiseLog::default();
    log.set(500);
    assert_eq!(log.set(2_000), done(2));
    assert_eq!(log.in_force(), (500, 2_000));
    assert_eq!(log.applied(3, 2), done(3));
    assert_eq!(log.applied(3, 2), unchanged(2));
    assert!(matches!(log.applied(1, 1), Answer::Ignored(_)));
    assert_eq!(log.in_force(), (500, 2_000));
    assert_eq!(log.set(2_000), unchanged(2));
    assert!(log.promise().applied.contains(&3));
    assert_eq!(log.settled(2), done(7));
    assert_eq!(log.in_force(), (2_000, 2_000));
    assert_eq!(log.promise().revision, 2);
    assert!(matches!(log.settled(2), Answer::Ignored(_)));
    assert!(matches!(log.applied(1, 2), Answer::Ignored(_)));
    // and down again
    assert_eq!(log.set(300), done(10));
    assert_eq!(log.in_force(), (300, 2_000));
}

#[test]
fn replaced_change_restarts_from_value_before() {
    let mut log = PromiseLog::default();
    log.set(500);
    log.set(2_000);
    log.applied(1, 2);
    assert_eq!(log.set(100), done(4));
    assert_eq!(log.in_force(), (100, 500));
    assert!(log.promise().applied.is_empty());
    // what was under way can't settle any more
    assert!(matches!(log.settled(2), Answer::Ignored(_)));
    assert!(matches!(log.applied(2, 2), Answer::Ignored(_)));
    assert_eq!(log.promise().former_ms, Some(500));
}

#[test]
fn return_to_value_before_settles_at_once() {
    let mut log = PromiseLog::default();
    log.set(500);
    log.set(2_000);
    log.applied(1, 2);
    assert_eq!(log.set(500), done(4));
    assert!(log.promise().is_settled());
    assert_eq!(log.in_force(), (500, 500));
}

#[test]
fn snapshot_keeps_change_under_way() {
    let mut log = PromiseLog::default();
    log.set(500);
    log.set(2_000);
    log.applied(3, 2);
    let mut bytes = Vec::new();
    log.machine.state().write_to(&mut bytes).unwrap();
    let mut restored = Machine::default();
    restored.restore(&mut &bytes[..]).unwrap();
    assert_eq!(restored.state().failover(), Some(log.promise()));
}

#[test]
fn its_commands_survive_the_wire() {
    for command in [
        Command::SetFailover {
            failover_ms: 500,
            first: true,
        },
        Command::SetFailover {
            failover_ms: 500,
            first: false,
        },
        Command::FailoverApplied {
            member: 2,
            revision: 9,
        },
        Command::FailoverSettled { revision: 9 },
    ] {
        assert_eq!(Command::decode(command.encode()), Ok(command));
    }
}
