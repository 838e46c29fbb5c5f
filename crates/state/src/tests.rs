mod connectors;
mod newer;
mod quota;
mod rules;
mod secrets;

use bytes::Bytes;
use quorate_resources::Kind;
use serde_json::{Value, json};

use super::*;

fn announce(member: MemberId, services: &[&str]) -> Command {
    Command::AnnounceProgram {
        member,
        services: services.iter().map(|it| it.to_string()).collect(),
        version: "1".into(),
        failover_ms: None,
    }
}

/// A machine that appends to a log of its own, as leader 1 in term 1.
#[derive(Default)]
struct CommandLog {
    machine: Machine,
    index: u64,
}

impl CommandLog {
    fn with_ping() -> CommandLog {
        let mut log = CommandLog::default();
        log.apply(announce(1, &["ping", "echo"]));
        log
    }

    fn apply(&mut self, command: Command) -> Answer {
        let rehearsed = self.machine.state().dry_run(&command);
        // as the member does that proposes it
        if let Err(errors) = command.check() {
            assert_eq!(rehearsed, Answer::Invalid(errors));
            return rehearsed;
        }
        self.index += 1;
        let (answer, events) = self.machine.apply(self.index, 1, 1, &command);
        assert_eq!(
            answer, rehearsed,
            "rehearsed another answer for {command:?}"
        );
        let changed = answer.changed();
        assert_eq!(events.len(), usize::from(changed));
        assert_eq!(self.state().revision() == self.index, changed);
        answer
    }

    fn put(&mut self, kind: Kind, spec: Value) -> Answer {
        self.put_if(kind, spec, None)
    }

    fn put_if(
        &mut self,
        kind: Kind,
        spec: Value,
        precondition: Option<WritePrecondition>,
    ) -> Answer {
        let name = spec["name"].as_str().unwrap().to_owned();
        let spec = Bytes::from(spec.to_string());
        self.apply(Command::PutResource {
            kind,
            name,
            spec,
            precondition,
        })
    }

    fn delete(&mut self, kind: Kind, name: &str) -> Answer {
        self.apply(Command::DeleteResource {
            kind,
            name: name.into(),
            precondition: None,
        })
    }

    fn state(&self) -> &State {
        self.machine.state()
    }
}

fn done(answer: Answer) -> u64 {
    match answer {
        Answer::Done { revision, .. } => revision,
        other => panic!("should be done: {other:?}"),
    }
}

fn refused(answer: Answer, field: &str, says: &str) {
    let Answer::Invalid(errors) = &answer else {
        panic!("should be invalid: {answer:?}")
    };
    assert_eq!(errors[0].field, field, "{errors:?}");
    assert!(
        errors[0].problem.contains(says),
        "{errors:?} should say {says:?}"
    );
}

fn service(name: &str) -> Value {
    json!({"name": name, "upstream": "http://127.0.0.1:8080"})
}

fn http_channel(name: &str, path: &str, service: &str) -> Value {
    json!({"name": name, "path": path, "service": service})
}

fn connection() -> Value {
    json!({"name": "rabbit", "host": "localhost", "username": "guest", "password": "one"})
}

fn amqp_channel(name: &str, queue: &str) -> Value {
    json!({"name": name, "connection": "rabbit", "queue": queue, "service": "ping"})
}

#[test]
fn a_put_that_changes_nothing_keeps_the_revision() {
    let mut log = CommandLog::with_ping();
    let revision = done(log.put(Kind::Service, service("orders")));
    assert_eq!(revision, 2);
    let same = json!({"upstream": "http://127.0.0.1:8080", "name": "orders", "timeout_ms": 10_000, "builtin": null});
    assert_eq!(
        log.put(Kind::Service, same),
        Answer::Done {
            revision,
            changed: false,
            created: false
        }
    );
    assert_eq!(log.state().revision(), revision);
    assert_eq!(log.state().catalog().revision(), revision);
    let other = json!({"name": "orders", "upstream": "http://127.0.0.1:8081"});
    assert_eq!(
        log.put(Kind::Service, other),
        Answer::Done {
            revision: 4,
            changed: true,
            created: false
        }
    );
}

