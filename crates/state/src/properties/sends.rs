//! Under one key one message is sent, whatever happens.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quorate_resources::Kind;
use serde_json::json;

use super::{super::*, snapshot};

#[derive(Clone, Copy, Debug)]
enum SendMove {
    /// The connector server wants to send under one of a few keys.
    Intend { key: u8 },
    /// Somebody tells an outcome for one of the intents so far, or for none.
    Conclude { of: usize, how: u8 },
    /// Another one takes over; its clock shows something else.
    TakeOver { clock_ms: u64 },
    /// Time passes.
    Pass { ms: u64 },
    /// The machine starts again from its snapshot.
    Restart,
}

fn moves() -> impl Strategy<Value = Vec<SendMove>> {
    let one = prop_oneof![
        6 => (0..3u8).prop_map(|key| SendMove::Intend { key }),
        4 => (0..20usize, 0..3u8).prop_map(|(of, how)| SendMove::Conclude { of, how }),
        1 => any::<u64>().prop_map(|clock_ms| SendMove::TakeOver { clock_ms: clock_ms / 2 }),
        2 => (0..400_000u64).prop_map(|ms| SendMove::Pass { ms }),
        1 => Just(SendMove::Restart),
    ];
    prop::collection::vec(one, 1..80)
}

/// What is true of a key outside of the machine.
struct Truth {
    epoch: u64,
    ticket: u64,
    at_ms: u64,
    outcome: Option<RecordedOutcome>,
}

fn send_key(key: u8) -> SendKey {
    SendKey {
        kind: Kind::ZmqOutgoing,
        name: "o".into(),
        key: key.to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn fresh_admissions_are_separated(moves in moves()) {
        let mut machine = Machine::default();
        let spec = json!({"name": "o", "address": "tcp://a:1", "socket_type": "PUSH", "method": "connect"});
        let put = Command::PutResource {
            kind: Kind::ZmqOutgoing,
            name: "o".into(),
            spec: spec.to_string().into(),
            precondition: None,
        };
        machine.apply(1, 1, 1, &put);
        machine.apply(2, 1, 1, &Command::TakeOver { member: 1, term: 1 });
        let (mut index, mut term, mut offset_ms, mut true_ms) = (2, 1, 0, 0);
        let mut truths: BTreeMap<u8, Truth> = BTreeMap::new();
        let mut intents: Vec<(u8, u64, u64)> = Vec::new();
        for (ticket, step) in (1..).zip(moves) {
            index += 1;
            let epoch = machine.state().reign().epoch;
            match step {
                SendMove::Intend { key } => {
                    let intent = SendIntent {
                        key: send_key(key),
                        epoch,
                        ticket,
                        fingerprint: [1; 32],
                        now_ms: offset_ms + true_ms,
                    };
                    let (answer, _) = machine.apply(index, term, 1, &Command::BeginSend(Box::new(intent)));
                    let truth = truths.get(&key);
                    match answer {
                        Answer::SendAdmitted(SendAdmission::Fresh) => {
                            let old = truth.is_none_or(|it| true_ms - it.at_ms > KEPT_MS);
                            prop_assert!(old, "a second send under {}", key);
                            truths.insert(key, Truth { epoch, ticket, at_ms: true_ms, outcome: None });
                            intents.push((key, epoch, ticket));
                        }
                        Answer::SendAdmitted(SendAdmission::Known(known)) => {
                            let Some(truth) = truth else {
                                return Err(TestCaseError::fail(format!("{known:?} was never sent")));
                            };
                            prop_assert_eq!((known.epoch, known.ticket), (truth.epoch, truth.ticket));
                            prop_assert_eq!(&known.outcome, &truth.outcome);
                        }
                        other => return Err(TestCaseError::fail(format!("{other:?}"))),
                    }
                }
                SendMove::Conclude { of, how } => {
                    let (key, epoch, ticket) = intents.get(of).copied().unwrap_or((0, epoch, 0));
                    let outcome = match how {
                        0 => RecordedOutcome::Confirmed { message_id: index.to_string() },
                        1 => RecordedOutcome::refused("no"),
                        _ => RecordedOutcome::Withdrawn,
                    };
                    let conclusion = SendConclusion {
                        key: send_key(key),
                        epoch,
                        ticket,
                        outcome: outcome.clone(),
                        now_ms: offset_ms + true_ms,
                    };
                    let command = Command::FinishSend(Box::new(conclusion));
                    let (answer, _) = machine.apply(index, term, 1, &command);
                    if answer.changed() {
                        let truth = truths.get_mut(&key).expect("a truth");
                        prop_assert_eq!((truth.epoch, truth.ticket, &truth.outcome), (epoch, ticket, &None));
                        match outcome {
                            RecordedOutcome::Withdrawn => { truths.remove(&key); }
                            outcome => truth.outcome = Some(outcome),
                        }
                    }
                }
                SendMove::TakeOver { clock_ms } => {
                    term += 1;
                    offset_ms = clock_ms;
                    machine.apply(index, term, 1, &Command::TakeOver { member: 1, term });
                }
                SendMove::Pass { ms } => true_ms += ms,
                SendMove::Restart => {
                    let mut restored = Machine::default();
                    restored.restore(&mut &snapshot(&machine)[..]).unwrap();
                    restored.mark_applied(machine.state().applied());
                    prop_assert_eq!(&restored, &machine);
                    machine = restored;
                }
            }
        }
    }
}
