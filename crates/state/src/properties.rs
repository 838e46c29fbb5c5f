//! Laws that hold for any sequence of commands.

mod commands;
mod integrity;
mod sends;

use std::collections::BTreeSet;

use commands::command;
use integrity::referential_integrity;
use proptest::prelude::*;
use quorate_resources::Kind;

use super::*;

/// One entry of the log: its term grows by `elections`, and each term has one leader.
#[derive(Clone, Debug)]
struct PropertyStep {
    elections: u64,
    command: Command,
}

fn log() -> impl Strategy<Value = Vec<PropertyStep>> {
    let elections = prop_oneof![5 => Just(0u64), 1 => 1..3u64];
    let step =
        (elections, command()).prop_map(|(elections, command)| PropertyStep { elections, command });
    prop::collection::vec(step, 1..60)
}

/// What a command about the reign is meant to be.
#[derive(Clone, Copy, Debug)]
enum Aim {
    TakeOver,
    TakeOverForAnother,
    TakeOverInAnotherTerm,
    Release,
    ReleaseAnother,
}

fn reign_move() -> impl Strategy<Value = (u64, Aim, u64)> {
    let aim = prop::sample::select(vec![
        Aim::TakeOver,
        Aim::TakeOverForAnother,
        Aim::TakeOverInAnotherTerm,
        Aim::Release,
        Aim::ReleaseAnother,
    ]);
    (0..2u64, aim, 0..20u64)
}

fn leader_of(term: u64) -> MemberId {
    term % 3 + 1
}

/// The entries with their index, term and leader.
fn entries(log: &[PropertyStep]) -> impl Iterator<Item = (u64, u64, MemberId, &Command)> {
    let mut term = 1;
    (1..).zip(log).map(move |(index, step)| {
        term += step.elections;
        (index, term, leader_of(term), &step.command)
    })
}

fn snapshot(machine: &Machine) -> Vec<u8> {
    let mut bytes = Vec::new();
    machine.state().write_to(&mut bytes).unwrap();
    bytes
}

fn run(log: &[PropertyStep]) -> Machine {
    let mut machine = Machine::default();
    for (index, term, leader, command) in entries(log) {
        machine.apply(index, term, leader, command);
    }
    machine
}

fn revision_of(state: &State, command: &Command) -> Option<u64> {
    match command {
        Command::PutResource { kind, name, .. } | Command::DeleteResource { kind, name, .. } => {
            state.catalog().get(*kind, name).map(|it| it.revision)
        }
        Command::PutKey { key, .. } | Command::DeleteKey { key, .. } => {
            state.kv().get(key).map(|it| it.revision)
        }
        _ => None,
    }
}

