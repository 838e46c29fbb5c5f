//! The rules of one version bind those who propose by it and nobody else: what another
//! version's rules allow is applied as it stands, kept, and restored from a snapshot.

use quorate_resources::Kind;

use super::*;

/// What this version's rules refuse, and the field that they name.
fn refused_commands() -> Vec<(Command, &'static str)> {
    let put_key = |key: String, value: usize| Command::PutKey {
        key,
        value: vec![7; value].into(),
        precondition: None,
    };
    let connections = |connector: String| {
        let connection = BrokerConnection::default();
        Command::RecordBrokerConnections {
            member: 2,
            connections: [(connector, connection)].into(),
        }
    };
    let takeover = Takeover {
        epoch: 3,
        term: 1,
        to: "m".repeat(64),
        reason: Reason::Death.into(),
        ..Takeover::default()
    };
    let intent = SendIntent {
        key: SendKey {
            kind: Kind::ZmqOutgoing,
            name: "z".into(),
            key: "k".repeat(201),
        },
        epoch: 3,
        ticket: 1,
        fingerprint: [1; 32],
        now_ms: 1,
    };
    let conclusion = SendConclusion {
        key: intent.key.clone(),
        epoch: 3,
        ticket: 1,
        outcome: RecordedOutcome::Confirmed {
            message_id: "m".repeat(OUTCOME_BYTES_MAX + 1),
        },
        now_ms: 2,
    };
    vec![
        (put_key(String::new(), 1), "key"),
        (put_key("k".repeat(KEY_BYTES_MAX + 1), 1), "key"),
        (put_key("long".into(), VALUE_BYTES_MAX + (1 << 20)), "value"),
        (announce(0, &["ping"]), "member"),
        (announce(3, &["a b"]), "services"),
        (connections("c".repeat(257)), "connections"),
        (Command::RecordTakeover(Box::new(takeover)), "to"),
        (Command::BeginSend(Box::new(intent)), "key"),
        (Command::FinishSend(Box::new(conclusion)), "message_id"),
        (
            Command::OperateConnector {
                kind: Kind::Service,
                name: "s".into(),
                order: OperatorAction::Pause,
            },
            "kind",
        ),
        (
            Command::DeleteKey {
                key: String::new(),
                precondition: None,
            },
            "key",
        ),
    ]
}

// guarantee: DATA-4
#[test]
fn other_version_command_applies_despite_own_rules() {
    let mut log = CommandLog::with_ping();
    done(log.put(Kind::Service, service("s")));
    log.index += 1;
    let take_over = Command::TakeOver { member: 1, term: 1 };
    log.machine.apply(log.index, 1, 1, &take_over);
    let zmq =
        json!({"name": "z", "address": "tcp://a:1", "socket_type": "PUSH", "method": "connect"});
    done(log.put(Kind::ZmqOutgoing, zmq));
    for (command, field) in refused_commands() {
        let errors = command.check().unwrap_err();
        assert_eq!(errors[0].field, field, "{errors:?}");
        // and the member that proposes answers what it answered before
        assert_eq!(log.apply(command.clone()), Answer::Invalid(errors));
        let decoded = Command::decode(command.encode()).unwrap();
        assert_eq!(decoded, command);
        log.index += 1;
        let (answer, events) = log.machine.apply(log.index, 1, 1, &decoded);
        assert!(answer.changed() && events.len() == 1, "{field}: {answer:?}");
        let restored = State::read_from(&mut &snapshot(log.state())[..]).unwrap();
        assert_eq!(snapshot(&restored), snapshot(log.state()), "{field}");
    }
}

/// Whoever changes one of these lets members of two versions part: see `command.rs`.
#[test]
fn numbers_of_the_format_are_pinned() {
    assert_eq!((SENDS_MAX, KEPT_MS, TAKEOVERS_MAX), (100_000, 600_000, 100));
    assert_eq!(SENDS_OF_ONE_MAX, 90_000);
    assert_eq!((CHANGES_MAX, CHANGES_BYTES_MAX), (50_000, 16 << 20));
    assert_eq!(KV_BYTES_MAX, 1 << 30);
    assert_eq!((RESOURCES_MAX, RESOURCES_BYTES_MAX), (250_000, 512 << 20));
}