#[test]
fn preconditions_of_resources() {
    let mut log = CommandLog::with_ping();
    let absent = Some(WritePrecondition::Absent);
    let revision = done(log.put_if(Kind::Service, service("a"), absent));
    let failed = Answer::PreconditionFailed { revision };
    assert_eq!(log.put_if(Kind::Service, service("a"), absent), failed);
    let older = Some(WritePrecondition::Revision(revision - 1));
    assert_eq!(log.put_if(Kind::Service, service("a"), older), failed);
    let now = Some(WritePrecondition::Revision(revision));
    assert_eq!(done(log.put_if(Kind::Service, service("a"), now)), revision);
    let missing = Answer::PreconditionFailed { revision: 0 };
    assert_eq!(log.put_if(Kind::Service, service("b"), now), missing);
    let delete = Command::DeleteResource {
        kind: Kind::Service,
        name: "a".into(),
        precondition: older,
    };
    assert_eq!(log.apply(delete), failed);
    let delete = Command::DeleteResource {
        kind: Kind::Service,
        name: "a".into(),
        precondition: now,
    };
    done(log.apply(delete));
    assert_eq!(log.delete(Kind::Service, "a"), Answer::NotFound);
}

#[test]
fn referenced_resource_must_exist() {
    let mut log = CommandLog::with_ping();
    refused(
        log.put(Kind::HttpChannel, http_channel("a", "/a", "nope")),
        "service",
        "echo, ping",
    );
    done(log.put(Kind::HttpChannel, http_channel("a", "/a", "ping")));
    let mut secured = http_channel("b", "/b", "ping");
    secured["security"] = "api_key/partner".into();
    refused(
        log.put(Kind::HttpChannel, secured.clone()),
        "security",
        "no api_key/partner",
    );
    done(log.put(Kind::ApiKey, json!({"name": "partner", "key": "k"})));
    done(log.put(Kind::HttpChannel, secured));
    let signed = |by: &str| {
        let mut spec = service("signed");
        spec["sign"] = by.into();
        spec
    };
    let unknown = log.put(Kind::Service, signed("api_key/nobody"));
    refused(unknown, "sign", "no api_key/nobody");
    done(log.put(Kind::Service, signed("api_key/partner")));
    assert!(matches!(
        log.delete(Kind::ApiKey, "partner"),
        Answer::Referenced(by) if by.contains(&"service/signed".to_owned())
    ));
    refused(
        log.put(Kind::AmqpChannel, amqp_channel("q", "q")),
        "connection",
        "create it first",
    );
    done(log.put(Kind::AmqpConnection, connection()));
    done(log.put(Kind::AmqpChannel, amqp_channel("q", "q")));
    let builtin = json!({"name": "x", "builtin": "nope"});
    refused(
        log.put(Kind::Service, builtin),
        "builtin",
        "no member carries",
    );
    done(log.put(Kind::Service, json!({"name": "x", "builtin": "ping"})));
}

#[test]
fn referenced_resource_cannot_be_deleted() {
    let mut log = CommandLog::with_ping();
    done(log.put(Kind::Service, service("orders")));
    done(log.put(
        Kind::BasicAuth,
        json!({"name": "p", "username": "u", "password": "p"}),
    ));
    let mut channel = http_channel("web", "/orders", "orders");
    channel["security"] = "basic_auth/p".into();
    done(log.put(Kind::HttpChannel, channel));
    done(log.put(Kind::AmqpConnection, connection()));
    let mut queue = amqp_channel("queue", "orders");
    queue["service"] = "orders".into();
    done(log.put(Kind::AmqpChannel, queue));
    let by = |names: &[&str]| Answer::Referenced(names.iter().map(|it| it.to_string()).collect());
    assert_eq!(
        log.delete(Kind::Service, "orders"),
        by(&["http_channel/web", "amqp_channel/queue"])
    );
    assert_eq!(log.delete(Kind::BasicAuth, "p"), by(&["http_channel/web"]));
    assert_eq!(
        log.delete(Kind::AmqpConnection, "rabbit"),
        by(&["amqp_channel/queue"])
    );
    done(log.delete(Kind::HttpChannel, "web"));
    done(log.delete(Kind::AmqpChannel, "queue"));
    done(log.delete(Kind::Service, "orders"));
    done(log.delete(Kind::BasicAuth, "p"));
    done(log.delete(Kind::AmqpConnection, "rabbit"));
    assert_eq!(log.state().catalog().all().count(), 0);
}

