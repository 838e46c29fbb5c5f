use proptest::prelude::*;
use quorate_resources::{Resource, json::UniqueKeys};
use quorate_state::{Answer, Command, Machine};
use serde_json::json;

use super::*;

fn faults(text: &str, format: ManifestFormat) -> Vec<String> {
    parse(text, format)
        .expect_err("should be refused")
        .iter()
        .map(ManifestError::to_string)
        .collect()
}

fn one_fault(text: &str, format: ManifestFormat, begins: &str, says: &str) {
    let faults = faults(text, format);
    let [fault] = &faults[..] else {
        panic!("should have one fault: {faults:#?}")
    };
    assert!(
        fault.starts_with(begins),
        "{fault:?} should begin with {begins:?}"
    );
    assert!(fault.contains(says), "{fault:?} should say {says:?}");
}

const YAML: &str = "\
# a channel before the service that it needs
kind: http_channel
name: orders
path: /orders/{id}
service: orders
---
kind: service
name: orders
upstream:
  - http://127.0.0.1:8080
  - http://127.0.0.1:8081
--- # nothing but a comment
# here
---
kind: basic_auth
name: partner
username: me
password: \"12345\"
";

#[test]
fn the_three_formats_mean_the_same() {
    let documents = parse(YAML, ManifestFormat::Yaml).unwrap();
    let found: Vec<_> = documents
        .iter()
        .map(|it| (it.kind, it.name.as_str(), it.line))
        .collect();
    assert_eq!(
        found,
        [
            (Kind::BasicAuth, "partner", Some(15)),
            (Kind::Service, "orders", Some(7)),
            (Kind::HttpChannel, "orders", Some(2)),
        ]
    );
    assert_eq!(
        documents[1].spec,
        json!({"name": "orders", "upstream": ["http://127.0.0.1:8080", "http://127.0.0.1:8081"]})
    );
    let toml = r#"
        [[http_channel]]
        name = "orders"
        path = "/orders/{id}"
        service = "orders"

        [[service]]
        name = "orders"
        upstream = ["http://127.0.0.1:8080", "http://127.0.0.1:8081"]

        [basic_auth]
        name = "partner"
        username = "me"
        password = "12345"
    "#;
    let flat: Vec<Value> = documents
        .iter()
        .map(|it| {
            let mut flat = it.spec.clone();
            flat["kind"] = it.kind.as_str().into();
            flat
        })
        .collect();
    let same = |text: &str, format| {
        let read = parse(text, format).unwrap();
        let strip = |it: &ManifestDocument| (it.kind, it.name.clone(), it.spec.clone());
        assert_eq!(
            read.iter().map(strip).collect::<Vec<_>>(),
            documents.iter().map(strip).collect::<Vec<_>>(),
            "{text}"
        );
    };
    same(toml, ManifestFormat::Toml);
    same(&json!(flat).to_string(), ManifestFormat::Json);
    same(
        &json!({"resources": flat}).to_string(),
        ManifestFormat::Json,
    );
    let one = parse(&flat[0].to_string(), ManifestFormat::Json).unwrap();
    assert_eq!((one.len(), one[0].kind), (1, Kind::BasicAuth));
}

#[test]
fn formats_are_detected() {
    let by_name = |name: &str| ManifestFormat::detect(Some(Path::new(name)), "");
    assert_eq!(by_name("a.yml"), ManifestFormat::Yaml);
    assert_eq!(by_name("a.JSON"), ManifestFormat::Json);
    assert_eq!(by_name("dir.json/a.toml"), ManifestFormat::Toml);
    let by_text = |text: &str| ManifestFormat::detect(None, text);
    assert_eq!(by_text("# hello\n\n[[service]]\n"), ManifestFormat::Toml);
    assert_eq!(by_text("[[service]] # one"), ManifestFormat::Toml);
    assert_eq!(by_text("\n[{}]"), ManifestFormat::Json);
    assert_eq!(by_text("{\"kind\": 1}"), ManifestFormat::Json);
    assert_eq!(by_text("kind: service"), ManifestFormat::Yaml);
    assert_eq!(by_text("{kind: service, name: a}"), ManifestFormat::Yaml);
    assert_eq!(
        by_text("# one\n{\"kind\": \"service\"}\n"),
        ManifestFormat::Yaml
    );
    assert_eq!(
        by_text("{\"a\": 1}\n---\n{\"a\": 2}\n"),
        ManifestFormat::Yaml
    );
    assert_eq!(
        by_text("[{kind: service}, {kind: service}]"),
        ManifestFormat::Yaml
    );
    // Neither: its user means JSON, and then YAML.
    assert_eq!(by_text("[{\"kind\": ]"), ManifestFormat::Json);
    assert_eq!(by_text("{kind: ]"), ManifestFormat::Yaml);
    assert_eq!(by_text("---\nkind: service"), ManifestFormat::Yaml);
}

