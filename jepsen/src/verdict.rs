//! Verdict of a run as `verdict.json` holds it: the outcome, what was found, and how much was
//! looked at.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    anomaly::SmallAnomaly,
    checker::finding::{CheckFinding, RunCounts},
    outcome::RunOutcome,
    record_file::{self, RecordFileError},
};

/// The name of the file that a verdict is written to.
pub const FILE: &str = "verdict.json";

/// What is written to `verdict.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunVerdict {
    /// How it ended.
    pub outcome: RunOutcome,
    /// Whether the machine was so starved that the run says nothing about time.
    pub voided: bool,
    /// Which workload.
    pub workload: String,
    /// From which seed.
    pub seed: u64,
    /// How to run it again.
    pub command: String,
    /// What was found, the worst first.
    pub findings: Vec<CheckFinding>,
    /// Anomalies, made as small as could be.
    #[serde(default)]
    pub anomalies: Vec<SmallAnomaly>,
    /// How much was looked at.
    pub numbers: RunCounts,
}

impl RunVerdict {
    /// Reads a verdict that was written into a run's folder.
    pub fn read(run: &Path) -> Result<RunVerdict, RecordFileError> {
        record_file::read(&run.join(FILE))
    }
}
