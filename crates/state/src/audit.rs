//! Audit trail: who has changed what, written by the log itself.
//!
//! Each command that is applied on behalf of an actor leaves one line, also where it was refused or
//! changed nothing. All members come to the same lines, since they are made of the command and the
//! state alone; each line is chained to the one before by a hash, so that one that was edited or cut
//! shows. The latest [`AUDIT_MAX`] are kept here; members write all of them to a file.
//!
//! A line has the names of changed fields and never a value.

use std::{collections::BTreeSet, sync::Arc};

use imbl::OrdMap;
use quorate_resources::{Kind, json};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Actor, Answer, BatchedPut, Catalog, Command, OperatorAction};

/// Most lines that the state keeps. Part of the format.
pub const AUDIT_MAX: usize = 10_000;

/// Most names in one line: of the resources of a batch.
const NAMES_MAX: usize = 20;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLine {
    /// Number of the line, from 1 on.
    pub seq: u64,
    /// JSON of the line, canonical, without the hashes.
    pub text: Arc<str>,
    /// Hash of the line before; zeros for the first.
    pub prev: [u8; 32],
    /// Hash of this line.
    pub hash: [u8; 32],
}

/// Latest lines, by number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditTrail {
    lines: OrdMap<u64, Arc<AuditLine>>,
}

/// Command as a line describes it, before it is applied.
pub(super) struct AuditSubject {
    action: &'static str,
    kind: String,
    name: String,
    fields: Vec<String>,
}

impl AuditTrail {
    /// Lists the lines from a number on.
    pub fn lines_from(&self, seq: u64) -> impl Iterator<Item = &Arc<AuditLine>> {
        self.lines.range(seq..).map(|(_, line)| line)
    }

    /// Returns the latest line.
    pub fn last(&self) -> Option<&Arc<AuditLine>> {
        self.lines.get_max().map(|(_, line)| line)
    }

    pub(super) fn append(
        &mut self,
        index: u64,
        actor: &Actor,
        subject: AuditSubject,
        answer: &Answer,
    ) {
        let last = self.last();
        let seq = last.map_or(1, |it| it.seq + 1);
        let prev = last.map_or([0; 32], |it| it.hash);
        let AuditSubject {
            action,
            kind,
            name,
            fields,
        } = subject;
        let line = json!({
            "seq": seq,
            "revision": index,
            "time_ms": actor.now_ms,
            "actor": &*actor.identity,
            "token": &*actor.token,
            "via": &*actor.via,
            "source": &*actor.source,
            "member": actor.member,
            "action": action,
            "kind": kind,
            "name": name,
            "fields": fields,
            "outcome": outcome(answer),
        });
        let text: Arc<str> = json::canonical(&line).into();
        let hash = chained(&prev, &text);
        self.keep(AuditLine {
            seq,
            text,
            prev,
            hash,
        });
    }

    /// Keeps a line in place of the oldest, once there are too many.
    pub(super) fn keep(&mut self, line: AuditLine) {
        self.lines.insert(line.seq, Arc::new(line));
        if self.lines.len() > AUDIT_MAX
            && let Some((oldest, _)) = self.lines.get_min()
        {
            let oldest = *oldest;
            self.lines.remove(&oldest);
        }
    }
}

/// Returns the hash of a line behind another.
pub fn chained(prev: &[u8; 32], text: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(prev);
    hash.update(text.as_bytes());
    hash.finalize().into()
}

impl AuditSubject {
    /// Describes a command beside what is there before it is applied.
    pub(super) fn of(command: &Command, catalog: &Catalog) -> AuditSubject {
        let (kind, name, fields) = match command {
            Command::PutResource {
                kind, name, spec, ..
            } => (
                kind.to_string(),
                name.clone(),
                changed_fields(catalog, *kind, name, spec),
            ),
            Command::PutResources(puts) => (String::new(), batch_names(puts), Vec::new()),
            Command::DeleteResource { kind, name, .. }
            | Command::OperateConnector { kind, name, .. } => {
                (kind.to_string(), name.clone(), Vec::new())
            }
            Command::PutKey { key, .. } | Command::DeleteKey { key, .. } => {
                ("key".into(), key.clone(), Vec::new())
            }
            Command::CreateToken(token) => (
                "token".into(),
                token.id.clone(),
                vec![format!("identity {}", token.identity)],
            ),
            Command::RevokeToken { id } => ("token".into(), id.clone(), Vec::new()),
            _ => (String::new(), String::new(), Vec::new()),
        };
        let action = match command {
            Command::OperateConnector { order, .. } => match order {
                OperatorAction::Pause => "pause",
                OperatorAction::Resume => "resume",
                OperatorAction::Restart => "restart",
            },
            other => other.name(),
        };
        AuditSubject {
            action,
            kind,
            name,
            fields,
        }
    }
}

