//! Every sentence by which a spec is refused, and every default, against `sentences.txt`.
//!
//! The file is the face of this crate to users. `UPDATE_SENTENCES=1 cargo test -p
//! quorate-resources sentences` writes it anew: the difference is what a release note says.

use std::{collections::HashSet, env, fmt::Write, fs};

use quorate_proto::command::FieldError;

use super::{
    connectors::{
        amqp_outgoing, ibm_mq_channel, ibm_mq_connection, ibm_mq_outgoing, zmq_channel,
        zmq_outgoing,
    },
    *,
};

const SENTENCES: &str = include_str!("sentences.txt");

/// Values of every type, within and beyond each rule.
const VALUES: &str = r#"[
    "", " ", "a", "a b", "a\n", "..", "/a/{id}", "/a/{id}/{id}", "/{*a}/b", "/a{", "/a//b",
    "/a?", "/{0}", "/zato", "ftp://a", "http://", "http://u:pw@a/", "http://a/#b", "http://a/api",
    " http://a", "Host", "basic_auth/a b", "service/a", "tcp://a", "tcp://*:5555", "tcp://::1:5",
    "tcp://a b:1", "tcp://localhost:5", "tcp://a:0", "ipc://a", "-----BEGIN PRIVATE KEY-----",
    -1, 0, 1.5, 7, 930, 99999999999999, true, [], ["a", "a"], ["GET", 7], {}, {"x": 1}
]"#;

/// Values that rules over several fields ask about.
const TOGETHER: &str = r#"[
    true, 1, 2, 500, "a", "orders", "ORDERS.IN", "bind", "connect", "PULL", "ping", "/a",
    "api_key/a", "tcp://*:5555", "tcp://localhost:5",
    {"dead_letter": "orders"}, {"backoff_ms": 500, "backoff_max_ms": 100}
]"#;

fn values(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap()
}

pub(super) fn whole(kind: Kind) -> Value {
    match kind {
        Kind::Secret => json!({"name": "a", "value": "a"}),
        Kind::BasicAuth => json!({"name": "a", "username": "a", "password": "a"}),
        Kind::ApiKey => json!({"name": "a", "key": "a"}),
        Kind::Jwt => security::jwt(),
        Kind::ClientCertificate => security::certificate(),
        Kind::Hmac => security::hmac(),
        Kind::AccessRole => json!({"name": "a", "grants": [{"verbs": ["read"]}]}),
        Kind::Identity => json!({"name": "a", "roles": ["reader"]}),
        Kind::Service => service(),
        Kind::HttpChannel => http_channel(),
        Kind::AmqpConnection => connection(),
        Kind::AmqpChannel => channel(),
        Kind::AmqpOutgoing => amqp_outgoing(),
        Kind::IbmMqConnection => ibm_mq_connection(),
        Kind::IbmMqChannel => ibm_mq_channel(),
        Kind::IbmMqOutgoing => ibm_mq_outgoing(),
        Kind::ZmqChannel => zmq_channel(),
        Kind::ZmqOutgoing => zmq_outgoing(),
    }
}

/// Lines of what a kind says, each sentence once, with the first value that it was said of.
struct Sentences {
    kind: Kind,
    seen: HashSet<String>,
    lines: String,
}

impl Sentences {
    fn of(kind: Kind) -> String {
        let mut it = Sentences {
            kind,
            seen: HashSet::new(),
            lines: String::new(),
        };
        let resource = Resource::parse(kind, &whole(kind)).unwrap();
        writeln!(it.lines, "{kind} {}", resource.without_secret()).unwrap();
        it.refusals(&json!({}));
        it.refusals(&json!("a"));
        it.refusals(&with(whole(kind), "nonsense", "hunter2"));
        it.refusals(&with(whole(kind), "curve_server_key", "hunter2"));
        if let Some(field) = kind.secret_field() {
            it.refusals(&with(whole(kind), field, json!(["hunter2"])));
        }
        let (all, together) = (values(VALUES), values(TOGETHER));
        for (place, field) in fields(kind).into_iter().enumerate() {
            for value in &all {
                it.refusals(&with(whole(kind), field, value.clone()));
            }
            it.refusals(&with(whole(kind), field, "x".repeat(3000)));
            for other in &fields(kind)[..place] {
                for theirs in &together {
                    let spec = with(whole(kind), other, theirs.clone());
                    for mine in &together {
                        it.refusals(&with(spec.clone(), field, mine.clone()));
                    }
                }
            }
        }
        it.lines
    }

    fn refusals(&mut self, spec: &Value) {
        let errors = Resource::parse(self.kind, spec).err().unwrap_or_default();
        let unread = Resource::read(self.kind, spec).err().unwrap_or_default();
        for it in errors {
            let is_it = |un: &FieldError| (&un.field, &un.problem) == (&it.field, &it.problem);
            let is_unread = unread.iter().any(is_it);
            let what = if is_unread { "unreadable" } else { "wrong" };
            let sentence = format!("{} {what}: {}", it.field, it.problem);
            if self.seen.insert(sentence.clone()) {
                writeln!(self.lines, "{}.{sentence} | {:?}", self.kind, it.value).unwrap();
            }
        }
    }
}

#[test]
fn sentences_and_defaults_stay_as_released() {
    let said: String = Kind::ALL.into_iter().map(Sentences::of).collect();
    assert!(!said.contains("hunter2"), "a secret is shown");
    if env::var_os("UPDATE_SENTENCES").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/sentences.txt");
        fs::write(file, &said).unwrap();
        return;
    }
    for (line, (said, released)) in said.lines().zip(SENTENCES.lines()).enumerate() {
        assert_eq!(said, released, "line {}", line + 1);
    }
    assert_eq!(said.lines().count(), SENTENCES.lines().count());
}
