//! Fixed list of short runs for every change, the same each time.

use std::time::Duration;

use quorate_clock::Instant;

use crate::{
    cancel::CancelToken,
    job::{self, BatchSettings, RunJob},
    nemesis::compatibility,
    outcome::RunOutcome,
    soak,
};

/// A run of the list.
struct ListedRun {
    /// The subject of the run; of a seed that was red once, the defect that it showed.
    name: &'static str,
    workload: &'static str,
    nemesis: &'static str,
    seed: u64,
    seconds: u64,
}

/// The list. Runs that would go over the limit of time are left out from the end, and named. A seed
/// that showed a defect of the product is added for good, under a name that says which.
const RUNS: &[ListedRun] = &[
    listed("keys-through-kills", "register", "kill", 101, 20),
    listed("keys-through-partitions", "register", "partition", 102, 20),
    listed("nothing-lost-without-power", "set", "power", 103, 20),
    listed("one-holder-through-pauses", "mutex", "pause-group", 104, 25),
    listed(
        "one-holder-when-taken-for-dead",
        "mutex",
        "forge-death",
        113,
        20,
    ),
    listed("no-leader-with-one-link", "register", "stranded", 114, 12),
    listed("steady-from-afar", "register", "far", 5, 15),
    listed("messages-through-kills", "queue", "kill-leader", 105, 20),
    listed("reigns-through-restarts", "election", "storm", 106, 15),
    listed("one-catalog", "config", "kill+partition", 107, 20),
    listed("services-without-quorum", "http", "kill-majority", 108, 15),
    listed(
        "wall-clocks-jump",
        "register",
        "clock+partition-leader",
        109,
        20,
    ),
    // Red at first: the end of a member whose disk had failed was told with another cause.
    listed("cause-of-a-failed-disk", "set", "fsync", 110, 15),
    listed("keys-through-resets", "register", "reset", 111, 15),
    listed("damaged-logs-are-seen", "set", "damage", 112, 15),
];

const fn listed(
    name: &'static str,
    workload: &'static str,
    nemesis: &'static str,
    seed: u64,
    seconds: u64,
) -> ListedRun {
    ListedRun {
        name,
        workload,
        nemesis,
        seed,
        seconds,
    }
}

/// The time of a run beside its clients' work.
const BESIDE: Duration = Duration::from_secs(25);

/// Distance to the seed of a second try. A run that says nothing, on a machine that was held up for
/// one, is done once more; a run that fails is not.
const ONCE_MORE: u64 = 1_000;

/// Runs as many as fit. A run that fails fails the list; a run that says nothing, twice, is no
/// pass, and more than a quarter of such say nothing together.
pub async fn ci(common: &BatchSettings, limit: Duration, cancel: &CancelToken) -> RunOutcome {
    let begun = Instant::now();
    let mut done = Vec::new();
    for listed in RUNS {
        let name = listed.name;
        if begun.elapsed() + Duration::from_secs(listed.seconds) + BESIDE > limit {
            println!("left out, as the time is over: {name}");
            continue;
        }
        if cancel.is_cancelled() {
            return RunOutcome::Unknown;
        }
        let nemeses: Vec<&str> = listed.nemesis.split('+').collect();
        let job = |seed| RunJob {
            workload: listed.workload.to_owned(),
            nemesis: listed.nemesis.to_owned(),
            seed,
            seconds: listed.seconds,
            members: Some(compatibility::members(&nemeses, 3)),
            mutant: None,
        };
        let mut ran = job::run(common, job(listed.seed), cancel).await;
        println!("{name}: {}", ran.line());
        if ran.outcome == RunOutcome::Unknown && !cancel.is_cancelled() {
            ran = job::run(common, job(listed.seed + ONCE_MORE), cancel).await;
            println!("{name}: {}", ran.line());
        }
        done.push(ran);
    }
    let count = |outcome| done.iter().filter(|it| it.outcome == outcome).count();
    println!("{} of {} runs passed", count(RunOutcome::Pass), RUNS.len());
    let silent = RUNS.len() - count(RunOutcome::Pass) - count(RunOutcome::Fail);
    match soak::worst(&done) {
        RunOutcome::Unknown if silent * 4 <= RUNS.len() => RunOutcome::Pass,
        worst => worst,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_exists_and_fits_into_twelve_minutes() {
        let mut all = Duration::ZERO;
        for (n, listed) in RUNS.iter().enumerate() {
            assert!(crate::workload::named(listed.workload).is_ok());
            for name in listed.nemesis.split('+') {
                assert!(crate::nemesis::named(name).is_ok());
                assert!(soak::fits(listed.workload, name));
            }
            assert!(RUNS[..n].iter().all(|other| other.name != listed.name));
            all += Duration::from_secs(listed.seconds) + BESIDE;
        }
        assert!(all <= Duration::from_secs(720), "{all:?}");
    }
}
