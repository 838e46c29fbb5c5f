//! What a newer version has added to commands and snapshots is refused, wherever it stands.

use quorate_proto::command::FieldError;
use quorate_resources::Kind;

use super::*;

/// A field that this version does not know: number 900, with the value 1.
const ADDED: [u8; 3] = [0xa0, 0x38, 0x01];

/// A field with a length before it.
fn field(number: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[number << 3 | 2, body.len() as u8][..], &body].concat()
}

fn refused(bytes: Vec<u8>) -> FieldError {
    Command::decode(bytes.into()).unwrap_err()
}

#[test]
fn unknown_command_part_is_refused_at_any_depth() {
    let precondition = Some(WritePrecondition::Revision(5));
    let (key, value) = ("k".to_owned(), "v".into());
    let command = Command::PutKey {
        key,
        value,
        precondition,
    };
    let revision: &[u8] = &[0x08, 0x05];
    let put = |inner: &[u8], outer: &[u8]| {
        let (key, value) = (field(1, &[b"k"]), field(2, &[b"v"]));
        field(3, &[&key, &value, &field(3, &[revision, inner]), outer])
    };
    assert_eq!(command.encode(), put(&[], &[]));
    let expected =
        field_errors::error("command", "3", "has a part that this version does not know");
    assert_eq!(refused(put(&ADDED, &[])), expected);
    assert_eq!(refused(put(&[], &ADDED)), expected);
    assert_eq!(refused([put(&[], &[]), ADDED.to_vec()].concat()), expected);
}

#[test]
fn unknown_command_is_refused_by_number() {
    let unknown =
        |field: &str, value: &str| field_errors::error(field, value, field_errors::NOT_KNOWN);
    assert_eq!(
        refused([&[0xfa, 0x7f][..], b"\x01x"].concat()),
        unknown("command", "2047")
    );
    let takeover = Takeover {
        reason: 77,
        ..Takeover::default()
    };
    let explain = Command::RecordTakeover(Box::new(takeover));
    assert_eq!(refused(explain.encode().into()), unknown("reason", "77"));
}

#[test]
fn unreadable_bytes_are_no_command() {
    use prost::Message;
    use quorate_proto::command as wire;
    let delete = |kind: &str, precondition| wire::Command {
        write: Some(wire::command::Write::DeleteResource(wire::DeleteResource {
            kind: kind.into(),
            name: "a".into(),
            precondition,
        })),
        actor: None,
    };
    let unknown_precondition = Some(wire::Precondition { holds: None });
    for (bytes, field) in [
        (vec![0xff, 0xff], "command"),
        (vec![], "command"),
        (delete("queue", None).encode_to_vec(), "kind"),
        (
            delete("service", unknown_precondition).encode_to_vec(),
            "precondition",
        ),
    ] {
        assert_eq!(Command::decode(bytes.into()).unwrap_err().field, field);
    }
}

#[test]
fn a_fingerprint_of_another_length_is_no_fingerprint() {
    let key = field(1, &[&field(1, &[b"zmq_outgoing"])]);
    let intend = field(11, &[&key, &field(4, &[&[1; 8]])]);
    let expected = field_errors::error("fingerprint", "8 bytes", "must have 32 bytes");
    assert_eq!(refused(intend), expected);
}

// guarantee: DATA-4
#[test]
fn unknown_snapshot_field_is_refused_in_every_record() {
    let mut log = CommandLog::with_ping();
    log.apply(Command::PutKey {
        key: "k".into(),
        value: "v".into(),
        precondition: None,
    });
    let bytes = snapshot(log.state());
    let mut begin = 0;
    let mut records = 0;
    while begin < bytes.len() {
        let length: [u8; 4] = bytes[begin..begin + 4].try_into().unwrap();
        let length = u32::from_le_bytes(length);
        let end = begin + 4 + length as usize;
        let longer = (length + ADDED.len() as u32).to_le_bytes();
        let newer = [
            &bytes[..begin],
            &longer,
            &bytes[begin + 4..end],
            &ADDED,
            &bytes[end..],
        ];
        let newer = newer.concat();
        let error = State::read_from(&mut &newer[..]).unwrap_err().to_string();
        let says = format!("record {records} is of a sort that this program does not know");
        assert!(error.contains(&says), "{error}");
        (begin, records) = (end, records + 1);
    }
    assert!(records > 4, "{records}");
}

