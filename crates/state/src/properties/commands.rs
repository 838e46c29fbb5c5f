//! Any command, with few names, so that they meet.

use proptest::prelude::*;
use quorate_resources::Kind;
use serde_json::{Value, json};

use super::super::*;

const NAMES: [&str; 3] = ["a", "b", "c"];

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(&NAMES[..]).prop_map(str::to_owned)
}

fn precondition() -> impl Strategy<Value = Option<WritePrecondition>> {
    prop_oneof![
        4 => Just(None),
        1 => Just(Some(WritePrecondition::Absent)),
        2 => (1..60u64).prop_map(|it| Some(WritePrecondition::Revision(it))),
    ]
}

/// One of two that can't be bound together with `*`.
fn address(name: &str) -> String {
    let host = if name == "a" { "*" } else { "127.0.0.1" };
    format!("tcp://{host}:{}", if name == "c" { 2 } else { 1 })
}

fn spec(kind: Kind, name: &str, other: &str, flavour: u8) -> Value {
    let mut spec = match kind {
        Kind::Service if flavour.is_multiple_of(3) => json!({"name": name, "builtin": other}),
        Kind::Service => json!({"name": name, "upstream": format!("http://{other}:{flavour}")}),
        Kind::HttpChannel => {
            json!({"name": name, "path": format!("/{other}/{{{name}}}"), "service": other})
        }
        Kind::AmqpConnection => json!({"name": name, "host": other, "username": name}),
        Kind::AmqpChannel => {
            json!({"name": name, "connection": other, "queue": other, "service": other})
        }
        Kind::AmqpOutgoing => json!({"name": name, "connection": other, "exchange": other}),
        Kind::IbmMqConnection => {
            json!({"name": name, "host": other, "queue_manager": other, "channel": name, "username": other})
        }
        Kind::IbmMqChannel => {
            json!({"name": name, "connection": other, "queue": other, "service": other})
        }
        Kind::IbmMqOutgoing => json!({"name": name, "connection": other, "queue": other}),
        Kind::ZmqChannel => {
            json!({"name": name, "address": address(other), "method": "bind", "socket_type": "PULL", "service": other})
        }
        Kind::ZmqOutgoing => {
            json!({"name": name, "address": address(other), "method": "bind", "socket_type": "PUSH"})
        }
        Kind::Secret => json!({"name": name}),
        Kind::BasicAuth => json!({"name": name, "username": other}),
        Kind::ApiKey => json!({"name": name, "header": other}),
        Kind::Jwt => {
            json!({"name": name, "issuer": other, "audience": ["a"], "jwks_url": "https://a"})
        }
        Kind::ClientCertificate => json!({"name": name, "ca": other, "names": ["a"]}),
        Kind::Hmac => json!({"name": name, "header": other}),
        Kind::AccessRole => {
            json!({"name": name, "grants": [{"verbs": ["read"], "prefixes": [other]}]})
        }
        Kind::Identity => json!({"name": name, "roles": [other, "reader"]}),
    };
    if kind == Kind::HttpChannel && flavour.is_multiple_of(2) {
        spec["security"] = format!("api_key/{other}").into();
    }
    if kind == Kind::HttpChannel && flavour.is_multiple_of(3) {
        spec["security"] = json!([format!("api_key/{other}"), format!("jwt/{other}")]);
    }
    let has_active = kind == Kind::HttpChannel || kind.has_connector();
    if has_active && flavour.is_multiple_of(5) {
        spec["active"] = false.into();
    }
    if kind == Kind::AmqpChannel && flavour.is_multiple_of(2) {
        spec["ordered"] = true.into();
    }
    if kind == Kind::AmqpConnection && flavour.is_multiple_of(3) {
        spec["fence"] = "lease".into();
    }
    if let Some(field) = kind.secret_field().filter(|_| flavour.is_multiple_of(2)) {
        spec[field] = match flavour % 6 {
            0 => sealed(u32::from(flavour % 3), flavour),
            2 if kind != Kind::Secret => json!({"secret": other}),
            _ => format!("secret-{flavour}").into(),
        };
    }
    spec
}

fn sealed(key_version: u32, text: u8) -> Value {
    let text = text.to_string();
    json!({"$sealed": {"v": 1, "k": key_version, "s": "salt", "c": text, "f": text}})
}

fn keyring() -> impl Strategy<Value = Command> {
    use crate::keyring::{KeyBox, KeyringCommand, RECOVERY};
    let (member, key, version) = (1..4u64, 1..4u8, 1..4u32);
    (member, key, version, 0..6u8).prop_map(|(member, key, version, what)| {
        let public_key = [key; 32];
        let content: bytes::Bytes = vec![key].into();
        let to = |owner| KeyBox {
            version,
            owner,
            public_key,
            content: content.clone(),
        };
        let boxes = vec![to(member), to(RECOVERY)];
        Command::Keyring(Box::new(match what {
            0 => KeyringCommand::Announce { member, public_key },
            1 => KeyringCommand::AddVersion {
                version,
                check: content,
                boxes,
            },
            2 => KeyringCommand::AddBoxes { boxes },
            3 => KeyringCommand::Accept { member, public_key },
            4 => KeyringCommand::SetRecovery { public_key },
            _ => KeyringCommand::DropVersion { version },
        }))
    })
}

