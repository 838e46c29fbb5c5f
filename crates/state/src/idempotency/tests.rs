use serde_json::json;

use super::{
    super::{Command, Machine, OUTCOME_BYTES_MAX, State, StateEvent, field_errors::error},
    *,
};

/// A machine with two outgoings, and the connector server's clock.
struct IdempotencyWorld {
    machine: Machine,
    index: u64,
    term: u64,
    now_ms: u64,
}

impl IdempotencyWorld {
    fn new() -> IdempotencyWorld {
        let mut world = IdempotencyWorld {
            machine: Machine::default(),
            index: 0,
            term: 0,
            now_ms: 5_000,
        };
        for name in ["o", "p"] {
            let spec = json!({"name": name, "address": "tcp://a:1", "socket_type": "PUSH", "method": "connect"});
            world.apply(&Command::PutResource {
                kind: Kind::ZmqOutgoing,
                name: name.into(),
                spec: spec.to_string().into(),
                precondition: None,
            });
        }
        world.take_over();
        world
    }

    fn apply(&mut self, command: &Command) -> Answer {
        assert_eq!(Command::decode(command.encode()), Ok(command.clone()));
        self.index += 1;
        let (answer, events) = self.machine.apply(self.index, self.term, 1, command);
        assert_eq!(Answer::decode(&answer.encode()), Some(answer.clone()));
        assert_eq!(events.len(), usize::from(answer.changed()));
        let revision = self.machine.state().revision();
        assert_eq!(revision == self.index, answer.changed());
        answer
    }

    fn take_over(&mut self) -> u64 {
        self.term += 1;
        let (member, term) = (1, self.term);
        assert!(self.apply(&Command::TakeOver { member, term }).changed());
        self.index
    }

    fn epoch(&self) -> u64 {
        self.machine.state().reign().epoch
    }

    fn intend(&mut self, text: &str, ticket: u64) -> Answer {
        let intent = SendIntent {
            key: key(text),
            epoch: self.epoch(),
            ticket,
            fingerprint: [7; 32],
            now_ms: self.now_ms,
        };
        self.apply(&Command::BeginSend(Box::new(intent)))
    }

    fn conclude(
        &mut self,
        text: &str,
        epoch: u64,
        ticket: u64,
        outcome: RecordedOutcome,
    ) -> Answer {
        let conclusion = SendConclusion {
            key: key(text),
            epoch,
            ticket,
            outcome,
            now_ms: self.now_ms,
        };
        self.apply(&Command::FinishSend(Box::new(conclusion)))
    }

    fn sends(&self) -> &IdempotencyTable {
        self.machine.state().idempotency()
    }
}

/// Of the outgoing `o`, but for `p:...`.
fn key(text: &str) -> SendKey {
    let name = if text.starts_with("p:") { "p" } else { "o" };
    SendKey {
        kind: Kind::ZmqOutgoing,
        name: name.into(),
        key: text.into(),
    }
}

fn confirmed(id: &str) -> RecordedOutcome {
    RecordedOutcome::Confirmed {
        message_id: id.into(),
    }
}

const FRESH: Answer = Answer::SendAdmitted(SendAdmission::Fresh);

fn known(epoch: u64, ticket: u64, outcome: Option<RecordedOutcome>) -> Answer {
    Answer::SendAdmitted(SendAdmission::Known(KnownSend {
        epoch,
        ticket,
        same: true,
        outcome,
    }))
}

#[test]
fn one_may_send_and_others_learn_outcome() {
    let mut world = IdempotencyWorld::new();
    let epoch = world.epoch();
    assert_eq!(world.intend("k", 1), FRESH);
    for ticket in 1..5 {
        assert_eq!(world.intend("k", ticket), known(epoch, 1, None));
    }
    assert_eq!(world.intend("other", 5), FRESH);
    assert!(world.conclude("k", epoch, 1, confirmed("m")).changed());
    assert_eq!(world.intend("k", 6), known(epoch, 1, Some(confirmed("m"))));
    let found = world.sends().get(Kind::ZmqOutgoing, "o", "k").unwrap();
    assert_eq!((found.ticket, &found.outcome), (1, &Some(confirmed("m"))));
    // another message under the same key
    let other = SendIntent {
        key: key("k"),
        epoch,
        ticket: 9,
        fingerprint: [8; 32],
        now_ms: world.now_ms,
    };
    let answer = world.apply(&Command::BeginSend(Box::new(other)));
    let Answer::SendAdmitted(SendAdmission::Known(known)) = answer else {
        panic!("{answer:?}")
    };
    assert!(!known.same);
}