/// A resource of each kind, whole.
fn resources() -> [(Kind, Value); Kind::ALL.len()] {
    let mq = json!({"name": "a", "host": "h", "queue_manager": "QM", "channel": "C"});
    let zmq = json!({"name": "a", "address": "tcp://*:1", "method": "bind"});
    let also = |mut spec: Value, more: Value| {
        let fields = spec.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        spec
    };
    let on = json!({"name": "a", "connection": "c", "queue": "q"});
    [
        (Kind::Secret, json!({"name": "a"})),
        (Kind::BasicAuth, json!({"name": "a", "username": "u"})),
        (Kind::ApiKey, json!({"name": "a"})),
        (
            Kind::Jwt,
            json!({"name": "a", "issuer": "i", "audience": ["a"], "jwks_url": "https://a"}),
        ),
        (
            Kind::ClientCertificate,
            json!({"name": "a", "ca": "c", "names": ["a"]}),
        ),
        (Kind::Hmac, json!({"name": "a", "header": "X-Signature"})),
        (
            Kind::AccessRole,
            json!({"name": "a", "grants": [{"verbs": ["read"]}]}),
        ),
        (Kind::Identity, json!({"name": "a"})),
        (Kind::Service, service("a")),
        (Kind::HttpChannel, http_channel("a", "/a", "s")),
        (
            Kind::AmqpConnection,
            also(connection(), json!({"name": "a"})),
        ),
        (Kind::AmqpChannel, also(on.clone(), json!({"service": "s"}))),
        (
            Kind::AmqpOutgoing,
            json!({"name": "a", "connection": "c", "exchange": ""}),
        ),
        (Kind::IbmMqConnection, mq),
        (
            Kind::IbmMqChannel,
            also(on.clone(), json!({"service": "s"})),
        ),
        (Kind::IbmMqOutgoing, on),
        (
            Kind::ZmqChannel,
            also(zmq.clone(), json!({"socket_type": "PULL", "service": "s"})),
        ),
        (Kind::ZmqOutgoing, also(zmq, json!({"socket_type": "PUSH"}))),
    ]
}

fn put(kind: Kind, spec: &Value) -> Command {
    Command::PutResource {
        kind,
        name: "a".into(),
        spec: spec.to_string().into(),
        precondition: None,
    }
}

/// What is said of a resource in the log that is not known whole: alone, and among others.
fn told_of(kind: Kind, spec: &Value) -> Vec<String> {
    let alone = put(kind, spec);
    let Command::PutResource { name, spec, .. } = alone.clone() else {
        unreachable!("it is a put")
    };
    let among = Command::PutResources(vec![BatchedPut { kind, name, spec }]);
    let told = |command: Command| {
        let error = Command::decode(command.encode()).unwrap_err();
        format!("{} {}", error.field, error.problem)
    };
    vec![told(alone), told(among)]
}

// guarantee: DATA-4
#[test]
fn unknown_resource_field_refused_with_kind_and_name() {
    for (kind, spec) in resources() {
        assert!(Command::decode(put(kind, &spec).encode()).is_ok(), "{spec}");
        let mut newer = spec.clone();
        newer["zone"] = "north".into();
        for told in told_of(kind, &newer) {
            let begin = format!("{kind}/a is not as this program knows it (zone: there is no such");
            assert!(told.starts_with(&begin), "{told}");
            assert!(!told.contains("north"), "a value is shown: {told}");
        }
        // The member that proposes it refuses it as its user's mistake, as ever.
        let errors = put(kind, &newer).check().unwrap_err();
        assert_eq!(errors.last().unwrap().field, "zone", "{errors:?}");
    }
}

