//! The declared fields of each kind, against what is read and written and what `docs/` say.

use super::*;

/// A value for the field that every version can read.
fn sample(field: &FieldDeclaration) -> Value {
    let it = field.description();
    match (field.name, it.default, it.type_in_words) {
        ("host", Some(_), _) => "client".into(),
        (_, Some(default), _) => default,
        ("ccsid", ..) => 500.into(),
        (_, _, "whole number") => 1.into(),
        ("on_failure", ..) => samples(it.fields),
        ("path", ..) => "/a".into(),
        ("address", ..) => "tcp://*:5555".into(),
        ("method", ..) => "bind".into(),
        ("socket_type", ..) if it.rule_in_words.contains("PULL") => "PULL".into(),
        ("socket_type", ..) => "PUSH".into(),
        ("sign" | "security", ..) => "api_key/a".into(),
        _ => "a".into(),
    }
}

fn samples(fields: &[FieldDeclaration]) -> Value {
    let entries = fields.iter().map(|it| (it.name.to_owned(), sample(it)));
    Value::Object(entries.collect())
}

#[test]
fn all_fields_set_are_all_fields_written() {
    for kind in Kind::ALL {
        let spec = samples(kind.fields());
        let read = Resource::read(kind, &spec).unwrap_or_else(|errors| panic!("{kind} {errors:?}"));
        assert_eq!(read.json(), spec, "{kind}");
    }
}

#[test]
fn declared_defaults_are_what_absence_means() {
    for kind in Kind::ALL {
        let json = Resource::reading(kind, &json!({})).value.json();
        for field in kind.fields() {
            let it = field.description();
            let left_out = (kind, field.name) == (Kind::Service, "host");
            match it.default.filter(|_| !left_out) {
                Some(default) => assert_eq!(json[field.name], default, "{kind}.{}", field.name),
                None if it.is_required || !it.fields.is_empty() => {}
                None => assert_eq!(json.get(field.name), None, "{kind}.{}", field.name),
            }
        }
    }
}

#[test]
fn required_fields_are_missed_by_name() {
    for kind in Kind::ALL {
        let missed = Resource::reading(kind, &json!({})).unknown;
        let missed: Vec<&str> = missed.iter().map(|it| it.field.as_str()).collect();
        for field in kind.fields() {
            let is_missed = missed.contains(&field.name);
            assert_eq!(
                field.description().is_required,
                is_missed,
                "{kind}.{}",
                field.name
            );
        }
    }
}

#[test]
fn each_field_is_described() {
    let nested = |it: &FieldDeclaration| it.description().fields;
    for kind in Kind::ALL {
        let fields = kind.fields().iter();
        for field in fields.clone().chain(fields.flat_map(nested)) {
            let it = field.description();
            let plain = it.type_in_words == "true or false" || !it.fields.is_empty();
            assert!(
                plain || it.rule_in_words.starts_with("must "),
                "{kind}.{}",
                field.name
            );
            assert!(!field.doc().is_empty(), "{kind}.{}", field.name);
        }
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
        let fields = kind.fields().iter();
        for field in fields.filter(|it| !UNTOLD.contains(&it.name)) {
            let named = page.split_once(&format!("`{}`", field.name));
            let (_, after) = named.unwrap_or_else(|| panic!("{kind}.{} is missing", field.name));
            let given = after.strip_prefix(" (").and_then(|it| it.split_once(')'));
            if let (Some((given, _)), Some(default)) = (given, field.description().default) {
                let default = default.as_str().map_or(default.to_string(), str::to_owned);
                assert_eq!(given.trim_matches('`'), default, "{kind}.{}", field.name);
            }
        }
    }
}