#[test]
fn bracketed_documents_are_yaml_too() {
    for text in [
        "{kind: service, name: a, builtin: echo}\n",
        "# one\n{\"kind\": \"service\", \"name\": \"a\", \"builtin\": \"echo\"}\n",
        "%YAML 1.2\n---\nkind: service\nname: a\nbuiltin: echo\n",
        "# one\n%YAML 1.1\n\n--- {kind: service, name: a, builtin: echo}\n...\n",
    ] {
        let read = parse(text, ManifestFormat::detect(None, text)).unwrap();
        assert_eq!((read.len(), read[0].name.as_str()), (1, "a"), "{text}");
    }
    let two = "%YAML 1.2\n---\nkind: service\nname: a\nbuiltin: echo\n...\n%YAML 1.2\n---\nkind: service\nname: b\nbuiltin: echo\n";
    assert_eq!(parse(two, ManifestFormat::Yaml).unwrap().len(), 2);
    // A list is none, in brackets or without, and told in the same words.
    for text in [
        "[{kind: service, name: a, builtin: echo}]\n",
        "- {kind: service, name: a, builtin: echo}\n",
    ] {
        let format = ManifestFormat::detect(None, text);
        one_fault(text, format, "document 1, line 1", "a line `---`");
    }
    // Lines are counted as they stand in the file.
    one_fault(
        "%YAML 1.2\n---\nkind: [\n",
        ManifestFormat::Yaml,
        "document 1, line 4: can't be read",
        "",
    );
    one_fault(
        "%YAML 1.2\n%TAG ! tag:example.com,2000:\n---\nkind: service\nname: a\nbuiltin: echo\n",
        ManifestFormat::Yaml,
        "document 1, line 2: the directive \"%TAG ! tag:example.com,2000:\"",
        "leave it out",
    );
}

#[test]
fn faults_name_their_location() {
    let y = ManifestFormat::Yaml;
    one_fault("", y, "there are no resources", "");
    one_fault("# only this\n---\n", y, "there are no resources", "");
    one_fault("- a\n- b\n", y, "document 1, line 1", "must be an object");
    one_fault("name: a\n", y, "document 1, line 1, kind", "is required");
    one_fault(
        "kind: queue\nname: a\n",
        y,
        "document 1, line 1, kind",
        "\"queue\"",
    );
    one_fault(
        "kind: 7\nname: a\n",
        y,
        "document 1, line 1, kind",
        "a text",
    );
    one_fault(
        "kind: service\nbuiltin: ping\n",
        y,
        "document 1, line 1, name",
        "is required",
    );
    let second = format!("{YAML}---\nkind: service\nname: b\nbuiltin: ping\nretries: 1000\n");
    one_fault(
        &second,
        y,
        "document 4, line 23, service/b, retries",
        "from 0 to 100 (it is \"1000\")",
    );
    let nested = "kind: amqp_channel\nname: a\nconnection: c\nqueue: q\nservice: s\non_failure:\n  retries: x\n";
    one_fault(
        nested,
        y,
        "document 1, line 6, amqp_channel/a, on_failure.retries",
        "whole number",
    );
    one_fault(
        "kind: service\nname: a\nname: b\n",
        y,
        "document 1, line ",
        "twice",
    );
    one_fault("a: 1\n---\n\nkind: [\n", y, "document 2, line ", "YAML");
    one_fault(
        "kind: service\nname: !x a\n",
        y,
        "document 1, line ",
        "YAML",
    );
    let twice =
        "kind: service\nname: a\nbuiltin: ping\n---\nkind: service\nname: a\nbuiltin: echo\n";
    one_fault(
        twice,
        y,
        "document 2, line 5, service/a",
        "document 1 is it too",
    );

    let j = ManifestFormat::Json;
    one_fault("{\n\"kind\": }", j, "line 2", "JSON");
    one_fault("{\"resources\": 1}", j, "resources", "an array");
    one_fault("{\"resources\": [], \"other\": 1}", j, "other", "beside");
    one_fault("[]", j, "there are no resources", "");
    one_fault("[1]", j, "document 1", "an object");
    let two = r#"[{"kind":"service","name":"a","builtin":"ping"},{"kind":"service","name":"b"}]"#;
    one_fault(two, j, "document 2, service/b, upstream", "exactly one of");

    let t = ManifestFormat::Toml;
    one_fault("[[service]]\nname = \n", t, "line 2", "TOML");
    one_fault("name = 1\n", t, "line 1, name", "outside of a table");
    one_fault(
        "[[queue]]\nname = \"a\"\n",
        t,
        "document 1, line 1, kind",
        "\"queue\"",
    );
    let second = "[[service]]\nname = \"a\"\nbuiltin = \"ping\"\n[[service]]\nname = \"b\"\nbuiltin = \"x y\"\n";
    one_fault(
        second,
        t,
        "document 2, line 6, service/b, builtin",
        "1 to 128 letters",
    );
    one_fault(
        "[[service]]\nkind = \"api_key\"\nname = \"a\"\n",
        t,
        "document 1, line 2, kind",
        "\"service\"",
    );
}

