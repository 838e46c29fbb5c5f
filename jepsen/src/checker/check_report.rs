//! Report of one checker: its findings, and how much it looked at.

use super::finding::{CheckFinding, FindingGrade, RunCounts};

/// Findings and counts of one checker.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    checker: &'static str,
    /// The findings.
    pub findings: Vec<CheckFinding>,
    /// The counts.
    pub numbers: RunCounts,
}

impl CheckReport {
    /// Makes a report without findings.
    pub fn new(checker: &'static str) -> CheckReport {
        CheckReport {
            checker,
            ..CheckReport::default()
        }
    }

    /// Adds a finding; gives it for its details.
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

    /// Adds to a count.
    pub fn count(&mut self, name: impl Into<String>, more: u64) {
        *self.numbers.entry(name.into()).or_default() += more;
    }

    /// Raises a count to the greatest value.
    pub fn worst(&mut self, name: impl Into<String>, value: u64) {
        let known = self.numbers.entry(name.into()).or_default();
        *known = value.max(*known);
    }
}
