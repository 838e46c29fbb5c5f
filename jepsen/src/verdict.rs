//! Verdict of a run as `verdict.json` holds it.
//!
//! It has the outcome, what was found, and how much was looked at.

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

/// Verdict of a run, as `verdict.json` holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunVerdict {
    /// The outcome.
    pub outcome: RunOutcome,
    /// The machine was so starved that the run says nothing about time.
    pub voided: bool,
    /// The name of the workload.
    pub workload: String,
    /// The seed of the run.
    pub seed: u64,
    /// The command that runs the same again.
    pub command: String,
    /// The findings, the worst first.
    pub findings: Vec<CheckFinding>,
    /// Anomalies, made as small as could be.
    #[serde(default)]
    pub anomalies: Vec<SmallAnomaly>,
    /// Counts of what was looked at.
    pub numbers: RunCounts,
}

impl RunVerdict {
    /// Reads a verdict that was written into a run's folder.
    pub fn read(run: &Path) -> Result<RunVerdict, RecordFileError> {
        record_file::read(&run.join(FILE))
    }
}