#[test]
fn only_first_outcome_of_proposer_counts() {
    let mut world = IdempotencyWorld::new();
    let epoch = world.epoch();
    let ignored = |answer: Answer| assert!(matches!(answer, Answer::Ignored(_)), "{answer:?}");
    ignored(world.conclude("k", epoch, 1, confirmed("m")));
    assert_eq!(world.intend("k", 1), FRESH);
    ignored(world.conclude("k", epoch, 2, confirmed("m")));
    ignored(world.conclude("k", epoch - 1, 1, confirmed("m")));
    ignored(world.conclude("k", epoch, 2, RecordedOutcome::Withdrawn));
    let refused = RecordedOutcome::refused("no queue takes it");
    assert!(world.conclude("k", epoch, 1, refused.clone()).changed());
    ignored(world.conclude("k", epoch, 1, confirmed("m")));
    ignored(world.conclude("k", epoch, 1, RecordedOutcome::Withdrawn));
    assert_eq!(world.intend("k", 2), known(epoch, 1, Some(refused)));
}

#[test]
fn withdrawn_send_may_be_repeated() {
    let mut world = IdempotencyWorld::new();
    let epoch = world.epoch();
    assert_eq!(world.intend("k", 1), FRESH);
    assert!(
        world
            .conclude("k", epoch, 1, RecordedOutcome::Withdrawn)
            .changed()
    );
    assert!(world.sends().is_empty());
    assert_eq!(world.intend("k", 2), FRESH);
    // repeated by a slow network: it does not hit the second one
    let late = world.conclude("k", epoch, 1, RecordedOutcome::Withdrawn);
    assert!(matches!(late, Answer::Ignored(_)));
    assert_eq!(world.intend("k", 3), known(epoch, 2, None));
}

#[test]
fn successor_finds_begun_send_and_repeats_nothing() {
    let mut world = IdempotencyWorld::new();
    let old = world.epoch();
    assert_eq!(world.intend("open", 1), FRESH);
    assert_eq!(world.intend("done", 2), FRESH);
    assert!(world.conclude("done", old, 2, confirmed("m")).changed());
    let new = world.take_over();
    assert_eq!(world.intend("open", 1), known(old, 1, None));
    assert_eq!(world.intend("done", 2), known(old, 2, Some(confirmed("m"))));
    // the one that was deposed begins nothing
    let deposed = SendIntent {
        key: key("new"),
        epoch: old,
        ticket: 3,
        fingerprint: [7; 32],
        now_ms: world.now_ms,
    };
    let answer = world.apply(&Command::BeginSend(Box::new(deposed)));
    assert!(matches!(answer, Answer::Ignored(_)), "{answer:?}");
    assert_eq!(world.intend("new", 1), FRESH);
    // but it knows what became of what it had begun
    assert!(world.conclude("open", old, 1, confirmed("late")).changed());
    let told = known(old, 1, Some(confirmed("late")));
    assert_eq!(world.intend("open", 4), told);
    assert!(world.apply(&Command::Release { epoch: new }).changed());
    let answer = world.intend("after", 5);
    assert!(matches!(answer, Answer::Ignored(_)), "{answer:?}");
}

