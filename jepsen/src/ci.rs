//! A fixed list of short runs for every change, the same each time.

use std::time::{Duration, Instant};

use crate::{
    job::{self, Common, Job},
    soak,
    stop::Stop,
    verdict::Outcome,
};

/// Workload, nemesis, seed, seconds. What would go over the limit of time is left out from
/// the end, and told.
const RUNS: &[(&str, &str, u64, u64)] = &[
    ("register", "kill", 101, 20),
    ("register", "partition", 102, 20),
    ("set", "power", 103, 20),
    ("mutex", "pause-group", 104, 25),
    ("queue", "kill-leader", 105, 20),
    ("election", "storm", 106, 15),
    ("config", "kill+partition", 107, 20),
    ("http", "kill-majority", 108, 15),
    ("register", "clock+partition-leader", 109, 20),
    ("set", "fsync", 110, 15),
    ("register", "reset", 111, 15),
    ("set", "damage", 112, 15),
];
/// What a run takes beside its clients' work.
const BESIDE: Duration = Duration::from_secs(25);

/// A run that says nothing, on a machine that was held up for one, is done once more under
/// the seed that is so much further. One that fails is not.
const ONCE_MORE: u64 = 1_000;

/// Runs as many as fit. One that fails fails all; one that says nothing, twice, is told and
/// is no pass, and more than a quarter of such say nothing together.
pub async fn ci(common: &Common, limit: Duration, stop: &Stop) -> Outcome {
    let begun = Instant::now();
    let mut done = Vec::new();
    for (workload, nemesis, seed, seconds) in RUNS {
        if begun.elapsed() + Duration::from_secs(*seconds) + BESIDE > limit {
            println!("left out, as the time is over: {workload} x {nemesis}");
            continue;
        }
        if stop.asked() {
            return Outcome::Unknown;
        }
        let job = |seed| Job {
            workload: (*workload).to_owned(),
            nemesis: (*nemesis).to_owned(),
            seed,
            seconds: *seconds,
            members: Some(3),
            mutant: None,
        };
        let mut ran = job::run(common, job(*seed), stop).await;
        println!("{}", ran.line());
        if ran.outcome == Outcome::Unknown && !stop.asked() {
            ran = job::run(common, job(*seed + ONCE_MORE), stop).await;
            println!("{}", ran.line());
        }
        done.push(ran);
    }
    let count = |outcome| done.iter().filter(|it| it.outcome == outcome).count();
    println!("{} of {} runs passed", count(Outcome::Pass), RUNS.len());
    let silent = RUNS.len() - count(Outcome::Pass) - count(Outcome::Fail);
    match soak::worst(&done) {
        Outcome::Unknown if silent * 4 <= RUNS.len() => Outcome::Pass,
        worst => worst,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_list_exists_and_fits_into_twelve_minutes() {
        let mut all = Duration::ZERO;
        for (workload, nemesis, _, seconds) in RUNS {
            assert!(crate::workload::named(workload).is_ok());
            for name in nemesis.split('+') {
                assert!(crate::nemesis::named(name).is_ok());
                assert!(soak::fits(workload, name));
            }
            all += Duration::from_secs(*seconds) + BESIDE;
        }
        assert!(all <= Duration::from_secs(720), "{all:?}");
    }
}
