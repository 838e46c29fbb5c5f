//! Both checkers over simulated runs.
//!
//! A right register always passes, and a planted bug is caught in nearly every seed.

use std::time::Duration;

use crate::simulator::{SimulatedBug, SimulatorSettings, history};
use quorate_clock::Instant;
use quorate_jepsen::{
    checker::{self, CheckSettings, FindingGrade, RecordedRun, linearizability, revision_order},
    judge,
    outcome::RunOutcome,
};
use serde_json::json;

fn run(seed: u64, operations: usize, bug: SimulatedBug) -> RecordedRun {
    let world = SimulatorSettings {
        seed,
        operations,
        clients: 9,
        operations_a_key: 200,
        bug,
    };
    let plan = json!({"workload": "register", "seed": seed, "members": 3, "failover_ms": 500});
    RecordedRun::from_events(plan, history(&world))
}

/// Returns whether the black box objects, and whether the witness does.
fn objections(run: &RecordedRun) -> (bool, bool) {
    let settings = CheckSettings::default();
    let operations = checker::register(run, &settings);
    let bad = |checked: checker::CheckReport| {
        checked
            .findings
            .iter()
            .any(|it| it.grade == FindingGrade::Wrong)
    };
    (
        bad(linearizability::check(&operations, settings.budget)),
        bad(revision_order::check(&operations)),
    )
}

#[test]
fn a_right_register_always_passes() {
    for seed in 0..200 {
        let run = run(seed, 600, SimulatedBug::None);
        let verdict = judge::judge_run(&run, &CheckSettings::default());
        assert_eq!(
            verdict.outcome,
            RunOutcome::Pass,
            "seed {seed}: {:?}",
            verdict.findings
        );
    }
}

/// Counts in how many of a hundred seeds each checker catches a bug.
fn caught(bug: SimulatedBug) -> (usize, usize) {
    let each = (0..100).map(|seed| objections(&run(seed, 800, bug)));
    let all: Vec<(bool, bool)> = each.collect();
    let count = |which: fn(&(bool, bool)) -> bool| all.iter().filter(|it| which(it)).count();
    (count(|it| it.0), count(|it| it.1))
}

#[test]
fn planted_bugs_are_caught_in_nearly_every_seed() {
    for bug in [
        SimulatedBug::StaleReads(0.02),
        SimulatedBug::LostWrites(0.06),
        SimulatedBug::BlindSwaps(0.3),
        SimulatedBug::DirtyFailures(0.5),
        SimulatedBug::TimeoutsAsFailures,
    ] {
        let (black_box, witness) = caught(bug);
        assert!(
            black_box >= 90 && witness >= 90,
            "{bug:?}: {black_box} and {witness} of 100"
        );
    }
}

#[test]
fn checker_that_ignores_infos_condemns_right_register() {
    let settings = CheckSettings {
        ignore_infos: true,
        ..CheckSettings::default()
    };
    let condemned = (0..20).filter(|seed| {
        let run = run(*seed, 800, SimulatedBug::None);
        judge::judge_run(&run, &settings).outcome == RunOutcome::Fail
    });
    assert!(condemned.count() >= 19);
}

#[test]
fn twenty_thousand_operations_are_judged_in_seconds() {
    let run = run(1, 20_000, SimulatedBug::None);
    let begun = Instant::now();
    let verdict = judge::judge_run(&run, &CheckSettings::default());
    let took = begun.elapsed();
    assert_eq!(verdict.outcome, RunOutcome::Pass, "{:?}", verdict.findings);
    assert_eq!(verdict.numbers["operations"], 20_000);
    assert!(took < Duration::from_secs(20), "it took {took:?}");
    println!("20,000 operations were judged in {took:?}");
}
