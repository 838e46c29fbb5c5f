//! Secrets that are sealed or used by name, as the log has them and as clients give them.

use super::*;
use crate::{
    SealedText, StoredSecret,
    declaration::{FieldNature, FieldSecrecy},
};

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
    let targets = |kind, spec: &Value| Resource::parse(kind, spec).unwrap().secret_targets();
    let spec = with(with(connection(), "host", "h"), "port", 5671);
    let spec = with(spec, "management_url", Value::Null);
    let amqp = Kind::AmqpConnection;
    assert_eq!(targets(amqp, &spec), ["amqp://h:5671"]);
    let tls = with(spec.clone(), "tls", true);
    assert_eq!(targets(amqp, &tls), ["amqps://h:5671"]);
    let managed = with(spec, "management_url", "http://u:p@m/");
    let managed = targets(amqp, &managed);
    assert_eq!(managed, ["amqp://h:5671", "http://m:80"]);
    let upstream = with(
        service(),
        "upstream",
        json!(["https://a/x", "http://b:8080"]),
    );
    let upstream = targets(Kind::Service, &upstream);
    assert_eq!(upstream, ["https://a:443", "http://b:8080"]);
    let broker = secret(json!(["amqp://h:5671"]));
    assert!(broker.allows(&managed[..1]) && !broker.allows(&managed) && !broker.allows(&[]));
    let any = secret(Value::Null);
    assert!(any.allows(&[]) && any.allows(&managed));
    let refused = |target: &str| {
        let spec = json!({"name": "s", "value": "v", "allowed_targets": [target]});
        Resource::parse(Kind::Secret, &spec).is_err()
    };
    for bad in [
        "h",
        "amqp://h",
        "amqp://h:0",
        "ftp://h:1",
        "amqp://u@h:1",
        "",
    ] {
        assert!(refused(bad), "{bad}");
    }
    assert!(!refused("ibm-mq://mq.example.com:1414"));
}

/// Whoever may write a secret, and doesn't know it, could send it to a host of his own otherwise.
// guarantee: SECURITY-1
#[test]
fn kept_secret_gets_no_more_targets() {
    let secret = |targets: Value| {
        let spec = json!({"name": "s", "allowed_targets": targets});
        Resource::parse(Kind::Secret, &spec).unwrap()
    };
    let (all, one) = (secret(Value::Null), secret(json!(["amqp://a:1"])));
    let two = secret(json!(["amqp://a:1", "amqp://b:1"]));
    let is_more = |now: &Resource, before| now.changed_target_fields(before) == ["allowed_targets"];
    assert!(is_more(&all, &one) && is_more(&two, &one));
    assert!(!is_more(&one, &all) && !is_more(&one, &two) && !is_more(&one, &one));
}

/// A field is declared as a secret once, and is sealed for that: nothing lists the fields.
#[test]
fn every_declared_secret_is_sealed() {
    let mut fields = Vec::new();
    for kind in Kind::ALL {
        let whole = kind.secret_fields().into_iter();
        let whole = whole.filter(|(_, secrecy)| *secrecy == FieldSecrecy::Secret);
        assert!(whole.count() <= 1, "{kind}: `secret_field` is one field");
        fields.extend(kind.sealed_fields().map(|field| format!("{kind}.{field}")));
        // Whatever holds a secret says so of its field, whatever stands in it.
        let resource = Resource::reading(kind, &sentences::whole(kind)).value;
        for (field, nature) in resource.natures() {
            let has_secret = matches!(nature, FieldNature::Secret(_) | FieldNature::InPart(..));
            assert!(!has_secret || kind.sealed_fields().any(|it| it == field));
        }
    }
    assert_eq!(
        fields,
        [
            "secret.value",
            "basic_auth.password",
            "api_key.key",
            "jwt.key",
            "hmac.secret",
            "service.auth_secret",
            "amqp_connection.password",
            "amqp_connection.management_url",
            "ibm_mq_connection.password",
        ]
    );
}
