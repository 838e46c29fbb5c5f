//! Where a secret that is left out of a put is kept, and where it must be given again.

use quorate_resources::Kind;
use serde_json::json;

use super::*;

/// A kept password would otherwise be sent to whoever a writer names.
// guarantee: SECURITY-1
#[test]
fn kept_secret_goes_only_to_original_target() {
    let mut log = CommandLog::with_ping();
    let mut amqp = connection();
    amqp["management_url"] = "http://localhost:15672".into();
    let mq = json!({
        "name": "mq", "host": "mq", "queue_manager": "QM1", "channel": "APP",
        "username": "app", "password": "one",
    });
    done(log.put(Kind::AmqpConnection, amqp.clone()));
    done(log.put(Kind::IbmMqConnection, mq.clone()));
    for (kind, full, changes) in [
        (
            Kind::AmqpConnection,
            amqp,
            &[
                ("host", json!("evil.example")),
                ("port", json!(1)),
                ("vhost", json!("other")),
                ("username", json!("other")),
                ("tls", json!(true)),
                ("management_url", json!("http://evil.example")),
            ][..],
        ),
        (
            Kind::IbmMqConnection,
            mq,
            &[
                ("host", json!("evil.example")),
                ("port", json!(1)),
                ("queue_manager", json!("OTHER")),
                ("channel", json!("OTHER")),
                ("username", json!("other")),
                ("library", json!("/tmp/evil.so")),
            ][..],
        ),
    ] {
        for (field, value) in changes {
            let mut other = full.clone();
            other[*field] = value.clone();
            let with = other.clone();
            other.as_object_mut().unwrap().remove("password");
            let answer = log.put(kind, other);
            assert!(
                matches!(&answer, Answer::Invalid(errors) if errors[0].field == "password"
                    && errors[0].problem.contains(field)),
                "{kind} {field}: {answer:?}"
            );
            done(log.put(kind, with));
            done(log.put(kind, full.clone()));
        }
        // What has nothing to do with where it goes may change without it.
        let mut same = full.clone();
        same.as_object_mut().unwrap().remove("password");
        assert!(
            matches!(log.put(kind, same), Answer::Done { changed: false, .. }),
            "{kind}"
        );
    }
    let mut less = connection();
    less.as_object_mut().unwrap().remove("password");
    let without_management = done(log.put(Kind::AmqpConnection, less));
    let (it, revision) = log.state().catalog().amqp_connections().next().unwrap();
    assert_eq!(
        (it.password.as_deref(), revision),
        (Some("one"), without_management)
    );
}

fn sealed(text: &str) -> serde_json::Value {
    json!({"$sealed": {"v": 1, "k": 1, "s": "salt", "c": text, "f": text}})
}

/// Puts what the proposing member has checked and sealed.
fn put_stored(log: &mut CommandLog, kind: Kind, spec: serde_json::Value) -> Answer {
    log.index += 1;
    let command = Command::PutResource {
        kind,
        name: spec["name"].as_str().unwrap().to_owned(),
        spec: spec.to_string().into(),
        precondition: None,
    };
    let command = Command::decode(command.encode()).unwrap();
    log.machine.apply(log.index, 1, 1, &command).0
}

