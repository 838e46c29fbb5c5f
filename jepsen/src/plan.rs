//! Plan of a run, `plan.json`: all that is decided before it begins.

use std::path::PathBuf;

use rand::{SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// A fault to come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// The name of the nemesis.
    pub nemesis: String,
    /// The beginning, since the clients began.
    pub at_ms: u64,
    /// The time until the fault is healed.
    pub lasts_ms: u64,
    /// The seed by which the nemesis decides whom it meets, and how.
    #[serde(rename = "dice")]
    pub rng_seed: u64,
}

/// Plan of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunPlan {
    /// The seed that decided the plan.
    pub seed: u64,
    /// The name of the workload.
    pub workload: String,
    /// The nemeses at work at the same time.
    pub nemeses: Vec<String>,
    /// The number of members.
    pub members: usize,
    /// The failover promise.
    pub failover_ms: u64,
    /// The time for which clients and nemeses are at work.
    pub seconds: u64,
    /// Operations a second, all clients together.
    pub rate: u64,
    /// The number of clients.
    pub clients: usize,
    /// The least and the most that a client waits for an answer.
    pub timeout_ms: [u64; 2],
    /// The kind of network: `netns` or `loopback`.
    pub network: String,
    /// A snapshot is taken after so many log entries.
    pub snapshot_entries: u64,
    /// The planted bug.
    pub mutant: Option<String>,
    /// The program under test.
    pub quorate: PathBuf,
    /// The command that runs the same again.
    pub command: String,
    /// Nemeses that can't be had here, with the reason.
    #[serde(default)]
    pub skipped: Vec<SkippedNemesis>,
    /// The faults.
    pub steps: Vec<PlannedFault>,
}

/// A nemesis that can't be had here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SkippedNemesis {
    /// The name of the nemesis.
    pub nemesis: String,
    /// The reason.
    pub reason: String,
}

impl RunPlan {
    /// Returns a generator of its own for the task of this number.
    pub fn rng(&self, who: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ (who + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}
