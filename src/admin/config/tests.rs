use quorate_resources::Kind;
use quorate_state::{Command, Machine};
use serde_json::{Value, json};

use super::{
    listing::{ListedKinds, ResourcesAnswer},
    resource_path::ResourcePath,
};

fn thing(kind: Kind, name: &str) -> ResourcePath {
    ResourcePath {
        kind,
        name: name.into(),
    }
}

#[test]
fn body_without_name_or_with_kind_is_read() {
    let thing = thing(Kind::Service, "orders");
    for body in [
        json!({"upstream": "http://a"}),
        json!({"upstream": "http://a", "name": "orders", "kind": "service"}),
    ] {
        let put = thing.read_body(body.to_string().as_bytes()).unwrap();
        let spec: Value = serde_json::from_slice(&put.spec).unwrap();
        assert_eq!(spec, json!({"upstream": "http://a", "name": "orders"}));
    }
}

#[test]
fn bad_bodies() {
    let thing = thing(Kind::BasicAuth, "partner");
    for (body, code, says) in [
        ("", "bad_request", "must be JSON"),
        ("{", "bad_request", "must be JSON"),
        (r#"{"username":"a","username":"b"}"#, "bad_request", "twice"),
        ("[]", "invalid", "an object"),
        (
            r#"{"name":"other","username":"a"}"#,
            "invalid",
            "the name that it is put under",
        ),
        (
            r#"{"kind":"api_key","username":"a"}"#,
            "invalid",
            "the kind in the URL",
        ),
        (r#"{"username":"a:b"}"#, "invalid", "without a colon"),
    ] {
        let problem = thing.read_body(body.as_bytes()).expect_err(body);
        assert_eq!(problem.code(), code, "{body}");
        let told = serde_json::to_string(&problem).unwrap();
        assert!(told.contains(says), "{body}: {told} should say {says}");
    }
}

#[test]
fn lists_show_no_secrets() {
    let mut machine = Machine::default();
    let specs = [
        (
            Kind::AmqpConnection,
            json!({"name": "r", "host": "h", "username": "u", "password": "hunter2"}),
        ),
        (Kind::ApiKey, json!({"name": "k", "key": "hunter2"})),
    ];
    for (index, (kind, spec)) in (1..).zip(specs) {
        let name = spec["name"].as_str().unwrap().to_owned();
        let spec = spec.to_string().into();
        machine.apply(
            index,
            1,
            1,
            &Command::PutResource {
                kind,
                name,
                spec,
                precondition: None,
            },
        );
    }
    let all = ResourcesAnswer::from_state(machine.state(), ListedKinds::All);
    let names: Vec<&str> = all.resources.iter().map(|it| it.name.as_str()).collect();
    assert_eq!((names, all.revision), (vec!["k", "r"], 2));
    assert_eq!(
        ResourcesAnswer::from_state(machine.state(), ListedKinds::One(Kind::ApiKey))
            .resources
            .len(),
        1
    );
    let text = serde_json::to_string(&all).unwrap();
    assert!(
        text.contains("X-API-Key") && !text.contains("hunter2"),
        "{text}"
    );
}
