use serde_json::{Value, json};

use super::{
    super::{Command, Machine, State, StateEvent},
    *,
};

struct OperationLog(Machine, u64);

impl OperationLog {
    /// With one channel and one outgoing.
    fn new() -> OperationLog {
        let mut log = OperationLog(Machine::default(), 0);
        log.put(
            Kind::Service,
            json!({"name": "s", "upstream": "http://127.0.0.1:1"}),
        );
        log.put(
            Kind::AmqpConnection,
            json!({"name": "c", "host": "h", "username": "u", "password": "p"}),
        );
        log.channel();
        log.put(
            Kind::ZmqOutgoing,
            json!({"name": "a", "address": "tcp://a:1", "socket_type": "PUSH", "method": "connect"}),
        );
        log
    }

    fn apply(&mut self, command: &Command) -> (Answer, Vec<StateEvent>) {
        assert_eq!(Command::decode(command.encode()), Ok(command.clone()));
        self.1 += 1;
        self.0.apply(self.1, 1, 1, command)
    }

    fn put(&mut self, kind: Kind, spec: Value) {
        let (answer, _) = self.apply(&Command::PutResource {
            kind,
            name: spec["name"].as_str().unwrap().into(),
            spec: spec.to_string().into(),
            precondition: None,
        });
        assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
    }

    fn channel(&mut self) {
        self.put(
            Kind::AmqpChannel,
            json!({"name": "a", "connection": "c", "queue": "q", "service": "s"}),
        );
    }

    fn ask(&mut self, kind: Kind, name: &str, order: OperatorAction) -> Answer {
        let name = name.to_owned();
        let command = Command::OperateConnector { kind, name, order };
        let (answer, events) = self.apply(&command);
        let Command::OperateConnector { name, .. } = command else {
            unreachable!()
        };
        let event = StateEvent::ConnectorOperated { kind, name, order };
        assert_eq!(events, Vec::from_iter(answer.changed().then_some(event)));
        assert_eq!(self.operations().revision() == self.1, answer.changed());
        answer
    }

    fn operations(&self) -> &ConnectorOperations {
        self.0.state().operations()
    }
}

#[test]
fn operation_lasts_until_its_opposite() {
    let mut log = OperationLog::new();
    let channel = Kind::AmqpChannel;
    assert_eq!(
        log.operations().get(channel, "a"),
        ConnectorOperation::default()
    );
    assert!(log.ask(channel, "a", OperatorAction::Pause).changed());
    let again = log.ask(channel, "a", OperatorAction::Pause);
    assert!(matches!(again, Answer::Done { changed: false, .. }));
    assert!(log.operations().get(channel, "a").paused);
    // the one of another kind with the same name is not meant
    assert!(!log.operations().get(Kind::ZmqOutgoing, "a").paused);
    assert!(log.ask(channel, "a", OperatorAction::Restart).changed());
    let wanted = ConnectorOperation {
        paused: true,
        restarted: log.1,
    };
    assert_eq!(log.operations().get(channel, "a"), wanted);
    // a takeover and a put of the resource change nothing of it
    log.apply(&Command::TakeOver { member: 1, term: 1 });
    log.channel();
    assert_eq!(log.operations().get(channel, "a"), wanted);
    let first = wanted.restarted;
    assert!(log.ask(channel, "a", OperatorAction::Restart).changed());
    assert!(log.operations().get(channel, "a").restarted > first);
    assert!(log.ask(channel, "a", OperatorAction::Resume).changed());
    assert!(!log.operations().get(channel, "a").paused);
    let again = log.ask(channel, "a", OperatorAction::Resume);
    assert!(matches!(again, Answer::Done { changed: false, .. }));
}

#[test]
fn a_deleted_one_is_forgotten() {
    let mut log = OperationLog::new();
    for kind in [Kind::AmqpChannel, Kind::ZmqOutgoing] {
        assert!(log.ask(kind, "a", OperatorAction::Pause).changed());
        assert!(log.ask(kind, "a", OperatorAction::Restart).changed());
    }
    log.apply(&Command::DeleteResource {
        kind: Kind::AmqpChannel,
        name: "a".into(),
        precondition: None,
    });
    assert_eq!(log.operations().revision(), log.1);
    log.channel();
    let (channel, outgoing) = (Kind::AmqpChannel, Kind::ZmqOutgoing);
    assert_eq!(
        log.operations().get(channel, "a"),
        ConnectorOperation::default()
    );
    assert!(log.operations().get(outgoing, "a").paused);
    assert_eq!(log.operations().all().count(), 1);
}

#[test]
fn only_existing_connectors_are_operated() {
    let mut log = OperationLog::new();
    for order in [
        OperatorAction::Pause,
        OperatorAction::Resume,
        OperatorAction::Restart,
    ] {
        assert_eq!(log.ask(Kind::AmqpChannel, "b", order), Answer::NotFound);
        for kind in [Kind::Service, Kind::AmqpConnection] {
            let name = "s".to_owned();
            let errors = Command::OperateConnector { kind, name, order }
                .check()
                .unwrap_err();
            assert_eq!(errors[0].field, "kind");
            assert!(errors[0].problem.contains("zmq_outgoing"), "{errors:?}");
        }
    }
    assert_eq!(*log.operations(), ConnectorOperations::default());
}

#[test]
fn operations_are_restored_from_snapshot() {
    let mut log = OperationLog::new();
    log.ask(Kind::AmqpChannel, "a", OperatorAction::Pause);
    log.ask(Kind::ZmqOutgoing, "a", OperatorAction::Restart);
    let mut bytes = Vec::new();
    log.0.state().write_to(&mut bytes).unwrap();
    let restored = State::read_from(&mut &bytes[..]).unwrap();
    assert_eq!(restored.operations(), log.operations());
}

#[test]
fn unknown_action_is_no_command() {
    use prost::Message;
    use quorate_proto::command as wire;
    for order in [0, 9] {
        let operate = wire::Operate {
            kind: "amqp_channel".into(),
            name: "a".into(),
            order,
        };
        let command = wire::Command {
            write: Some(wire::command::Write::Operate(operate)),
            actor: None,
        };
        let refused = Command::decode(command.encode_to_vec().into()).unwrap_err();
        assert_eq!(refused.field, "order");
    }
}
