//! What is kept, what makes room, and that whoever resumes sees the same as before.

use proptest::prelude::*;

use super::*;
use crate::{Command, Machine, State};

fn put(key: &str, value: impl Into<Bytes>) -> Command {
    Command::PutKey {
        key: key.into(),
        value: value.into(),
        precondition: None,
    }
}

fn delete(key: &str) -> Command {
    Command::DeleteKey {
        key: key.into(),
        precondition: None,
    }
}

/// Applies each from index 1 on.
fn machine(commands: &[Command]) -> Machine {
    let mut machine = Machine::default();
    for (index, command) in (1..).zip(commands) {
        machine.apply(index, 1, 1, command);
    }
    machine
}

fn restored(machine: &Machine) -> Machine {
    let mut bytes = Vec::new();
    machine.state().write_to(&mut bytes).unwrap();
    let mut restored = Machine::from(State::read_from(&mut &bytes[..]).unwrap());
    restored.mark_applied(machine.state().applied());
    restored
}

fn of(revision: u64, bytes: usize) -> KeyChange {
    KeyChange {
        revision,
        key: "k".into(),
        value: Some(vec![0; bytes].into()),
        previous: None,
    }
}

fn revisions(history: &KeyChangelog, after: u64) -> Result<Vec<u64>, ChangesCompacted> {
    let changes = history.after(after)?;
    Ok(changes.map(|it| it.revision).collect())
}

#[test]
fn changes_are_ordered_with_previous_revision() {
    let commands = [
        put("a", "1"),
        delete("none"),
        put("a", "1"),
        put("b", ""),
        delete("a"),
        put("a", "2"),
    ];
    let machine = machine(&commands);
    let history = machine.state().kv().changelog();
    let told: Vec<_> = history
        .after(0)
        .unwrap()
        .map(|it| (it.revision, &*it.key, it.value.as_deref(), it.previous))
        .collect();
    let expected = [
        (1, "a", Some(&b"1"[..]), None),
        (3, "a", Some(b"1"), Some(1)),
        (4, "b", Some(b""), None),
        (5, "a", None, Some(3)),
        (6, "a", Some(b"2"), None),
    ];
    assert_eq!(told, expected);
    assert_eq!((history.len(), history.bytes()), (5, 8));
    // a revision that changed no key is as good as any other
    assert_eq!(revisions(history, 2), Ok(vec![3, 4, 5, 6]));
    assert_eq!(revisions(history, 5), Ok(vec![6]));
    assert_eq!(revisions(history, 6), Ok(vec![]));
    assert_eq!(revisions(history, 600), Ok(vec![]));
    assert_eq!(restored(&machine), machine);
}

#[test]
fn changelog_is_bounded_in_changes_and_bytes() {
    let bounds = ChangelogBounds {
        changes: 3,
        bytes: 100,
    };
    let mut history = KeyChangelog::default();
    for revision in [2, 4, 6, 8] {
        history.keep_within(of(revision, 9), bounds);
    }
    assert_eq!(
        (history.len(), history.bytes(), history.floor()),
        (3, 30, 2)
    );
    let compacted = Err(ChangesCompacted { oldest: 3 });
    assert_eq!(revisions(&history, 1), compacted);
    assert_eq!(revisions(&history, 2), Ok(vec![4, 6, 8]));
    // a long one takes the place of several
    history.keep_within(of(9, 85), bounds);
    assert_eq!(
        (history.len(), history.bytes(), history.floor()),
        (2, 96, 6)
    );
    // one that is longer than all that may be kept leaves nothing, and says so
    history.keep_within(of(12, 200), bounds);
    assert_eq!(
        (history.len(), history.bytes(), history.floor()),
        (0, 0, 12)
    );
    assert_eq!(history.newest(), 12);
    assert_eq!(
        revisions(&history, 11),
        Err(ChangesCompacted { oldest: 13 })
    );
    assert_eq!(revisions(&history, 12), Ok(vec![]));
}

#[test]
fn the_longest_value_always_fits() {
    const { assert!(CHANGES_BYTES_MAX >= 8 * (crate::VALUE_BYTES_MAX + crate::KEY_BYTES_MAX)) };
}