/// Security test 42, for a secret that the state can't read.
// guarantee: SECURITY-1
#[test]
fn sealed_secret_is_kept_for_its_target_alone() {
    let mut log = CommandLog::with_ping();
    let mut with = connection();
    with["password"] = sealed("one");
    with["management_url"] = json!({"$sealed": {
        "v": 1, "k": 1, "s": "salt", "c": "url", "f": "url", "p": "http://localhost:15672/",
    }});
    done(put_stored(&mut log, Kind::AmqpConnection, with.clone()));
    let mut without = with.clone();
    without.as_object_mut().unwrap().remove("password");
    without["management_url"] = "http://LOCALHOST:15672".into();
    let same = put_stored(&mut log, Kind::AmqpConnection, without.clone());
    assert!(
        matches!(same, Answer::Done { changed: false, .. }),
        "{same:?}"
    );
    without["heartbeat_s"] = 7.into();
    done(put_stored(&mut log, Kind::AmqpConnection, without.clone()));
    let stored = log.state().catalog().get(Kind::AmqpConnection, "rabbit");
    let spec: serde_json::Value = serde_json::from_str(stored.unwrap().stored_spec()).unwrap();
    assert_eq!(spec["password"], with["password"]);
    assert_eq!(spec["management_url"], with["management_url"]);
    assert_eq!(
        stored.unwrap().shown()["management_url"],
        "http://localhost:15672/"
    );
    for (field, value) in [
        ("host", json!("evil.example")),
        ("port", json!(1)),
        ("tls", json!(true)),
        ("management_url", json!("http://evil.example")),
    ] {
        let mut other = without.clone();
        other[field] = value;
        refused(
            put_stored(&mut log, Kind::AmqpConnection, other.clone()),
            "password",
            field,
        );
        other["password"] = sealed("two");
        done(put_stored(&mut log, Kind::AmqpConnection, other));
        done(put_stored(&mut log, Kind::AmqpConnection, with.clone()));
    }
}

/// Security test 42: a secret that is used by its name, and where it may be sent to.
#[test]
fn named_secret_is_there_and_allowed() {
    let mut log = CommandLog::with_ping();
    let mut by_name = connection();
    by_name["password"] = json!({"secret": "rabbit"});
    refused(
        put_stored(&mut log, Kind::AmqpConnection, by_name.clone()),
        "password",
        "there is no secret/rabbit",
    );
    let secret = |allowed: &str| json!({"name": "rabbit", "value": sealed("v"), "allowed_targets": [allowed]});
    done(put_stored(
        &mut log,
        Kind::Secret,
        secret("amqp://elsewhere:5672"),
    ));
    refused(
        put_stored(&mut log, Kind::AmqpConnection, by_name.clone()),
        "password",
        "allowed_targets",
    );
    done(put_stored(
        &mut log,
        Kind::Secret,
        secret("amqp://localhost:5672"),
    ));
    done(put_stored(&mut log, Kind::AmqpConnection, by_name.clone()));
    let stored = log.state().catalog().get(Kind::AmqpConnection, "rabbit");
    assert_eq!(
        stored.unwrap().shown()["password"],
        json!({"secret": "rabbit"})
    );
    let delete = Command::DeleteResource {
        kind: Kind::Secret,
        name: "rabbit".into(),
        precondition: None,
    };
    assert_eq!(
        log.apply(delete),
        Answer::Referenced(vec!["amqp_connection/rabbit".into()])
    );
    let key = json!({"name": "k", "key": {"secret": "rabbit"}});
    refused(
        put_stored(&mut log, Kind::ApiKey, key),
        "key",
        "allowed_targets",
    );
    let chain = json!({"name": "b", "value": {"secret": "rabbit"}});
    let errors = Command::PutResource {
        kind: Kind::Secret,
        name: "b".into(),
        spec: chain.to_string().into(),
        precondition: None,
    };
    let errors = errors.check().unwrap_err();
    assert_eq!(errors[0].problem, "must be a text");
}

/// Security test 41: a sealed form is nothing that a client gives.
// guarantee: SECURITY-21
#[test]
fn sealed_form_of_a_client_is_refused() {
    for (kind, spec, field) in [
        (
            Kind::ApiKey,
            json!({"name": "k", "key": sealed("x")}),
            "key",
        ),
        (
            Kind::AmqpConnection,
            json!({"name": "c", "host": "h", "username": "u", "password": "p",
                   "management_url": sealed("x")}),
            "management_url",
        ),
    ] {
        let put = Command::PutResource {
            kind,
            name: spec["name"].as_str().unwrap().into(),
            spec: spec.to_string().into(),
            precondition: None,
        };
        let errors = put.check().unwrap_err();
        assert_eq!(errors[0].field, field);
        assert!(errors[0].problem.contains("is sealed"), "{errors:?}");
    }
}
