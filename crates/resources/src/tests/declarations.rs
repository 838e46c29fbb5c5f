//! The fields of each kind, against what is read and written and what `docs/` say.

use super::*;

/// Values of which each field takes one.
fn candidates() -> [Value; 23] {
    [
        json!("a"),
        json!("api_key/a"),
        json!("client"),
        json!("lease"),
        json!("cold"),
        json!("tcp://*:5555"),
        json!("bind"),
        json!("PULL"),
        json!("PUSH"),
        json!("sha256"),
        json!("base64"),
        json!(1),
        json!(500),
        json!(true),
        json!(["a"]),
        json!(["api_key/a"]),
        json!(["ES256"]),
        json!({"keys": []}),
        json!({"ca": "a", "server_name": "a"}),
        json!({"scheme": "bearer", "username": "a", "header": "a", "certificate": "a"}),
        json!({"per": "source", "requests": 1, "window_s": 1, "burst": 1}),
        json!([{"verbs": ["read"]}]),
        json!({
            "retries": 1, "backoff_ms": 1, "backoff_max_ms": 1, "dead_letter": "a",
        }),
    ]
}

#[test]
fn all_fields_set_are_all_fields_written() {
    for kind in Kind::ALL {
        let read = |spec: &Value| Resource::reading(kind, spec);
        let takes = |field: &str, value: &Value| {
            let outcome = read(&json!({field: value}));
            let is_read = outcome.unknown.iter().all(|it| it.field != field);
            is_read && outcome.value.json()[field] == *value
        };
        let mut spec = json!({});
        for field in fields(kind) {
            let value = candidates().into_iter().find(|it| takes(field, it));
            spec[field] = value.unwrap_or_else(|| panic!("{kind}.{field} takes nothing"));
        }
        assert_eq!(read(&spec).value.json(), spec, "{kind}");
    }
}

/// The page with the tables of a connector's fields.
fn page(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::AmqpConnection | Kind::AmqpChannel | Kind::AmqpOutgoing => {
            include_str!("../../../../docs/connectors/amqp.md")
        }
        Kind::IbmMqConnection | Kind::IbmMqChannel | Kind::IbmMqOutgoing => {
            include_str!("../../../../docs/connectors/ibm-mq.md")
        }
        Kind::ZmqChannel | Kind::ZmqOutgoing => {
            include_str!("../../../../docs/connectors/zeromq.md")
        }
        _ => return None,
    })
}

/// The tables do without what each kind has.
const UNTOLD: [&str; 3] = ["name", "connection", "active"];

#[test]
fn pages_name_each_field_and_its_default() {
    for (kind, page) in Kind::ALL
        .into_iter()
        .filter_map(|kind| Some((kind, page(kind)?)))
    {
        let absent = Resource::reading(kind, &json!({}));
        let defaults = absent.value.json();
        for field in fields(kind).into_iter().filter(|it| !UNTOLD.contains(it)) {
            let named = page.split_once(&format!("`{field}`"));
            let (_, after) = named.unwrap_or_else(|| panic!("{kind}.{field} is missing"));
            let given = after.strip_prefix(" (").and_then(|it| it.split_once(')'));
            let is_required = absent.unknown.iter().any(|it| it.field == field);
            let default = defaults
                .get(field)
                .filter(|it| !is_required && !it.is_object());
            if let (Some((given, _)), Some(default)) = (given, default) {
                let default = default.as_str().map_or(default.to_string(), str::to_owned);
                assert_eq!(given.trim_matches('`'), default, "{kind}.{field}");
            }
        }
    }
}
