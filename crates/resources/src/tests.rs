mod connectors;
mod declarations;
mod security;
mod sentences;
mod stored_secrets;
mod upstream;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn errors(kind: Kind, spec: Value) -> Vec<(String, String, String)> {
    Resource::parse(kind, &spec)
        .expect_err("should be refused")
        .into_iter()
        .map(|it| (it.field, it.value, it.problem))
        .collect()
}

/// The one error of a spec: its field, and that the problem says what it should.
fn refused(kind: Kind, spec: Value, field: &str, says: &str) {
    let errors = errors(kind, spec.clone());
    let [(at, _, problem)] = &errors[..] else {
        panic!("{spec} should have one bad field, {field}: {errors:?}")
    };
    assert_eq!(at, field, "{spec}: {problem}");
    assert!(
        problem.contains(says),
        "{spec}: {problem:?} should say {says:?}"
    );
}

/// The fields of a kind, in their order.
fn fields(kind: Kind) -> Vec<&'static str> {
    let read = Resource::reading(kind, &json!({})).value;
    read.natures().into_iter().map(|(field, _)| field).collect()
}

fn with(mut spec: Value, field: &str, value: impl Into<Value>) -> Value {
    spec[field] = value.into();
    spec
}

fn service() -> Value {
    json!({"name": "orders", "upstream": "http://127.0.0.1:8080/orders"})
}

fn http_channel() -> Value {
    json!({"name": "orders", "path": "/orders/{id}", "service": "orders"})
}

fn connection() -> Value {
    json!({"name": "rabbit", "host": "localhost", "username": "guest", "password": "guest"})
}

fn channel() -> Value {
    json!({"name": "orders", "connection": "rabbit", "queue": "orders", "service": "orders"})
}

#[test]
fn defaults_are_filled_in() {
    let Ok(Resource::HttpChannel(it)) = Resource::parse(Kind::HttpChannel, &http_channel()) else {
        panic!("should parse")
    };
    assert_eq!(it.methods, ["GET", "POST"]);
    assert!(it.active);
    assert_eq!(it.max_body_bytes, 1 << 20);
    let Ok(Resource::AmqpConnection(it)) = Resource::parse(Kind::AmqpConnection, &connection())
    else {
        panic!("should parse")
    };
    assert_eq!((it.port, it.vhost.as_str(), it.heartbeat_s), (5672, "/", 2));
    let Ok(Resource::AmqpChannel(it)) = Resource::parse(Kind::AmqpChannel, &channel()) else {
        panic!("should parse")
    };
    assert_eq!(it.prefetch, 10);
    assert_eq!(it.on_failure, DeliveryPolicy::default());
}

/// What is shown is read as what was shown, and the secret is not in it.
fn reads_back(kind: Kind, spec: Value) {
    let resource = Resource::parse(kind, &spec).unwrap();
    let shown = resource.without_secret();
    if let Some(field) = kind.secret_field() {
        assert_eq!(shown.get(field), None, "{kind} shows its {field}");
    }
    let mut full = shown.clone();
    if let (Some(field), Some(secret)) = (kind.secret_field(), resource.secret()) {
        full[field] = secret.into();
    }
    assert_eq!(Resource::parse(kind, &full).unwrap(), resource, "{full}");
}

#[test]
fn the_shown_form_reads_back() {
    let nested = with(
        channel(),
        "on_failure",
        json!({"retries": 1, "dead_letter": "dead"}),
    );
    for (kind, spec) in [
        (Kind::Service, service()),
        (Kind::Service, with(service(), "host", json!("client"))),
        (
            Kind::Service,
            with(service(), "sign", json!("api_key/partner")),
        ),
        (
            Kind::Service,
            with(
                service(),
                "upstream",
                json!(["http://a", "https://b/c?d=e"]),
            ),
        ),
        (
            Kind::HttpChannel,
            with(http_channel(), "security", "basic_auth/partner"),
        ),
        (Kind::AmqpConnection, connection()),
        (Kind::AmqpChannel, nested),
        (
            Kind::BasicAuth,
            json!({"name": "partner", "username": "u", "password": "p"}),
        ),
        (Kind::ApiKey, json!({"name": "partner", "key": "k"})),
    ] {
        reads_back(kind, spec);
    }
}

