//! Anomalies: the few operations of a run that can't be explained together.

use serde::{Deserialize, Serialize};

use crate::{checker::operation::ClientOperation, history::EventType};

/// A few operations that can't be explained together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SmallAnomaly {
    /// Who says so.
    pub checker: String,
    /// Why, in a sentence.
    pub what: String,
    /// The operations, in the order in which they were asked for.
    pub operations: Vec<AnomalyOperation>,
}

/// An operation, as it is shown to a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnomalyOperation {
    /// Its line in the history.
    pub line: usize,
    /// Who asked.
    pub process: u64,
    /// Whom.
    pub member: u64,
    /// What, as in `write k1 7`.
    pub text: String,
    /// `ok`, `fail` or `info`.
    pub outcome: EventType,
    /// When it was asked for.
    pub start: u64,
    /// When the client was told of its outcome.
    pub told: u64,
    /// The revision that was told.
    pub revision: Option<u64>,
}

impl AnomalyOperation {
    /// Takes over what is shown of an operation.
    pub fn from_operation(it: &ClientOperation) -> AnomalyOperation {
        AnomalyOperation {
            line: it.line,
            process: it.process,
            member: it.member,
            text: it.told_as(),
            outcome: it.kind,
            start: it.start,
            told: it.told,
            revision: it.revision,
        }
    }
}

/// As text, for a terminal.
pub fn text(anomalies: &[SmallAnomaly]) -> String {
    let mut text = String::new();
    for it in anomalies {
        text += &format!("{}: {}\n", it.checker, it.what);
        for small in &it.operations {
            let outcome = match small.outcome {
                EventType::Ok => "ok",
                EventType::Fail => "fail",
                _ => "info",
            };
            let revision = small
                .revision
                .map_or_else(String::new, |it| format!(" @{it}"));
            text += &format!(
                "  {:>10.3}-{:>10.3} s  process {:<4} member {}  {} {outcome}{revision}\n",
                small.start as f64 / 1e9,
                small.told as f64 / 1e9,
                small.process,
                small.member,
                small.text,
            );
        }
    }
    text
}
