//! Report of one checker: its findings, and how much it looked at.

use super::finding::{CheckFinding, FindingGrade, RunCounts};

/// What a checker has to say.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    checker: &'static str,
    /// What it found.
    pub findings: Vec<CheckFinding>,
    /// What it counted.
    pub numbers: RunCounts,
}

impl CheckReport {
    /// Nothing yet.
    pub fn new(checker: &'static str) -> CheckReport {
        CheckReport {
            checker,
            ..CheckReport::default()
        }
    }

    /// Adds a finding; it is returned for its details.
    pub fn find(&mut self, grade: FindingGrade, kind: &str, what: String) -> &mut CheckFinding {
        self.findings.push(CheckFinding {
            checker: self.checker.to_owned(),
            grade,
            kind: kind.to_owned(),
            what,
            operations: Vec::new(),
            members: Vec::new(),
            from: None,
            until: None,
        });
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    /// Counts.
    pub fn count(&mut self, name: impl Into<String>, more: u64) {
        *self.numbers.entry(name.into()).or_default() += more;
    }

    /// Keeps the greatest.
    pub fn worst(&mut self, name: impl Into<String>, value: u64) {
        let known = self.numbers.entry(name.into()).or_default();
        *known = value.max(*known);
    }
}