#[test]
fn debug_output_hides_secrets() {
    for (kind, spec) in [
        (
            Kind::AmqpConnection,
            with(connection(), "password", "hunter2"),
        ),
        (
            Kind::BasicAuth,
            json!({"name": "a", "username": "u", "password": "hunter2"}),
        ),
        (Kind::ApiKey, json!({"name": "a", "key": "hunter2"})),
    ] {
        let text = format!("{:?}", Resource::parse(kind, &spec).unwrap());
        assert!(
            text.contains("(hidden)") && !text.contains("hunter2"),
            "{text}"
        );
    }
}

#[test]
fn every_bad_field_is_named_at_once() {
    let spec = json!({
        "name": "a b", "connection": "", "queue": 7, "prefetch": 0, "active": "yes",
        "on_failure": {"retries": 101, "backof_ms": 1}, "pasword": "hunter2",
    });
    let errors = errors(Kind::AmqpChannel, spec);
    let mut fields: Vec<&str> = errors.iter().map(|(field, ..)| field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "active",
            "connection",
            "name",
            "on_failure.backof_ms",
            "on_failure.retries",
            "pasword",
            "prefetch",
            "queue",
            "service"
        ]
    );
    assert!(
        !format!("{errors:?}").contains("hunter2"),
        "a misspelt secret is shown: {errors:?}"
    );
}

#[test]
fn bad_services() {
    let s = Kind::Service;
    refused(s, json!([]), "", "an object");
    refused(s, json!({"name": "a"}), "upstream", "exactly one of");
    refused(s, with(service(), "builtin", "ping"), "builtin", "not both");
    refused(s, with(service(), "name", ".."), "name", "1 to 128 letters");
    refused(
        s,
        with(service(), "name", "n".repeat(129)),
        "name",
        "1 to 128 letters",
    );
    refused(s, with(service(), "name", 12), "name", "put it in quotes");
    refused(
        s,
        with(service(), "timeout_ms", 0),
        "timeout_ms",
        "from 1 to 3600000",
    );
    refused(
        s,
        with(service(), "timeout_ms", "10s"),
        "timeout_ms",
        "a whole number",
    );
    refused(
        s,
        with(service(), "timeout_ms", 1.5),
        "timeout_ms",
        "a whole number",
    );
    refused(
        s,
        with(service(), "retries", 101),
        "retries",
        "from 0 to 100",
    );
    refused(
        s,
        with(service(), "retries", -1),
        "retries",
        "from 0 to 100",
    );
    for (url, says) in [
        ("ftp://host/x", "http:// or https://"),
        ("127.0.0.1:8080", "must be a URL"),
        ("", "must be a URL"),
        ("http://", "must be a URL"),
        (" http://a", "without spaces"),
        ("http://a#b", "fragment"),
    ] {
        refused(s, with(service(), "upstream", url), "upstream", says);
    }
    refused(
        s,
        with(service(), "upstream", json!([])),
        "upstream",
        "1 to 32",
    );
    refused(
        s,
        with(service(), "upstream", json!(["http://a", "x"])),
        "upstream[1]",
        "a URL",
    );
    refused(
        s,
        with(service(), "upstream", json!(["http://a", "http://a"])),
        "upstream[1]",
        "twice",
    );
    let errors = errors(s, with(service(), "upstream", "http://user:hunter2@host/"));
    assert!(!format!("{errors:?}").contains("hunter2"), "{errors:?}");
}