#[test]
fn channels_share_no_path_or_queue() {
    let mut log = CommandLog::with_ping();
    done(log.put(Kind::HttpChannel, http_channel("a", "/orders/{id}", "ping")));
    done(log.put(Kind::HttpChannel, http_channel("b", "/orders/list", "ping")));
    let other = http_channel("c", "/orders/{number}", "ping");
    refused(
        log.put(Kind::HttpChannel, other.clone()),
        "path",
        "http_channel/a takes GET, POST",
    );
    let mut put = other.clone();
    put["methods"] = json!(["PUT"]);
    done(log.put(Kind::HttpChannel, put));
    let mut inactive = other.clone();
    inactive["active"] = false.into();
    done(log.put(Kind::HttpChannel, inactive));
    refused(log.put(Kind::HttpChannel, other), "path", "http_channel/a");

    done(log.put(Kind::AmqpConnection, connection()));
    done(log.put(Kind::AmqpChannel, amqp_channel("a", "orders")));
    refused(
        log.put(Kind::AmqpChannel, amqp_channel("b", "orders")),
        "queue",
        "amqp_channel/a",
    );
    done(log.put(Kind::AmqpChannel, amqp_channel("b", "others")));
}

#[test]
fn secrets_stay_when_left_out() {
    let mut log = CommandLog::with_ping();
    let mut without = connection();
    without.as_object_mut().unwrap().remove("password");
    refused(
        log.put(Kind::AmqpConnection, without.clone()),
        "password",
        "is required",
    );
    let revision = done(log.put(Kind::AmqpConnection, connection()));
    assert_eq!(
        log.put(Kind::AmqpConnection, without.clone()),
        Answer::Done {
            revision,
            changed: false,
            created: false
        }
    );
    without["heartbeat_s"] = 9.into();
    without["password"] = Value::Null;
    let revision = done(log.put(Kind::AmqpConnection, without));
    let (it, at) = log.state().catalog().amqp_connections().next().unwrap();
    assert_eq!(
        (it.heartbeat_s, it.password.as_deref(), at),
        (9, Some("one"), revision)
    );
    let mut other = connection();
    other["password"] = "two".into();
    assert!(matches!(
        log.put(Kind::AmqpConnection, other),
        Answer::Done { changed: true, .. }
    ));
    // one that was put without its secret keeps it through a snapshot
    let restored = State::read_from(&mut &snapshot(log.state())[..]).unwrap();
    let (it, _) = restored.catalog().amqp_connections().next().unwrap();
    assert_eq!(it.password.as_deref(), Some("two"));
    assert!(
        !format!("{:?}", log.state()).contains("two"),
        "secrets in debug output"
    );
    for (kind, spec) in [
        (Kind::BasicAuth, json!({"name": "n", "username": "u"})),
        (Kind::ApiKey, json!({"name": "n"})),
    ] {
        refused(
            log.put(kind, spec),
            kind.secret_field().unwrap(),
            "is required",
        );
    }
}