fn reseal() -> impl Strategy<Value = Command> {
    (name(), name(), 1..20u8, 1..60u64, 1..4u32).prop_map(
        |(name, other, flavour, revision, key)| {
            let kind = Kind::ApiKey;
            let mut spec = spec(kind, &name, &other, flavour);
            spec["key"] = sealed(key, flavour);
            Command::ResealResources(vec![ResealedResource {
                kind,
                name,
                revision,
                spec: spec.to_string().into(),
            }])
        },
    )
}

fn send_key() -> impl Strategy<Value = SendKey> {
    (prop::sample::select(&Kind::ALL[..]), name(), name()).prop_map(|(kind, name, key)| SendKey {
        kind,
        name,
        key,
    })
}

pub(super) fn command() -> impl Strategy<Value = Command> {
    let put = (
        prop::sample::select(&Kind::ALL[..]),
        name(),
        name(),
        1..20u8,
        precondition(),
    )
        .prop_map(
            |(kind, name, other, flavour, precondition)| Command::PutResource {
                kind,
                spec: spec(kind, &name, &other, flavour).to_string().into(),
                name,
                precondition,
            },
        );
    let delete = (prop::sample::select(&Kind::ALL[..]), name(), precondition()).prop_map(
        |(kind, name, precondition)| Command::DeleteResource {
            kind,
            name,
            precondition,
        },
    );
    let put_key =
        (name(), 0..3u8, precondition()).prop_map(|(key, value, precondition)| Command::PutKey {
            key,
            value: vec![value].into(),
            precondition,
        });
    let delete_key = (name(), precondition())
        .prop_map(|(key, precondition)| Command::DeleteKey { key, precondition });
    let announce = (1..4u64, prop::collection::vec(name(), 0..3)).prop_map(|(member, services)| {
        Command::AnnounceProgram {
            member,
            services,
            version: "1".into(),
            failover_ms: None,
        }
    });
    let order = prop::sample::select(
        &[
            OperatorAction::Pause,
            OperatorAction::Resume,
            OperatorAction::Restart,
        ][..],
    );
    let operate = (prop::sample::select(&Kind::ALL[..]), name(), order)
        .prop_map(|(kind, name, order)| Command::OperateConnector { kind, name, order });
    let progress = (
        prop::sample::select(&Kind::ALL[..]),
        name(),
        0..9u64,
        0..3u8,
    )
        .prop_map(|(kind, name, created, progress)| ConnectorProgress {
            kind,
            name,
            created,
            progress: vec![progress; usize::from(progress)].into(),
        });
    let advance = (1..60u64, prop::collection::vec(progress, 0..4))
        .prop_map(|(epoch, connectors)| Command::AdvanceProgress { epoch, connectors });
    let intend =
        (send_key(), 1..60u64, 0..4u64, 0..900_000u64).prop_map(|(key, epoch, ticket, now_ms)| {
            let fingerprint = [ticket as u8; 32];
            Command::BeginSend(Box::new(SendIntent {
                key,
                epoch,
                ticket,
                fingerprint,
                now_ms,
            }))
        });
    let outcome = prop::sample::select(vec![
        RecordedOutcome::Confirmed {
            message_id: "m".into(),
        },
        RecordedOutcome::refused("no"),
        RecordedOutcome::Withdrawn,
    ]);
    let conclude = (send_key(), 1..60u64, 0..4u64, outcome, 0..900_000u64).prop_map(
        |(key, epoch, ticket, outcome, now_ms)| {
            Command::FinishSend(Box::new(SendConclusion {
                key,
                epoch,
                ticket,
                outcome,
                now_ms,
            }))
        },
    );
    let set_failover = (prop::sample::select(&[100, 500, 2_000][..]), any::<bool>())
        .prop_map(|(failover_ms, first)| Command::SetFailover { failover_ms, first });
    let failover_applied = (1..4u64, 1..60u64)
        .prop_map(|(member, revision)| Command::FailoverApplied { member, revision });
    prop_oneof![
        8 => put,
        3 => operate,
        2 => keyring(),
        1 => reseal(),
        2 => advance,
        3 => intend,
        2 => conclude,
        3 => delete,
        3 => put_key,
        1 => delete_key,
        1 => announce,
        1 => set_failover,
        1 => failover_applied,
        1 => (1..60u64).prop_map(|revision| Command::FailoverSettled { revision }),
        2 => (1..4u64, 1..12u64).prop_map(|(member, term)| Command::TakeOver { member, term }),
        1 => (1..60u64).prop_map(|epoch| Command::Release { epoch }),
        1 => (1..60u64, 1..12u64).prop_map(|(epoch, term)| Command::RecordTakeover(Box::new(Takeover {
            epoch,
            term,
            to: "m".into(),
            reason: Reason::Death.into(),
            ..Takeover::default()
        }))),
    ]
}
