//! Anomalies: the few operations of a run that can't be explained together.

use serde::{Deserialize, Serialize};

use crate::{checker::operation::ClientOperation, history::EventType};

/// A few operations that can't be explained together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SmallAnomaly {
    /// The checker that found it.
    pub checker: String,
    /// The reason, in a sentence.
    pub what: String,
    /// The operations, in the order in which they were asked for.
    pub operations: Vec<AnomalyOperation>,
}

/// Operation of an anomaly, as people are shown it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnomalyOperation {
    /// The line of the history on which the operation was asked for.
    pub line: usize,
    /// The process that asked.
    pub process: u64,
    /// The member that was asked.
    pub member: u64,
    /// The operation for people, as in `write k1 7`.
    pub text: String,
    /// `ok`, `fail` or `info`.
    pub outcome: EventType,
    /// The time at which the operation was asked for.
    pub start: u64,
    /// The time at which the client was told of the outcome.
    pub told: u64,
    /// The revision that the answer carried.
    pub revision: Option<u64>,
}

impl AnomalyOperation {
    /// Takes over what is shown of an operation.
    pub fn from_operation(it: &ClientOperation) -> AnomalyOperation {
        AnomalyOperation {
            line: it.line,
            process: it.process,
            member: it.member,
            text: it.describe(),
            outcome: it.kind,
            start: it.start,
            told: it.told,
            revision: it.revision,
        }
    }
}

/// Formats anomalies for a terminal.
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
