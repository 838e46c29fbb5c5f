//! Time limits of the checkers: how soon writes must work, and what a run has to bear.

use super::recorded_run::RecordedRun;
use crate::{history::FaultRecord, nemesis::lasting, workload::large_values};

/// The number of promises within which writes must work.
pub const TIMES: u64 = 3;

/// Returns whether the fault is a state of things, beside which other faults are judged as without
/// it.
pub fn lasts(fault: &FaultRecord) -> bool {
    lasting::lasts(&fault.nemesis)
}

/// Returns the time from here on within which a write must work. Values of 1 MiB that fill the
/// links of what lasts are done together, once all have gone through, and a new leader first hands
/// on what the one before has left: for as long as the clients that put them wait.
pub fn apart(run: &RecordedRun, at: u64) -> u64 {
    let promises = TIMES * run.promise();
    let borne = run
        .faults
        .iter()
        .any(|it| lasts(it) && it.begun <= at && it.healed.is_none_or(|healed| healed > at));
    match run.plan.workload.as_str() {
        "large" if borne => promises.max(large_values::PATIENCE.as_nanos() as u64),
        _ => promises,
    }
}