#[test]
fn before_the_first_reign_nothing_is_sent() {
    let mut world = IdempotencyWorld::new();
    let mut machine = Machine::default();
    for epoch in [0, 1] {
        let (key, ticket, now_ms) = (key("k"), 1, u64::MAX);
        let intent = SendIntent {
            key,
            epoch,
            ticket,
            fingerprint: [1; 32],
            now_ms,
        };
        let (answer, _) = machine.apply(1, 1, 1, &Command::BeginSend(Box::new(intent)));
        assert!(matches!(answer, Answer::Ignored(_)), "{answer:?}");
    }
    assert_eq!(*machine.state().idempotency(), IdempotencyTable::default());
    // nor does an outcome from nowhere move the time
    world.machine = machine;
    let answer = world.conclude("k", 0, 1, confirmed("m"));
    assert!(matches!(answer, Answer::Ignored(_)));
    assert_eq!(*world.sends(), IdempotencyTable::default());
}

#[test]
fn an_entry_lives_ten_minutes() {
    let mut world = IdempotencyWorld::new();
    let epoch = world.epoch();
    assert_eq!(world.intend("k", 1), FRESH);
    world.now_ms += KEPT_MS / 2;
    assert_eq!(world.intend("l", 2), FRESH);
    world.now_ms += KEPT_MS / 2;
    assert_eq!(world.intend("k", 3), known(epoch, 1, None));
    world.now_ms += 1;
    assert_eq!(world.intend("k", 4), FRESH);
    assert_eq!(world.intend("l", 5), known(epoch, 2, None));
    assert_eq!(world.sends().len(), 2);
}

#[test]
fn clocks_that_differ_by_years_end_nothing() {
    let mut world = IdempotencyWorld::new();
    let first = world.epoch();
    assert_eq!(world.intend("k", 1), FRESH);
    for now_ms in [u64::MAX / 2, 0, 4_000_000_000_000] {
        world.take_over();
        world.now_ms = now_ms;
        assert_eq!(world.intend("k", 2), known(first, 1, None));
    }
    // commands of one server that overtook each other
    world.now_ms -= 1_000;
    assert_eq!(world.intend("k", 3), known(first, 1, None));
    world.now_ms += 1_000 + KEPT_MS;
    assert_eq!(world.intend("k", 4), known(first, 1, None));
    // an outcome that comes from an earlier reign says nothing of this one's clock
    world.now_ms += KEPT_MS;
    world.conclude("k", first, 1, confirmed("m"));
    world.now_ms -= KEPT_MS;
    assert_eq!(world.intend("k", 5), known(first, 1, Some(confirmed("m"))));
    world.now_ms += 1;
    assert_eq!(world.intend("k", 6), FRESH);
    // the end of all clocks is survived
    world.now_ms = u64::MAX;
    assert_eq!(world.intend("k", 7), FRESH);
    world.take_over();
    world.now_ms = 0;
    world.intend("k", 8);
    world.now_ms += KEPT_MS + 1;
    assert_eq!(world.intend("k", 9), FRESH);
}

#[test]
fn full_table_refuses_new_keys_keeps_old() {
    let mut world = IdempotencyWorld::new();
    let epoch = world.epoch();
    assert_eq!(world.intend("first", 0), FRESH);
    world.now_ms += 1_000;
    let full = Answer::SendAdmitted(SendAdmission::Full);
    for n in 1..SENDS_OF_ONE_MAX as u64 {
        assert_eq!(world.intend(&n.to_string(), n), FRESH);
    }
    // Of one outgoing there are as many as may be; the others have room.
    assert_eq!(world.intend("new", 1), full);
    for n in SENDS_OF_ONE_MAX..SENDS_MAX {
        assert_eq!(world.intend(&format!("p:{n}"), n as u64), FRESH);
    }
    assert_eq!(world.intend("p:new", 1), full);
    assert_eq!(world.intend("new", 1), full);
    assert_eq!(world.intend("first", 1), known(epoch, 0, None));
    world.now_ms += KEPT_MS - 1_000;
    assert_eq!(world.intend("new", 1), full);
    world.now_ms += 1;
    // the first has gone, and being asked is what tells the time
    assert_eq!(world.intend("new", 1), FRESH);
    assert_eq!(world.intend("newer", 1), full);
    world.now_ms += KEPT_MS;
    // all are too old now: they count as gone, and go a few at a time
    assert_eq!(world.intend("777", 1), FRESH);
    let before = world.sends().len();
    assert!(before > SENDS_MAX - 2 * DROPPED_AT_ONCE, "{before}");
    assert_eq!(world.intend("778", 1), FRESH);
    assert_eq!(world.sends().len(), before - DROPPED_AT_ONCE);
    for n in 0..(SENDS_MAX / DROPPED_AT_ONCE) as u64 + 10 {
        world.intend("779", n);
    }
    let left: Vec<&str> = world
        .sends()
        .oldest_first()
        .map(|(key, _)| key.key.as_str())
        .collect();
    assert_eq!(left, ["new", "777", "778", "779"]);
}

