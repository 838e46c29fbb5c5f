//! Findings of the checkers, and what each makes of the verdict.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::operation::ClientOperation;

/// Effect of a finding on the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingGrade {
    /// A guarantee was broken, whatever the machine was like.
    Wrong,
    /// Something came too late, or not at all: broken, unless the machine was starved.
    Late,
    /// Nobody can tell whether all is well.
    Unsure,
    /// The finding is worth to know.
    Note,
}

/// Something that a checker found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckFinding {
    /// The checker.
    pub checker: String,
    /// The effect on the verdict.
    pub grade: FindingGrade,
    /// The kind, in a few words, the same for all of a kind.
    pub kind: String,
    /// The finding in a sentence.
    pub what: String,
    /// The lines of the history that show the finding, from 1.
    #[serde(default)]
    pub operations: Vec<usize>,
    /// The members that the finding is about.
    #[serde(default)]
    pub members: Vec<u64>,
    /// The time from which the finding holds.
    #[serde(default)]
    pub from: Option<u64>,
    /// The time until which the finding holds.
    #[serde(default)]
    pub until: Option<u64>,
}

impl CheckFinding {
    /// Names the operations that show the finding, and takes over when and where they were.
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

    /// Sets the time of the finding.
    pub fn between(&mut self, from: Option<u64>, until: Option<u64>) -> &mut CheckFinding {
        (self.from, self.until) = (from, until);
        self
    }

    /// Sets the members that the finding is about.
    pub fn at(&mut self, members: &[u64]) -> &mut CheckFinding {
        self.members = members.to_vec();
        self
    }
}

/// Names and counts, as in `ok.write` and `overlap_ms.worst`.
pub type RunCounts = BTreeMap<String, u64>;
