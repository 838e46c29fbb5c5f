//! Time limits of the checkers: how soon writes must work, and what a run has to bear.

use super::run::Run;
use crate::{history::Fault, nemesis::lasting, workload::large};

/// So many times the promise is allowed.
pub const TIMES: u64 = 3;

/// Whether it is a state of things, beside which other faults are judged as without it.
#[must_use]
pub fn lasts(fault: &Fault) -> bool {
    lasting::lasts(&fault.nemesis)
}

/// How long may pass from here until a write works. Values of 1 MiB that fill the links of
/// what lasts are done together, once all have gone through, and a new leader first hands on
/// what the one before has left: for as long as the clients that put them wait.
#[must_use]
pub fn apart(run: &Run, at: u64) -> u64 {
    let promises = TIMES * run.promise();
    let borne = run
        .faults
        .iter()
        .any(|it| lasts(it) && it.begun <= at && it.healed.is_none_or(|healed| healed > at));
    match run.plan.workload.as_str() {
        "large" if borne => promises.max(large::PATIENCE.as_nanos() as u64),
        _ => promises,
    }
}