#[test]
fn bad_ones_are_refused_by_field() {
    let mut world = IdempotencyWorld::new();
    let good = SendIntent {
        key: key("k"),
        epoch: world.epoch(),
        ticket: 1,
        fingerprint: [1; 32],
        now_ms: 1,
    };
    let refused = |change: &dyn Fn(&mut SendKey), field: &str| {
        let mut bad = good.clone();
        change(&mut bad.key);
        let errors = Command::BeginSend(Box::new(bad)).check().unwrap_err();
        assert_eq!(errors[0].field, field, "{errors:?}");
    };
    for text in ["", "a b", "gr\u{fc}n", "a\n", &"k".repeat(201)] {
        refused(&|key| key.key = text.to_owned(), "key");
    }
    refused(&|key| key.kind = Kind::ZmqChannel, "kind");
    let mut missing = good.clone();
    missing.key.name = "absent".into();
    let answer = world.apply(&Command::BeginSend(Box::new(missing)));
    assert_eq!(answer, Answer::NotFound);
    assert!(world.sends().is_empty());
    assert_eq!(world.intend(&"k".repeat(200), 1), FRESH);
    let long = "x".repeat(OUTCOME_BYTES_MAX + 1);
    let epoch = world.epoch();
    let text = long.clone();
    for (outcome, field) in [
        (confirmed(&long), "message_id"),
        (RecordedOutcome::Refused { text }, "text"),
    ] {
        let conclusion = SendConclusion {
            key: key("k"),
            epoch,
            ticket: 1,
            outcome,
            now_ms: 1,
        };
        let problem = format!("must have at most {OUTCOME_BYTES_MAX} bytes");
        let value = format!("{} bytes", long.len());
        let errors = Command::FinishSend(Box::new(conclusion))
            .check()
            .unwrap_err();
        assert_eq!(errors, [error(field, value, problem)]);
    }
    let shortened = RecordedOutcome::refused(&"\u{20ac}".repeat(OUTCOME_BYTES_MAX));
    let answer = world.conclude(&"k".repeat(200), epoch, 1, shortened);
    assert!(answer.changed(), "{answer:?}");
}

#[test]
fn entries_and_ages_survive_a_snapshot() {
    let mut world = IdempotencyWorld::new();
    let epoch = world.epoch();
    for (text, outcome) in [
        ("a", None),
        ("b", Some(confirmed("m"))),
        ("c", Some(RecordedOutcome::refused("no"))),
    ] {
        assert_eq!(world.intend(text, 1), FRESH);
        if let Some(outcome) = outcome {
            assert!(world.conclude(text, epoch, 1, outcome).changed());
        }
        world.now_ms += 1_000;
    }
    let mut bytes = Vec::new();
    world.machine.state().write_to(&mut bytes).unwrap();
    let restored = State::read_from(&mut &bytes[..]).unwrap();
    assert_eq!(restored.idempotency(), world.sends());
    assert_eq!(restored.idempotency().len(), 3);
}

#[test]
fn its_events_name_the_key() {
    let mut world = IdempotencyWorld::new();
    let intent = SendIntent {
        key: key("k"),
        epoch: world.epoch(),
        ticket: 1,
        fingerprint: [1; 32],
        now_ms: 1,
    };
    let command = Command::BeginSend(Box::new(intent));
    let (_, events) = world.machine.apply(100, 1, 1, &command);
    assert_eq!(events, [StateEvent::SendBegun { key: key("k") }]);
    assert_eq!(key("k").to_string(), "zmq_outgoing/o/k");
}