#[test]
fn unreadable_resource_value_is_refused() {
    let of = |kind: Kind| {
        let found = resources().into_iter().find(|it| it.0 == kind);
        found.unwrap().1
    };
    for (kind, field, value) in [
        (Kind::AmqpChannel, "on_failure", json!({"give_up_ms": 1})),
        (Kind::AmqpChannel, "on_failure", json!(3)),
        (Kind::AmqpChannel, "standby", json!("hot")),
        (Kind::AmqpChannel, "prefetch", json!(70_000)),
        (Kind::AmqpChannel, "queue", json!(null)),
        (Kind::AmqpConnection, "fence", json!("quorum")),
        (Kind::AmqpConnection, "port", json!("amqp")),
        (Kind::AmqpOutgoing, "delivery_mode", json!(3)),
        (Kind::AmqpOutgoing, "exchange", json!(null)),
        (Kind::HttpChannel, "active", json!("from noon")),
        (Kind::HttpChannel, "methods", json!(["GET", {"any": true}])),
        (Kind::HttpChannel, "methods", json!("GET")),
        (Kind::HttpChannel, "path", json!("/a/{id:number}")),
        (Kind::HttpChannel, "path", json!("/a/{*rest}/b")),
        (Kind::HttpChannel, "security", json!("saml/partner")),
        (Kind::Service, "upstream", json!({"pool": "a"})),
        (Kind::Service, "host", json!("of the day")),
        (Kind::ZmqChannel, "socket_type", json!("DISH")),
        (Kind::ZmqOutgoing, "address", json!("udp://*:5555")),
        (Kind::ZmqOutgoing, "curve_server_key", json!("k")),
    ] {
        let mut newer = of(kind);
        newer[field] = value;
        for told in told_of(kind, &newer) {
            let begin = format!("{kind}/a is not as this program knows it ({field}");
            assert!(told.starts_with(&begin), "{newer}: {told}");
        }
    }
}

#[test]
fn value_against_a_rule_is_still_known() {
    for (kind, field, value) in [
        (Kind::AmqpConnection, "host", json!("no host at all")),
        (Kind::AmqpConnection, "port", json!(0)),
        (Kind::AmqpChannel, "queue", json!("")),
        (Kind::HttpChannel, "path", json!("/a b/{id}/../x")),
        (Kind::HttpChannel, "methods", json!([])),
        (Kind::HttpChannel, "methods", json!(["GET", "GET"])),
        (Kind::Service, "upstream", json!("gopher://nowhere")),
        (Kind::Service, "retries", json!(100_000)),
        (Kind::ZmqChannel, "address", json!("tcp://[::1]:0")),
        (Kind::ZmqOutgoing, "address", json!("ipc://relative")),
    ] {
        let (_, mut spec) = resources().into_iter().find(|it| it.0 == kind).unwrap();
        spec[field] = value;
        let command = put(kind, &spec);
        assert!(command.check().is_err(), "{spec}");
        assert_eq!(Command::decode(command.encode()), Ok(command), "{spec}");
    }
}

#[test]
fn unknown_snapshot_resource_is_refused_by_field() {
    let mut log = CommandLog::with_ping();
    done(log.put(Kind::Service, service("a")));
    let bytes = snapshot(log.state());
    // As long as before: what is in the record, and its length, stay.
    for (known, newer) in [
        (&b"\"upstream\""[..], &b"\"upstraem\""[..]),
        (&b"\"http:"[..], &b"[\"ttp:"[..]),
    ] {
        let at = bytes.windows(known.len()).position(|it| it == known);
        let mut bytes = bytes.clone();
        bytes[at.unwrap()..][..known.len()].copy_from_slice(newer);
        let error = State::read_from(&mut &bytes[..]).unwrap_err().to_string();
        let begin = "the snapshot can't be read: service/a is not as this program knows it (";
        assert!(error.starts_with(begin), "{error}");
        assert!(error.ends_with("run the version that wrote it"), "{error}");
    }
}
