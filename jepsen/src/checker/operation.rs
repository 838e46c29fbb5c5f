//! Operations: requests joined with their outcomes.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::history::{EventType, HistoryEvent};

/// End of an operation that may take effect at any time from now on.
pub const NEVER: u64 = u64::MAX;

/// Functions that write to the cluster, as workloads call them.
const WRITES: &[&str] = &["write", "cas", "delete", "add", "append", "apply"];
/// The processes that read in the end count from here.
const FINAL: u64 = 1_000_000;

/// Operation of one client.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientOperation {
    /// The line of the history on which the operation was asked for, from 1.
    pub line: usize,
    /// The line on which the outcome stands, if there is one.
    pub outcome_line: Option<usize>,
    /// The process that asked.
    pub process: u64,
    /// The function that was asked for.
    pub f: String,
    /// The key; empty when there is none.
    pub key: String,
    /// The argument of the request.
    pub asked: Value,
    /// The answer.
    pub answered: Value,
    /// The outcome: never `Invoke`.
    pub kind: EventType,
    /// The time at which the operation was asked for.
    pub start: u64,
    /// The time at which it had surely taken effect, if it did: [`NEVER`] when nothing is known.
    pub end: u64,
    /// The time at which the client was told of the outcome, or that of the history's last line.
    pub told: u64,
    /// The member that was asked.
    pub member: u64,
    /// The revision that the answer carries.
    pub revision: Option<u64>,
    /// The reason why the outcome is not `Ok`.
    pub error: Option<String>,
}

impl ClientOperation {
    /// Returns whether the operation is known to have been done.
    pub fn is_ok(&self) -> bool {
        self.kind == EventType::Ok
    }

    /// Returns whether this is one of the reads in the end, which are no load.
    pub fn is_final(&self) -> bool {
        self.process >= FINAL
    }

    /// Returns whether nothing is known of the outcome.
    pub fn is_info(&self) -> bool {
        self.kind == EventType::Info
    }

    /// Returns whether this is a write to the cluster, whatever the workload calls it.
    pub fn is_cluster_write(&self) -> bool {
        WRITES.contains(&self.f.as_str())
    }

    /// Returns whether the operation changes a register.
    pub fn writes(&self) -> bool {
        matches!(self.f.as_str(), "write" | "cas" | "delete")
    }

    /// Returns the value that a register has once the operation is done.
    pub fn leaves(&self) -> &Value {
        match self.f.as_str() {
            "cas" => self.asked.get(1).unwrap_or(&Value::Null),
            "delete" => &Value::Null,
            _ => &self.asked,
        }
    }

    /// Returns the value that the operation saw: a read's answer, or what a done compare-and-set
    /// found.
    pub fn saw(&self) -> Option<&Value> {
        match (self.f.as_str(), self.kind) {
            ("read", EventType::Ok) => Some(&self.answered),
            ("cas", EventType::Ok) => Some(self.expects()),
            _ => None,
        }
    }

    /// Returns the value that a compare-and-set wants to find.
    pub fn expects(&self) -> &Value {
        self.asked.get(0).unwrap_or(&Value::Null)
    }

    /// Returns the lines of the history on which the operation stands.
    pub fn lines(&self) -> impl Iterator<Item = usize> + use<> {
        [Some(self.line), self.outcome_line].into_iter().flatten()
    }

    /// Describes the operation for people: `write k1 = 7`.
    pub fn describe(&self) -> String {
        let ClientOperation { f, key, .. } = self;
        let value = match (f.as_str(), self.kind) {
            ("read" | "final" | "catalog", EventType::Ok) => format!("→ {}", brief(&self.answered)),
            ("read" | "final" | "catalog" | "delete", _) => String::new(),
            ("cas", _) => format!("{} → {}", brief(self.expects()), brief(self.leaves())),
            _ => brief(&self.asked),
        };
        let text = format!("{f} {key} {value}");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A value, short enough for a line.
pub fn brief(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// Joins a history's events to operations, in the order in which they were asked for. An operation
/// that was never answered is as one that was answered with `info`.
pub fn join(events: &[HistoryEvent]) -> Vec<ClientOperation> {
    let last = events.iter().map(|event| event.time).max().unwrap_or(0);
    let mut operations: Vec<ClientOperation> = Vec::new();
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        if event.kind == EventType::Invoke {
            open.insert(event.process, operations.len());
            operations.push(ClientOperation {
                line: at + 1,
                outcome_line: None,
                process: event.process,
                f: event.f.clone(),
                key: event.key.clone().unwrap_or_default(),
                asked: event.value.clone(),
                answered: Value::Null,
                kind: EventType::Info,
                start: event.time,
                end: NEVER,
                told: last,
                member: event.member,
                revision: None,
                error: None,
            });
            continue;
        }
        let Some(operation) = open.remove(&event.process).map(|n| &mut operations[n]) else {
            continue;
        };
        operation.outcome_line = Some(at + 1);
        operation.kind = event.kind;
        operation.told = event.time;
        operation.error = event.error.clone();
        if event.member != 0 {
            operation.member = event.member;
        }
        if event.kind == EventType::Ok {
            operation.answered = event.value.clone();
            operation.revision = event.revision;
        }
        if event.kind != EventType::Info {
            operation.end = event.time;
        }
    }
    operations
}
