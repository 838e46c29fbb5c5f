//! Outcome of a run: `pass`, `FAIL` or `UNKNOWN`, and the exit code of each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Outcome of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RunOutcome {
    /// Everything was looked for, and nothing was wrong.
    #[serde(rename = "pass")]
    Pass,
    /// The outcome can't be told, which is not a pass.
    #[serde(rename = "UNKNOWN")]
    Unknown,
    /// A guarantee was broken.
    #[serde(rename = "FAIL")]
    Fail,
}

impl RunOutcome {
    /// Returns the exit code for a process that judged.
    pub fn exit_code(self) -> u8 {
        match self {
            RunOutcome::Pass => 0,
            RunOutcome::Fail => 1,
            RunOutcome::Unknown => 3,
        }
    }
}

impl fmt::Display for RunOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RunOutcome::Pass => "pass",
            RunOutcome::Fail => "FAIL",
            RunOutcome::Unknown => "UNKNOWN",
        })
    }
}
