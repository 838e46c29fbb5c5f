//! Secrets that are sealed or used by name, as the log has them and as clients give them.

use super::*;
use crate::{SealedText, StoredSecret};

fn sealed(shown: Option<&str>) -> SealedText {
    SealedText {
        key_version: 3,
        salt: "salt".into(),
        ciphertext: "text".into(),
        fingerprint: "f".into(),
        shown: shown.map(str::to_owned),
    }
}

#[test]
fn sealed_secret_is_read_apart() {
    let spec = with(connection(), "password", sealed(None).json());
    let url = sealed(Some("http://rabbit:15672/"));
    let spec = with(spec, "management_url", url.json());
    let (resource, secrets) = Resource::read_stored(Kind::AmqpConnection, &spec).unwrap();
    assert_eq!(resource.secret(), None);
    assert_eq!(
        secrets.get("password"),
        Some(&StoredSecret::Sealed(sealed(None)))
    );
    assert_eq!(secrets.sealed().count(), 2);
    let shown = resource.shown_with(&secrets);
    assert_eq!(shown["management_url"], "http://rabbit:15672/");
    assert_eq!(shown.get("password"), None);
    assert!(resource.texts_to_seal().is_empty());
    // In clear, as older logs have it.
    let (_, secrets) = Resource::read_stored(Kind::AmqpConnection, &connection()).unwrap();
    assert!(secrets.is_empty());
}

#[test]
fn sealed_forms_mean_the_same_by_fingerprint() {
    let mut other = sealed(None);
    (other.salt, other.ciphertext) = ("another".into(), "form".into());
    assert_eq!(other, sealed(None));
    for change in [
        |it: &mut SealedText| it.key_version = 4,
        |it: &mut SealedText| it.fingerprint = "g".into(),
        |it: &mut SealedText| it.shown = Some("a".into()),
    ] {
        let mut other = sealed(None);
        change(&mut other);
        assert_ne!(other, sealed(None));
    }
}

/// Security test 64: what a newer version may write is refused, and not passed over.
#[test]
fn newer_sealed_form_is_not_read() {
    let read = |field: &str, value: Value| {
        let spec = with(connection(), field, value);
        Resource::read_stored(Kind::AmqpConnection, &spec).is_ok()
    };
    let good = sealed(None).json();
    assert!(read("password", good.clone()));
    for (at, value) in [
        ("/$sealed/v", json!(2)),
        ("/$sealed/k", json!(u64::MAX)),
        ("/$sealed/s", json!(1)),
        ("/$sealed", json!("text")),
    ] {
        let mut other = good.clone();
        *other.pointer_mut(at).unwrap() = value;
        assert!(!read("password", other), "{at}");
    }
    let mut more = good.clone();
    more["$sealed"]["new"] = 1.into();
    assert!(!read("password", more));
    let mut beside = good.clone();
    beside["secret"] = "a".into();
    assert!(!read("password", beside));
    assert!(!read("password", json!({"file": "a"})));
    // A whole secret has no part to be shown, and the other one always has.
    assert!(!read("password", sealed(Some("a")).json()));
    assert!(!read("management_url", good));
    assert!(!read("management_url", json!({"secret": "a"})));
}

#[test]
fn client_gives_texts_and_names_alone() {
    let problem = |kind, spec: Value| {
        let errors = Resource::parse(kind, &spec).err().unwrap_or_default();
        errors.first().map(|it| it.problem.clone())
    };
    let key = |value: Value| json!({"name": "k", "key": value});
    assert_eq!(problem(Kind::ApiKey, key(json!({"secret": "s"}))), None);
    let bad_name = problem(Kind::ApiKey, key(json!({"secret": "a b"}))).unwrap();
    assert!(bad_name.contains("names a secret"), "{bad_name}");
    for value in [json!({"x": 1}), json!({"secret": 1}), json!({})] {
        let wants = problem(Kind::ApiKey, key(value)).unwrap();
        assert_eq!(wants, "must be a text, or {\"secret\": NAME}");
    }
    let given = problem(Kind::ApiKey, key(sealed(None).json())).unwrap();
    assert!(given.contains("is sealed by a cluster"), "{given}");
    let chain = json!({"name": "s", "value": {"secret": "t"}});
    assert_eq!(problem(Kind::Secret, chain).unwrap(), "must be a text");
}

#[test]
fn secret_goes_to_its_targets_alone() {
    let secret = |targets: Value| {
        let spec = json!({"name": "s", "value": "v", "allowed_targets": targets});
        let Ok(Resource::Secret(it)) = Resource::parse(Kind::Secret, &spec) else {
            panic!("a secret")
        };
        it
    };
    let spec = with(with(connection(), "host", "h"), "port", 5671);
    let target = |spec: &Value| {
        let resource = Resource::parse(Kind::AmqpConnection, spec).unwrap();
        resource.secret_target().unwrap()
    };
    assert_eq!(target(&spec), "amqp://h:5671");
    assert_eq!(target(&with(spec.clone(), "tls", true)), "amqps://h:5671");
    let some = secret(json!(["amqp://h:5671"]));
    assert!(some.allows(Some("amqp://h:5671")));
    assert!(!some.allows(Some("amqps://h:5671")) && !some.allows(None));
    let any = secret(Value::Null);
    assert!(any.allows(None) && any.allows(Some("amqp://h:1")));
    let refused = |target: &str| {
        let spec = json!({"name": "s", "value": "v", "allowed_targets": [target]});
        Resource::parse(Kind::Secret, &spec).is_err()
    };
    for bad in [
        "h",
        "amqp://h",
        "amqp://h:0",
        "http://h:1",
        "amqp://u@h:1",
        "",
    ] {
        assert!(refused(bad), "{bad}");
    }
    assert!(!refused("ibm-mq://mq.example.com:1414"));
}