#[test]
fn bad_http_channels() {
    let h = Kind::HttpChannel;
    for (path, says) in [
        ("orders", "begins with `/`"),
        ("", "begins with `/`"),
        ("/orders/{id", "braces"),
        ("/orders/id}", "braces"),
        ("/orders/x{id}", "braces"),
        ("/orders/{}", "its name must be"),
        ("/orders/{1a}", "its name must be"),
        ("/{a}/b/{a}", "twice"),
        ("/{*rest}/b", "before its end"),
        ("/zato/ping", "reserved"),
        ("/zato", "reserved"),
        ("/zato-lb-alive", "reserved"),
        ("/a//b", "empty segment"),
        ("/a/../b", "`..`"),
        ("/a?b=c", "%XX"),
        ("/a b", "%XX"),
        ("/gr\u{fc}n", "%XX"),
        ("/a%2", "%XX"),
    ] {
        refused(h, with(http_channel(), "path", path), "path", says);
    }
    for path in [
        "/",
        "/a/",
        "/zatonic",
        "/a%20b/{id}",
        "/{a}/{b}",
        "/files/{*rest}",
        "/a:b@c;d=e",
    ] {
        let spec = with(http_channel(), "path", path);
        assert!(Resource::parse(h, &spec).is_ok(), "{path} should be a path");
    }
    refused(
        h,
        with(http_channel(), "methods", json!(["get"])),
        "methods[0]",
        "in capitals",
    );
    refused(
        h,
        with(http_channel(), "methods", json!(["GET", "GET"])),
        "methods[1]",
        "twice",
    );
    refused(
        h,
        with(http_channel(), "methods", json!([])),
        "methods",
        "1 to 16",
    );
    refused(
        h,
        with(http_channel(), "methods", "GET"),
        "methods",
        "a list",
    );
    refused(
        h,
        with(http_channel(), "security", "partner"),
        "security",
        "KIND/NAME",
    );
    refused(
        h,
        with(http_channel(), "security", "service/x"),
        "security",
        "KIND/NAME",
    );
    refused(
        h,
        with(http_channel(), "active", "yes"),
        "active",
        "true or false",
    );
    refused(
        h,
        with(http_channel(), "max_body_bytes", -1),
        "max_body_bytes",
        "whole number",
    );
}

#[test]
fn bad_amqp() {
    let c = Kind::AmqpConnection;
    for host in ["", "amqp://rabbit", "rabbit:5672", "a b", "-a", "rabbit/"] {
        refused(
            c,
            with(connection(), "host", host),
            "host",
            "IP address alone",
        );
    }
    for host in [
        "rabbit",
        "rabbit.example.com",
        "10.0.0.1",
        "::1",
        "my_broker",
        "a.b.",
    ] {
        let spec = with(connection(), "host", host);
        assert!(Resource::parse(c, &spec).is_ok(), "{host} should be a host");
    }
    refused(c, with(connection(), "port", 0), "port", "from 1 to 65535");
    refused(
        c,
        with(connection(), "port", 65_536),
        "port",
        "from 1 to 65535",
    );
    refused(
        c,
        with(connection(), "heartbeat_s", 0),
        "heartbeat_s",
        "from 1 to 3600",
    );
    refused(
        c,
        with(connection(), "password", ""),
        "password",
        "leave it out",
    );
    refused(
        c,
        with(connection(), "fence", "none"),
        "fence",
        "must be exclusive or lease",
    );
    for (url, says) in [
        ("rabbit:15672", "must begin with http:// or https://"),
        ("amqp://rabbit", "must begin with http:// or https://"),
        ("not a url", "must be a URL such as"),
        ("http://", "must be a URL such as"),
        (" http://rabbit:15672", "without spaces"),
        ("http://u:hunter2@rabbit:15672/?a=b", "without `/api`"),
        ("http://rabbit:15672/api/", "without `/api`"),
    ] {
        let spec = with(connection(), "management_url", url);
        refused(c, spec.clone(), "management_url", says);
        assert!(!format!("{:?}", errors(c, spec)).contains("hunter2"));
    }
    let whole = "https://u:hunter2@rabbit:15672/rabbit";
    let spec = with(connection(), "management_url", whole);
    let resource = Resource::parse(c, &spec).unwrap();
    assert_eq!(
        resource.without_secret()["management_url"],
        "https://rabbit:15672/rabbit"
    );
    assert!(!format!("{resource:?}").contains("hunter2"));
    refused(c, with(connection(), "vhost", ""), "vhost", "1 to 255");
    let errors = errors(c, with(connection(), "password", json!(["hunter2"])));
    assert!(!format!("{errors:?}").contains("hunter2"), "{errors:?}");

    let q = Kind::AmqpChannel;
    refused(
        q,
        with(channel(), "standby", "hot"),
        "standby",
        "must be warm or cold",
    );
    refused(
        q,
        with(channel(), "prefetch", 1001),
        "prefetch",
        "from 1 to 1000",
    );
    refused(
        q,
        with(channel(), "on_failure", "retry"),
        "on_failure",
        "an object",
    );
    let failure = |it: Value| with(channel(), "on_failure", it);
    refused(
        q,
        failure(json!({"dead_letter": "orders"})),
        "on_failure.dead_letter",
        "another queue",
    );
    refused(
        q,
        failure(json!({"backoff_ms": 0})),
        "on_failure.backoff_ms",
        "from 1",
    );
    let inverted = json!({"backoff_ms": 500, "backoff_max_ms": 100});
    refused(
        q,
        failure(inverted),
        "on_failure.backoff_max_ms",
        "at least backoff_ms",
    );
}