#[test]
fn name_must_match_the_put() {
    let mut log = CommandLog::with_ping();
    let put = |name: &str, spec: &str| Command::PutResource {
        kind: Kind::Service,
        name: name.into(),
        spec: Bytes::copy_from_slice(spec.as_bytes()),
        precondition: None,
    };
    refused(
        log.apply(put("b", r#"{"name":"a","builtin":"ping"}"#)),
        "name",
        "must be \"b\"",
    );
    refused(
        log.apply(put("b/c", r#"{"name":"b/c","builtin":"ping"}"#)),
        "name",
        "1 to 128",
    );
    refused(
        log.apply(put("b", r#"{"name":"b","name":"b"}"#)),
        "",
        "twice",
    );
    refused(log.apply(put("b", "{")), "", "must be JSON");
    refused(
        log.apply(put("b", &format!("{{{}}}", " ".repeat(70_000)))),
        "",
        "at most",
    );
}

#[test]
fn keys_and_values() {
    let mut log = CommandLog::default();
    let put = |key: &str, value: &'static str, precondition| Command::PutKey {
        key: key.into(),
        value: value.into(),
        precondition,
    };
    let first = done(log.apply(put("a/1", "x", Some(WritePrecondition::Absent))));
    // the same bytes again: a revision of its own, so that only one of two claims is granted
    let claim = Some(WritePrecondition::Revision(first));
    let second = done(log.apply(put("a/1", "x", claim)));
    assert!(second > first);
    assert_eq!(log.state().kv().revision(), second);
    let failed = Answer::PreconditionFailed { revision: second };
    assert_eq!(log.apply(put("a/1", "x", claim)), failed);
    for key in ["a/3", "a/2", "b", "", &"k".repeat(1025)] {
        log.apply(put(key, "y", None));
    }
    let keys = |prefix: &'static str, after| -> Vec<String> {
        log.state()
            .kv()
            .list(prefix, after)
            .map(|(key, _)| key.to_owned())
            .collect()
    };
    assert_eq!(keys("", None), ["a/1", "a/2", "a/3", "b"]);
    assert_eq!(keys("a/", None), ["a/1", "a/2", "a/3"]);
    assert_eq!(keys("a/", Some("a/1")), ["a/2", "a/3"]);
    assert_eq!(keys("a/", Some("a/11")), ["a/2", "a/3"]);
    assert_eq!(keys("b", Some("a/1")), ["b"]);
    assert_eq!(keys("a/", Some("c")), [""; 0]);
    refused(log.apply(put("", "", None)), "key", "1 to 1024");
    let large = Command::PutKey {
        key: "large".into(),
        value: vec![0; VALUE_BYTES_MAX + 1].into(),
        precondition: None,
    };
    refused(log.apply(large), "value", "at most 1048576");
    let delete = |key: &str| Command::DeleteKey {
        key: key.into(),
        precondition: None,
    };
    done(log.apply(delete("a/1")));
    assert_eq!(log.apply(delete("a/1")), Answer::NotFound);
    assert_eq!(log.state().kv().len(), 3);
}

// guarantee: REIGN-1, FENCE-13
#[test]
fn the_reign() {
    let mut machine = Machine::default();
    let take_over = |member, term| Command::TakeOver { member, term };
    // another leader's entry, or another term's
    for (leader, term) in [(2, 5), (1, 6), (2, 6)] {
        let (answer, events) = machine.apply(1, term, leader, &take_over(1, 5));
        assert!(matches!(answer, Answer::Ignored(_)) && events.is_empty());
    }
    assert_eq!(*machine.state().reign(), Reign::default());
    let (_, events) = machine.apply(10, 5, 1, &take_over(1, 5));
    assert_eq!(
        events,
        [StateEvent::TakenOver {
            holder: 1,
            epoch: 10
        }]
    );
    let first = Reign {
        holder: Some(1),
        epoch: 10,
        term: 5,
        released: false,
        former: None,
        clear: true,
    };
    assert_eq!(*machine.state().reign(), first);
    // not the epoch; not the holder
    for (leader, epoch) in [(1, 9), (1, 0), (2, 10)] {
        let (answer, _) = machine.apply(11, 6, leader, &Command::Release { epoch });
        assert!(
            matches!(answer, Answer::Ignored(_)),
            "{leader} released {epoch}"
        );
    }
    let (_, events) = machine.apply(12, 5, 1, &Command::Release { epoch: 10 });
    assert_eq!(events, [StateEvent::Released { epoch: 10 }]);
    assert_eq!(
        *machine.state().reign(),
        Reign {
            released: true,
            ..first
        }
    );
    let (answer, _) = machine.apply(13, 5, 1, &Command::Release { epoch: 10 });
    assert!(matches!(answer, Answer::Ignored(_)));
    // released and still the leader: again, under a new epoch
    machine.apply(14, 5, 1, &take_over(1, 5));
    let again = Reign {
        epoch: 14,
        former: Some(1),
        ..first
    };
    assert_eq!(*machine.state().reign(), again);
    machine.apply(15, 7, 2, &take_over(2, 7));
    let second = Reign {
        holder: Some(2),
        epoch: 15,
        term: 7,
        released: false,
        former: Some(1),
        // the one before was not released
        clear: false,
    };
    assert_eq!(*machine.state().reign(), second);
    // neither here: nobody knows yet whether the leases before it were over
    machine.apply(16, 7, 2, &take_over(2, 7));
    assert!(!machine.state().reign().clear);
    machine.apply(17, 7, 2, &Command::Release { epoch: 16 });
    machine.apply(18, 9, 3, &take_over(3, 9));
    let third = machine.state().reign();
    assert_eq!((third.former, third.clear), (Some(2), true));
    let restored = State::read_from(&mut &snapshot(machine.state())[..]).unwrap();
    assert_eq!(restored.reign(), third);
}

#[test]
fn announcements() {
    let mut log = CommandLog::with_ping();
    log.apply(announce(2, &["b", "a", "b"]));
    assert_eq!(log.state().announced_programs()[&2].services, ["a", "b"]);
    let same = log.apply(announce(2, &["a", "b"]));
    assert!(matches!(same, Answer::Done { changed: false, .. }));
    refused(log.apply(announce(2, &["a b"])), "services", "1 to 128");
    refused(log.apply(announce(0, &[])), "member", "id");
    assert_eq!(log.state().announced_programs().len(), 2);
}

#[test]
fn commands_and_answers_survive_the_wire() {
    let precondition = Some(WritePrecondition::Revision(7));
    for command in [
        Command::PutResource {
            kind: Kind::ApiKey,
            name: "a".into(),
            spec: r#"{"name":"a"}"#.into(),
            precondition,
        },
        Command::DeleteResource {
            kind: Kind::Service,
            name: "a".into(),
            precondition: None,
        },
        Command::PutKey {
            key: "k".into(),
            value: "v".into(),
            precondition: Some(WritePrecondition::Absent),
        },
        Command::DeleteKey {
            key: "k".into(),
            precondition,
        },
        Command::TakeOver { member: 1, term: 2 },
        Command::Release { epoch: 3 },
        Command::AnnounceProgram {
            member: 1,
            services: vec!["a".into()],
            version: "1".into(),
            failover_ms: Some(500),
        },
        Command::RecordTakeover(Box::new(Takeover {
            epoch: 3,
            from: Some("a".into()),
            reason: Reason::Death.into(),
            detected_us: Some(0),
            ..Takeover::default()
        })),
    ] {
        assert_eq!(Command::decode(command.encode()), Ok(command));
    }
    for answer in [
        Answer::Done {
            revision: 1,
            changed: true,
            created: false,
        },
        Answer::PreconditionFailed { revision: 0 },
        Answer::NotFound,
        Answer::Invalid(vec![field_errors::error("a", "b", "c")]),
        Answer::Referenced(vec!["service/a".into()]),
        Answer::Ignored("why".into()),
    ] {
        assert_eq!(Answer::decode(&answer.encode()), Some(answer));
    }
}

fn snapshot(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    state.write_to(&mut bytes).unwrap();
    bytes
}

#[test]
fn damaged_snapshots_are_refused() {
    let mut log = CommandLog::with_ping();
    done(log.put(Kind::Service, service("orders")));
    log.apply(Command::PutKey {
        key: "k".into(),
        value: "v".into(),
        precondition: None,
    });
    let bytes = snapshot(log.state());
    for length in 0..bytes.len() {
        let mut machine = log.machine.clone();
        let error = machine.restore(&mut &bytes[..length]).unwrap_err();
        assert!(error.to_string().contains("it ends after"), "{error}");
        assert_eq!(
            machine, log.machine,
            "changed by a snapshot that could not be read"
        );
    }
    let magic = b"quorate-state";
    let mut windows = bytes.windows(magic.len());
    let position = windows.position(|it| it == magic).unwrap();
    let mut bytes = bytes.clone();
    bytes[position..position + magic.len()].copy_from_slice(b"another-thing");
    let error = State::read_from(&mut &bytes[..]).unwrap_err();
    assert!(error.to_string().contains("instead of"), "{error}");
}