#[test]
fn all_manifest_faults_are_reported_together() {
    let text =
        "kind: service\nname: a\n---\nkind: api_key\nname: b c\nkey: hunter2\nkeys: hunter2\n";
    let faults = faults(text, ManifestFormat::Yaml);
    assert_eq!(faults.len(), 3, "{faults:#?}");
    assert!(!faults.concat().contains("hunter2"), "{faults:#?}");
}

#[test]
fn an_export_can_be_applied() {
    let documents = parse(YAML, ManifestFormat::Yaml).unwrap();
    let text = export(documents.iter().rev().map(|it| (it.kind, it.spec.clone())));
    assert!(
        text.starts_with("---\nkind: basic_auth\nname: partner\n"),
        "{text}"
    );
    assert!(!text.contains("12345"), "{text}");
    let mut read = parse(&text, ManifestFormat::detect(None, &text)).unwrap();
    read[0].spec["password"] = "12345".into();
    let strip = |it: &ManifestDocument| (it.kind, it.name.clone(), it.spec.clone());
    assert_eq!(
        read.iter().map(strip).collect::<Vec<_>>(),
        documents.iter().map(strip).collect::<Vec<_>>()
    );
    assert_eq!(export([]), "");
}

#[test]
fn ambiguous_texts_survive_an_export() {
    for text in [
        "yes", "no", "12", "1e3", "null", "~", "", "a: b", "# c", "- d", "--- e", "\"f", " g ",
    ] {
        let spec = json!({"name": "a", "username": text});
        let yaml = export([(Kind::BasicAuth, spec.clone())]);
        let UniqueKeys(read) = serde_norway::from_str(&yaml).unwrap();
        assert_eq!(read["username"], spec["username"], "{yaml}");
    }
}

/// Each kind once, each before what it needs.
const BACKWARDS: &str = r#"
    [zmq_outgoing]
    name = "ticks"
    address = "tcp://*:5555"
    socket_type = "PUB"
    method = "bind"
    [zmq_channel]
    name = "ticks"
    address = "tcp://ticks.example.com:5556"
    socket_type = "SUB"
    method = "connect"
    service = "orders"
    [ibm_mq_outgoing]
    name = "orders"
    connection = "mq"
    queue = "ORDERS.OUT"
    [ibm_mq_channel]
    name = "orders"
    connection = "mq"
    queue = "ORDERS.IN"
    service = "orders"
    [ibm_mq_connection]
    name = "mq"
    host = "mq.example.com"
    queue_manager = "QM1"
    channel = "APP.SVRCONN"
    [amqp_outgoing]
    name = "orders"
    connection = "rabbit"
    exchange = "orders"
    [amqp_channel]
    name = "orders"
    connection = "rabbit"
    queue = "orders"
    service = "orders"
    [amqp_connection]
    name = "rabbit"
    host = "rabbit.example.com"
    username = "orders"
    password = "hunter2"
    [http_channel]
    name = "orders"
    path = "/orders"
    service = "orders"
    security = "api_key/partner"
    [service]
    name = "orders"
    upstream = "http://127.0.0.1:8080"
    [hmac]
    name = "webhooks"
    header = "X-Hub-Signature-256"
    secret = "hunter2-hunter2-"
    [client_certificate]
    name = "partners"
    ca = "-----BEGIN CERTIFICATE-----AAAA-----END CERTIFICATE-----"
    names = ["*.partner.example"]
    [jwt]
    name = "login"
    issuer = "https://login.example.com"
    audience = ["orders"]
    jwks_url = "https://login.example.com/keys"
    [api_key]
    name = "partner"
    key = "hunter2"
    [basic_auth]
    name = "partner"
    username = "me"
    password = "hunter2"
    [secret]
    name = "broker"
    value = "hunter2"
