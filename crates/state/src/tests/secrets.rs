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