fn precondition_of(command: &Command) -> Option<WritePrecondition> {
    match command {
        Command::PutResource { precondition, .. }
        | Command::DeleteResource { precondition, .. }
        | Command::PutKey { precondition, .. }
        | Command::DeleteKey { precondition, .. } => *precondition,
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// The same commands give the same bytes, also with a snapshot in between, after
    /// which every answer is the same too.
    // guarantee: DATA-4
    #[test]
    fn replay_and_restore_give_the_same_bytes(log in log(), cut in 0..60usize) {
        let cut = cut.min(log.len());
        let mut original = run(&log[..cut]);
        let mut restored = Machine::default();
        restored.restore(&mut &snapshot(&original)[..]).unwrap();
        restored.mark_applied(original.state().applied());
        prop_assert_eq!(&restored, &original);
        for (index, term, leader, command) in entries(&log).skip(cut) {
            // as it comes out of the log
            let command = Command::decode(command.encode()).unwrap();
            let answer = original.apply(index, term, leader, &command);
            prop_assert_eq!(restored.apply(index, term, leader, &command), answer);
        }
        let bytes = snapshot(&original);
        prop_assert_eq!(&snapshot(&restored), &bytes);
        prop_assert_eq!(&snapshot(&run(&log)), &bytes);
    }

    /// At each index there is one holder; epochs strictly increase; only a leader's own
    /// entry makes it the holder, and only the holder's own entry releases.
    // guarantee: REIGN-1, FENCE-13
    #[test]
    fn one_holder_and_growing_epochs(moves in prop::collection::vec(reign_move(), 1..60)) {
        let mut machine = Machine::default();
        let mut term = 1;
        for (index, (elections, aim, stray)) in (1..).zip(moves) {
            term += elections;
            let leader = leader_of(term);
            let before = *machine.state().reign();
            let command = match aim {
                Aim::TakeOver => Command::TakeOver { member: leader, term },
                Aim::TakeOverForAnother => Command::TakeOver { member: stray, term },
                Aim::TakeOverInAnotherTerm => Command::TakeOver { member: leader, term: stray },
                Aim::Release => Command::Release { epoch: before.epoch },
                Aim::ReleaseAnother => Command::Release { epoch: stray },
            };
            let (_, events) = machine.apply(index, term, leader, &command);
            let after = *machine.state().reign();
            prop_assert!(after.epoch >= before.epoch);
            if after.epoch == before.epoch {
                prop_assert_eq!((after.holder, after.term), (before.holder, before.term));
            } else {
                prop_assert_eq!(command, Command::TakeOver { member: leader, term });
                let (former, clear) = (before.holder, before.released || before.holder.is_none());
                let expected =
                    Reign { holder: Some(leader), epoch: index, term, released: false, former, clear };
                prop_assert_eq!(after, expected);
            }
            if after.released && !before.released {
                prop_assert_eq!(before.holder, Some(leader));
                prop_assert_eq!(&events[..], &[StateEvent::Released { epoch: before.epoch }]);
            }
            if before.released && !after.released {
                prop_assert!(after.epoch > before.epoch);
            }
        }
    }

    #[test]
    fn referential_integrity_always_holds(log in log()) {
        let mut machine = Machine::default();
        let mut announced = BTreeSet::new();
        for (index, term, leader, command) in entries(&log) {
            machine.apply(index, term, leader, command);
            if let Command::AnnounceProgram { services, .. } = command {
                announced.extend(services.iter().cloned());
            }
            let whole = referential_integrity(machine.state(), &announced);
            prop_assert!(whole.is_ok(), "after {:?}: {:?}", command, whole);
        }
    }

    /// A write is done only where its precondition held, changes nothing where it did
    /// not, and a thing's revision is the index of the command that changed it.
    #[test]
    fn preconditions_and_revisions(log in log()) {
        let mut machine = Machine::default();
        for (index, term, leader, command) in entries(&log) {
            let before = machine.state().clone();
            let rehearsed = before.dry_run(command);
            let (answer, events) = machine.apply(index, term, leader, command);
            let after = machine.state();
            let revision = revision_of(&before, command);
            let held = precondition_of(command).is_none_or(|it| it.holds(revision));
            if held {
                let failed = matches!(answer, Answer::PreconditionFailed { .. });
                prop_assert!(!failed, "{:?}", answer);
            } else {
                let invalid = matches!(answer, Answer::Invalid(_));
                let failed = Answer::PreconditionFailed { revision: revision.unwrap_or(0) };
                prop_assert!(invalid || answer == failed, "{:?}", answer);
            }
            if answer.changed() {
                prop_assert_eq!(after.revision(), index);
                prop_assert_eq!(events.len(), 1);
                let created = matches!(answer, Answer::Done { created: true, .. });
                match command {
                    Command::PutResource { .. } | Command::PutKey { .. } => {
                        prop_assert_eq!(revision_of(after, command), Some(index));
                        prop_assert_eq!(created, revision.is_none());
                    }
                    Command::DeleteResource { .. } | Command::DeleteKey { .. } => {
                        prop_assert_eq!(revision_of(after, command), None);
                    }
                    _ => {}
                }
            } else {
                let mut same = before.clone();
                same.applied = index;
                if matches!(command, Command::BeginSend(_) | Command::FinishSend(_)) {
                    // time passes for the sends, whatever is answered
                    same.idempotency = after.idempotency.clone();
                }
                prop_assert_eq!(after, &same);
                prop_assert!(events.is_empty());
            }
            // Those of the reign depend on whose entry it is.
            let of_the_reign = matches!(
                command,
                Command::TakeOver { .. } | Command::Release { .. } | Command::RecordTakeover(_)
            );
            match command.check() {
                Err(errors) => prop_assert_eq!(rehearsed, Answer::Invalid(errors)),
                Ok(()) if !of_the_reign => prop_assert_eq!(rehearsed, answer),
                Ok(()) => {}
            }
        }
    }

    /// Nothing that a version adds to a command is dropped in silence.
    // guarantee: DATA-4
    #[test]
    fn command_with_unknown_field_is_rejected(command in command()) {
        let mut bytes = command.encode().to_vec();
        prop_assert_eq!(Command::decode(bytes.clone().into()).unwrap(), command);
        bytes.extend([0xa0, 0x38, 0x01]);
        prop_assert!(Command::decode(bytes.into()).is_err());
    }

    /// Whatever bytes stand in the log or in a snapshot, nothing panics.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Command::decode(bytes.clone().into());
        let _ = Answer::decode(&bytes);
        let _ = State::read_from(&mut &bytes[..]);
        let _ = check_resource(Kind::Service, "a", &bytes);
    }
}
