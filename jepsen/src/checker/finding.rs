//! Findings of the checkers, and what each makes of the verdict.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::operation::ClientOperation;

/// What a finding makes of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingGrade {
    /// A guarantee was broken, whatever the machine was like.
    Wrong,
    /// Something came too late, or not at all: broken, unless the machine was starved.
    Late,
    /// It can't be told whether all is well.
    Unsure,
    /// Worth to know.
    Note,
}

/// Something that a checker found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckFinding {
    /// Who found it.
    pub checker: String,
    /// What it makes of the verdict.
    pub grade: FindingGrade,
    /// Its kind, in a few words, the same for all of a kind.
    pub kind: String,
    /// What was found, in a sentence.
    pub what: String,
    /// The lines of the history that show it, from 1.
    #[serde(default)]
    pub operations: Vec<usize>,
    /// The members that it is about.
    #[serde(default)]
    pub members: Vec<u64>,
    /// From when.
    #[serde(default)]
    pub from: Option<u64>,
    /// Until when.
    #[serde(default)]
    pub until: Option<u64>,
}

impl CheckFinding {
    /// Names the operations that show it, and takes over when and where they were.
    pub fn shown_by(&mut self, operations: &[&ClientOperation]) -> &mut CheckFinding {
        for operation in operations {
            self.operations.extend(operation.lines());
            if operation.member != 0 && !self.members.contains(&operation.member) {
                self.members.push(operation.member);
            }
        }
        let from = operations.iter().map(|operation| operation.start).min();
        let until = operations.iter().map(|operation| operation.told).max();
        self.between(from, until)
    }

    /// When it was.
    pub fn between(&mut self, from: Option<u64>, until: Option<u64>) -> &mut CheckFinding {
        (self.from, self.until) = (from, until);
        self
    }

    /// Which members it is about.
    pub fn at(&mut self, members: &[u64]) -> &mut CheckFinding {
        self.members = members.to_vec();
        self
    }
}

/// Names and counts, as in `ok.write` and `overlap_ms.worst`.
pub type RunCounts = BTreeMap<String, u64>;