// guarantee: WATCH-1
#[test]
fn snapshot_restores_full_changelog_unchanged() {
    let mut machine = Machine::default();
    let last = CHANGES_MAX as u64 + 100;
    for index in 1..=last {
        let key = format!("key/{}", index % 1000);
        machine.apply(index, 1, 1, &put(&key, index.to_string()));
    }
    let history = machine.state().kv().changelog();
    assert_eq!((history.len(), history.floor()), (CHANGES_MAX, 100));
    let other = restored(&machine);
    assert_eq!(other, machine);
    let all = revisions(other.state().kv().changelog(), 100).unwrap();
    assert_eq!(all, (101..=last).collect::<Vec<_>>());
    assert_eq!(
        revisions(other.state().kv().changelog(), 99),
        Err(ChangesCompacted { oldest: 101 })
    );
}

#[derive(Clone, Debug)]
struct ChangelogStep {
    /// Indexes that change no key come in between.
    pause: u64,
    command: Command,
}

fn steps() -> impl Strategy<Value = Vec<ChangelogStep>> {
    let key = prop::sample::select(&["a", "b", "b/c", "d"][..]);
    let command = prop_oneof![
        3 => (key.clone(), prop::collection::vec(any::<u8>(), 0..12))
            .prop_map(|(key, value)| put(key, value)),
        1 => key.prop_map(delete),
    ];
    let step = (1..3u64, command).prop_map(|(pause, command)| ChangelogStep { pause, command });
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whoever follows, loses its place at any points and resumes after the last that it
    /// has seen, at members of which some were restored from a snapshot, sees each change
    /// exactly once and in order.
    // guarantee: WATCH-1
    #[test]
    fn resuming_at_any_point_preserves_the_sequence(
        steps in steps(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..6usize), 0..12),
    ) {
        let mut machine = Machine::default();
        let mut expected = Vec::new();
        let mut states = vec![machine.clone()];
        let mut index = 0;
        for ChangelogStep { pause, command } in &steps {
            index += pause;
            let before = machine.state().kv().clone();
            let (answer, _) = machine.apply(index, 1, 1, command);
            if answer.changed() {
                let (key, value) = match command {
                    Command::PutKey { key, value, .. } => (key, Some(value.clone())),
                    Command::DeleteKey { key, .. } => (key, None),
                    _ => unreachable!(),
                };
                let previous = before.get(key).map(|it| it.revision);
                let key = key.as_str().into();
                expected.push(KeyChange { revision: index, key, value, previous });
            }
            states.push(machine.clone());
        }
        let mut seen: Vec<KeyChange> = Vec::new();
        let mut position = 0;
        // members that lag are among them: then there is nothing new, and nothing twice
        let cuts = cuts.iter().map(|(at, most)| (at.get(&states), *most));
        for (state, most) in cuts.chain([(&states[steps.len()], usize::MAX)]) {
            let state = restored(state);
            for change in state.state().kv().changelog().after(position).unwrap().take(most) {
                position = change.revision;
                seen.push((**change).clone());
            }
        }
        prop_assert_eq!(seen, expected);
    }

    /// However little is kept: either all after a revision is there, or it is told from
    /// where on nothing is missing.
    // guarantee: WATCH-2
    #[test]
    fn nothing_is_missing_without_a_word(
        sizes in prop::collection::vec((1..3u64, 0..40usize), 1..60),
        changes in 1..20usize,
        bytes in 1..200usize,
        after in 0..130u64,
    ) {
        let bounds = ChangelogBounds { changes, bytes };
        let mut history = KeyChangelog::default();
        let mut all = Vec::new();
        let mut revision = 0;
        for (pause, size) in sizes {
            revision += pause;
            all.push(revision);
            history.keep_within(of(revision, size), bounds);
            prop_assert!(history.len() <= changes && history.bytes() <= bytes);
            let counted: usize = history.all().map(|it| it.bytes()).sum();
            prop_assert_eq!(counted, history.bytes());
        }
        let wanted = |after: u64| all.iter().copied().filter(|it| *it > after).collect::<Vec<_>>();
        match revisions(&history, after) {
            Ok(found) => prop_assert_eq!(found, wanted(after)),
            Err(ChangesCompacted { oldest }) => {
                prop_assert!(oldest > after + 1);
                prop_assert_eq!(revisions(&history, oldest - 1), Ok(wanted(oldest - 1)));
            }
        }
    }
}