"#;

#[test]
fn every_kind_applies_exports_and_applies_again() {
    let documents =
        parse(BACKWARDS, ManifestFormat::Toml).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let kinds: Vec<Kind> = documents.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, Kind::ALL);
    let mut machine = Machine::default();
    let mut index = 0;
    let mut apply = |documents: &[ManifestDocument]| -> Vec<bool> {
        let put = |it: &ManifestDocument| {
            index += 1;
            let command = Command::PutResource {
                kind: it.kind,
                name: it.name.clone(),
                spec: it.spec.to_string().into(),
                precondition: None,
            };
            let (answer, _) = machine.apply(index, 1, 1, &command);
            assert!(matches!(answer, Answer::Done { .. }), "{it:?}: {answer:?}");
            answer.changed()
        };
        documents.iter().map(put).collect()
    };
    assert_eq!(apply(&documents), vec![true; Kind::ALL.len()]);
    let shown = documents.iter().map(|it| {
        let resource = Resource::parse(it.kind, &it.spec).unwrap();
        (it.kind, resource.without_secret())
    });
    let text = export(shown);
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("add it, if there is one,"), "{text}");
    let again = parse(&text, ManifestFormat::Yaml).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert_eq!(apply(&again), vec![false; Kind::ALL.len()]);
}

/// The example that newcomers try.
#[test]
fn the_examples_are_valid() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"));
    let files = std::fs::read_dir(folder).unwrap().flatten();
    let mut kinds: Vec<Kind> = Vec::new();
    for path in files.map(|file| file.path()) {
        if path.extension().is_some_and(|it| it == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let documents = parse(&text, ManifestFormat::detect(Some(&path), &text))
                .unwrap_or_else(|faults| panic!("{path:?}: {faults:#?}"));
            kinds.extend(documents.iter().map(|it| it.kind));
        }
    }
    for kind in [
        Kind::Service,
        Kind::HttpChannel,
        Kind::AmqpConnection,
        Kind::AmqpChannel,
        Kind::AmqpOutgoing,
    ] {
        assert!(kinds.contains(&kind), "{kind:?}");
    }
}

#[test]
fn merge_keys_are_carried_out() {
    let text = "\
kind: amqp_channel
name: orders
connection: rabbit
queue: orders
service: orders
on_failure: &failure {retries: 7, backoff_ms: 50}
---
kind: amqp_channel
<<: [{name: bills, queue: bills}, {queue: other, connection: rabbit}]
service: bills
on_failure:
  <<: {retries: 7, backoff_ms: 50}
  retries: 2
";
    let documents = parse(text, ManifestFormat::Yaml).unwrap();
    let bills = documents.iter().find(|it| it.name == "bills").unwrap();
    assert_eq!(
        bills.spec,
        json!({
            "name": "bills", "queue": "bills", "connection": "rabbit", "service": "bills",
            "on_failure": {"retries": 2, "backoff_ms": 50},
        })
    );
    // The usual form, by an anchor.
    let text = "\
kind: amqp_channel
name: orders
connection: rabbit
queue: orders
service: orders
on_failure: &failure {retries: 7}
<<: {on_failure: *failure, prefetch: 3}
";
    let [document] = &parse(text, ManifestFormat::Yaml).unwrap()[..] else {
        panic!("one document")
    };
    assert_eq!(document.spec["prefetch"], 3);
    one_fault(
        "kind: service\nname: a\nupstream: http://a\n<<: defaults\n",
        ManifestFormat::Yaml,
        "document 1",
        "must be a mapping or a list of mappings",
    );
}

proptest! {
    /// Test 65: whatever a file holds is documents or refused, and nothing panics.
    #[test]
    fn any_text_is_documents_or_refused(
        text in ".{0,60}",
        form in "([ \\-\\[\\]{}:,&*!<#\"'|>?\n=a-z0-9]{0,60}){0,3}",
    ) {
        let kind = format!("kind: service\nname: a\nupstream: {form}\n");
        for text in [&text, &form, &kind] {
            for format in [ManifestFormat::Yaml, ManifestFormat::Json, ManifestFormat::Toml] {
                let _ = parse(text, format);
            }
        }
    }
}