fn batch_names(puts: &[BatchedPut]) -> String {
    let named = puts.iter().take(NAMES_MAX);
    let mut names: Vec<String> = named.map(|it| format!("{}/{}", it.kind, it.name)).collect();
    if puts.len() > NAMES_MAX {
        names.push(format!("and {} others", puts.len() - NAMES_MAX));
    }
    names.join(", ")
}

/// Returns the names of the fields that a put changes, secrets among them.
fn changed_fields(catalog: &Catalog, kind: Kind, name: &str, spec: &[u8]) -> Vec<String> {
    let fields = |spec: &[u8]| match json::parse(spec) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let put = fields(spec);
    let before = catalog.get(kind, name);
    let before = before.map_or_else(Map::new, |it| fields(it.spec().as_bytes()));
    let is_secret = |field: &str| kind.secret_field() == Some(field);
    let names: BTreeSet<&String> = put.keys().chain(before.keys()).collect();
    let is_changed = |field: &&String| {
        let (now, then) = (put.get(*field), before.get(*field));
        // A secret that is left out stays.
        now != then && !(now.is_none() && is_secret(field))
    };
    names.into_iter().filter(is_changed).cloned().collect()
}

fn outcome(answer: &Answer) -> &'static str {
    match answer {
        Answer::Done { changed: true, .. } | Answer::SendAdmitted(_) => "done",
        Answer::Done { .. } => "unchanged",
        Answer::Forbidden(_) => "forbidden",
        Answer::PreconditionFailed { .. }
        | Answer::NotFound
        | Answer::Invalid(_)
        | Answer::Referenced(_)
        | Answer::Ignored(_)
        | Answer::Full(_) => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Machine, State};

    fn actor(identity: &str, unrestricted: bool) -> Actor {
        Actor {
            identity: identity.into(),
            token: "".into(),
            unrestricted,
            via: "token".into(),
            source: "10.0.0.1".into(),
            member: 2,
            now_ms: 1_700_000_000_000,
        }
    }

    fn put(name: &str, spec: Value) -> Command {
        Command::PutResource {
            kind: Kind::ApiKey,
            name: name.into(),
            spec: spec.to_string().into(),
            precondition: None,
        }
    }

    fn text(state: &State, seq: u64) -> Value {
        let line = state.audit().lines_from(seq).next().unwrap();
        serde_json::from_str(&line.text).unwrap()
    }

    /// Security test 59: one line for each write, with names of fields and no values, chained.
    // guarantee: AUDIT-1
    #[test]
    fn each_write_leaves_one_chained_line() {
        let mut machine = Machine::default();
        let root = actor("root", true);
        let first = put("k", json!({"name": "k", "key": "hunter2"}));
        let second = put("k", json!({"name": "k", "header": "X-Key"}));
        let key = Command::PutKey {
            key: "a".into(),
            value: "hunter2".into(),
            precondition: None,
        };
        let ann = actor("ann", false);
        for (index, (actor, command)) in (1..).zip([
            (&root, &first),
            (&root, &second),
            (&root, &second),
            (&ann, &key),
        ]) {
            machine.apply_for(Some(actor), (index, 1, 1), command);
        }
        machine.apply(5, 1, 1, &key);
        let state = machine.state();
        let outcomes: Vec<Value> = (1..=4)
            .map(|it| text(state, it)["outcome"].clone())
            .collect();
        assert_eq!(outcomes, ["done", "done", "unchanged", "forbidden"]);
        assert_eq!(text(state, 1)["fields"], json!(["key", "name"]));
        assert_eq!(text(state, 2)["fields"], json!(["header"]));
        assert_eq!(
            (&text(state, 4)["actor"], &text(state, 4)["name"]),
            (&json!("ann"), &json!("a"))
        );
        assert_eq!(state.audit().lines_from(1).count(), 4);
        let mut prev = [0; 32];
        for line in state.audit().lines_from(1) {
            assert!(!line.text.contains("hunter2"), "{}", line.text);
            assert_eq!((line.prev, line.hash), (prev, chained(&prev, &line.text)));
            prev = line.hash;
        }
        let mut bytes = Vec::new();
        state.write_to(&mut bytes).unwrap();
        let restored = State::read_from(&mut &bytes[..]).unwrap();
        assert_eq!(restored.audit(), state.audit());
    }

    #[test]
    fn oldest_lines_make_room() {
        let mut trail = AuditTrail::default();
        let root = actor("root", true);
        for _ in 0..AUDIT_MAX + 3 {
            let command = Command::DeleteKey {
                key: "a".into(),
                precondition: None,
            };
            let subject = AuditSubject::of(&command, &Catalog::default());
            trail.append(1, &root, subject, &Answer::NotFound);
        }
        assert_eq!(trail.lines_from(0).count(), AUDIT_MAX);
        assert_eq!(trail.lines_from(0).next().map(|it| it.seq), Some(4));
    }
}
