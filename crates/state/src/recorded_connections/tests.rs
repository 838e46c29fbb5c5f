use quorate_resources::Kind;
use serde_json::json;

use super::{
    super::{Command, Machine, State},
    *,
};

#[test]
fn connections_are_kept_until_replaced() {
    let mut machine = Machine::default();
    let connected = |member, names: &[&str]| Command::RecordBrokerConnections {
        member,
        connections: names
            .iter()
            .map(|name| {
                let it = BrokerConnection {
                    name: (*name).to_owned(),
                    label: format!("label of {name}"),
                };
                (format!("amqp_channel/{name}"), it)
            })
            .collect(),
    };
    let command = connected(2, &["a", "b"]);
    assert_eq!(Command::decode(command.encode()), Ok(command.clone()));
    machine.apply(1, 1, 1, &command);
    machine.apply(2, 1, 1, &connected(3, &["a"]));
    let (answer, events) = machine.apply(3, 1, 1, &command);
    assert!(matches!(answer, Answer::Done { changed: false, .. }) && events.is_empty());
    let mut snapshot = Vec::new();
    machine.state().write_to(&mut snapshot).unwrap();
    let state = State::read_from(&mut &snapshot[..]).unwrap();
    let name = |member, connector| {
        let it = state.recorded_connections().connection(member, connector);
        it.map(|it| it.name.as_str())
    };
    assert_eq!(name(2, "amqp_channel/b"), Some("b"));
    assert_eq!(name(3, "amqp_channel/b"), None);
    machine.apply(4, 1, 1, &connected(2, &["c"]));
    machine.apply(5, 1, 1, &connected(3, &[]));
    let brokers = machine.state().recorded_connections();
    assert_eq!(brokers.members().collect::<Vec<_>>(), [2]);
    assert_eq!(brokers.connection(2, "amqp_channel/a"), None);
    let long = "x".repeat(300);
    let many: Vec<String> = (0..=CONNECTIONS_MAX).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for bad in [
        connected(0, &["a"]),
        connected(1, &[&long]),
        connected(1, &many),
    ] {
        assert!(bad.check().is_err());
    }
}

/// They are not shown again, so what is put without them keeps them.
#[test]
fn omitted_management_credentials_are_kept() {
    let mut machine = Machine::default();
    let mut put = |index, url: &str| {
        let spec = json!({
            "name": "rabbit", "host": "rabbit", "username": "guest", "password": "guest",
            "fence": "lease", "management_url": url,
        });
        let command = Command::PutResource {
            kind: Kind::AmqpConnection,
            name: "rabbit".into(),
            spec: spec.to_string().into(),
            precondition: None,
        };
        let (answer, _) = machine.apply(index, 1, 1, &command);
        assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
        let mut snapshot = Vec::new();
        machine.state().write_to(&mut snapshot).unwrap();
        let state = State::read_from(&mut &snapshot[..]).unwrap();
        let (it, _) = state.catalog().amqp_connections().next().unwrap();
        it.management_url.clone().unwrap()
    };
    let whole = "http://admin:two@rabbit:15672";
    assert_eq!(put(1, whole), whole);
    assert_eq!(put(2, "http://rabbit:15672/"), whole);
    assert_eq!(put(3, "http://rabbit:15673/"), "http://rabbit:15673/");
    let whole = "https://admin:two@RABBIT:443/rabbit/";
    assert_eq!(put(4, whole), whole);
    assert_eq!(put(5, "https://rabbit/rabbit/"), whole);
    assert_eq!(
        put(6, "https://other@rabbit/rabbit/"),
        "https://other@rabbit/rabbit/"
    );
}