#[test]
fn bad_security_objects() {
    let b = json!({"name": "a", "username": "u:v"});
    refused(Kind::BasicAuth, b, "username", "without a colon");
    for header in ["", "X API", "X:Y", "Host", "content-length"] {
        let spec = json!({"name": "a", "header": header});
        refused(Kind::ApiKey, spec, "header", "must");
    }
    refused(
        Kind::ApiKey,
        json!({"name": "a", "key": "a\nb"}),
        "key",
        "visible ASCII",
    );
}

#[test]
fn kinds_read_back() {
    for kind in Kind::ALL {
        assert_eq!(kind.as_str().parse(), Ok(kind));
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        assert_eq!(Kind::ALL[kind as usize], kind);
        assert!(
            UnknownKind(String::new())
                .to_string()
                .contains(kind.as_str())
        );
    }
    assert_eq!("queue".parse::<Kind>(), Err(UnknownKind("queue".into())));
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("ab".to_owned()),
        "\\{[xyz]\\}",
        Just(String::new()),
    ];
    (
        prop::collection::vec(segment, 0..4),
        prop::option::of(Just("{*r}")),
    )
        .prop_map(|(mut it, rest)| {
            it.extend(rest.map(str::to_owned));
            format!("/{}", it.join("/"))
        })
}

proptest! {
    /// What passes the checks and does not overlap is what the router takes.
    #[test]
    fn router_accepts_exactly_templates_without_overlap(paths in prop::collection::vec(path(), 1..8)) {
        let mut router = matchit::Router::new();
        let mut taken: Vec<String> = Vec::new();
        for path in paths.into_iter().filter(|path| PathTemplate::check(path).is_ok()) {
            let template = PathTemplate::new(&path);
            let overlaps = taken.iter().any(|other| template.overlaps(&PathTemplate::new(other)));
            let inserted = router.insert(&path, ());
            prop_assert_eq!(inserted.is_err(), overlaps, "{} among {:?}: {:?}", path, taken, inserted);
            if !overlaps {
                taken.push(path);
            }
        }
    }

    /// Whatever is sent, it is read or refused; nothing panics.
    #[test]
    fn any_text_is_read_or_refused(path in ".{0,40}", url in ".{0,40}", host in ".{0,20}") {
        let _ = PathTemplate::check(&path);
        let _ = Resource::parse(Kind::Service, &json!({"name": path, "upstream": url}));
        let _ = Resource::parse(Kind::AmqpConnection, &json!({"name": url, "host": host}));
    }
}
