//! The histories see the bugs of the fence that are planted: each in a process of its own,
//! since a process has one bug at most.
//!
//! `HISTORIES_BUGS` names those that are looked for, separated by commas; `HISTORIES_SEEDS`
//! says from how many seeds on each is looked for, 60 s for each at most. All but one of
//! twenty have to find it.

use std::process::Command;

use quorate_clock::Instant;
use quorate_planted::{Mutant, VARIABLE};

/// And which rule each of them breaks first.
const BUGS: &[(Mutant, &[&str])] = &[
    (Mutant::AnsweredByHabit, &["VotesTellAll", "OneAtATime"]),
    (Mutant::EpochNotIncreased, &["EpochsGrow"]),
    (
        Mutant::LeaseCheckRemoved,
        &[
            "NoLongerThanTheLease",
            "OneAtATime",
            "OneHolder",
            // The page lets act whatever was revoked, too.
            "ReleasedForGood",
        ],
    ),
    (Mutant::LeaseLengthIgnored, &["VotesTellAll", "OneAtATime"]),
    (Mutant::LeaseTooLong, &["NoLongerThanTheLease"]),
    (Mutant::ReleasedEpochActs, &["ReleasedForGood"]),
    (Mutant::TakeoverWithoutWait, &["OneAtATime"]),
    (
        Mutant::WallClockLease,
        &["NoLongerThanTheLease", "OneAtATime"],
    ),
];

/// So far apart that no two looks come to the same histories.
const APART: u64 = 1_000_000_000;

/// Looks for a bug, from this seed on; gives whether it was found by one of its rules, and
/// what was told.
fn is_found(bug: Mutant, rules: &[&str], seed: u64) -> (bool, String) {
    let program = std::env::current_exe().expect("this test");
    let lived = Command::new(program)
        .args(["--exact", "histories_hold", "--nocapture"])
        .env(VARIABLE, bug.name())
        .env("HISTORIES_SECONDS", "60")
        .env("HISTORIES_SEED", seed.to_string())
        .output()
        .expect("this test can be run again");
    let told = String::from_utf8_lossy(&lived.stderr).into_owned();
    let mut lines = told.lines();
    let found = lines.find(|line| line.starts_with("after Reached"));
    let right = found.is_some_and(|line| rules.iter().any(|rule| line.contains(rule)));
    let line = found.unwrap_or("not found").to_owned();
    (!lived.status.success() && right, line)
}

#[test]
fn planted_bugs_are_found() {
    let named = std::env::var("HISTORIES_BUGS").unwrap_or_default();
    let named: Vec<Mutant> = named
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.parse().unwrap_or_else(|error| panic!("{error}")))
        .collect();
    let seeds = super::number("HISTORIES_SEEDS").unwrap_or(1);
    let mut missed = Vec::new();
    for (bug, rules) in BUGS {
        if !named.is_empty() && !named.contains(bug) {
            continue;
        }
        let (mut found, mut slowest) = (0, 0.0_f64);
        for seed in 1..=seeds {
            let began = Instant::now();
            let (is_found, line) = is_found(*bug, rules, seed * APART);
            println!("{bug}: {line}");
            found += u64::from(is_found);
            slowest = slowest.max(began.elapsed().as_secs_f64());
        }
        println!("{bug}: found from {found} of {seeds} seeds on, in {slowest:.1} s at most");
        if found * 20 < seeds * 19 {
            missed.push(bug.name());
        }
    }
    assert!(missed.is_empty(), "not found often enough: {missed:?}");
}
