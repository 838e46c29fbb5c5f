//! The histories see the bugs of the fence that are planted: each in a process of its own,
//! since a process has one bug at most.

use std::process::Command;

use quorate_planted::{Mutant, VARIABLE};

/// And which rule each of them breaks first.
const BUGS: &[(Mutant, &[&str])] = &[
    (Mutant::EpochNotIncreased, &["EpochsGrow"]),
    (
        Mutant::LeaseCheckRemoved,
        &["NoLongerThanTheLease", "OneAtATime", "OneHolder"],
    ),
    (Mutant::LeaseTooLong, &["NoLongerThanTheLease"]),
    (Mutant::ReleasedEpochActs, &["ReleasedForGood"]),
    (Mutant::TakeoverWithoutWait, &["OneAtATime"]),
    (
        Mutant::WallClockLease,
        &["NoLongerThanTheLease", "OneAtATime"],
    ),
];

#[test]
fn planted_bugs_are_found() {
    for (bug, rules) in BUGS {
        let program = std::env::current_exe().expect("this test");
        let lived = Command::new(program)
            .args(["--exact", "histories_hold", "--nocapture"])
            .env(VARIABLE, bug.name())
            .env("HISTORIES_SECONDS", "60")
            .output()
            .expect("this test can be run again");
        let told = String::from_utf8_lossy(&lived.stderr);
        let found = told.lines().find(|line| line.starts_with("after Reached"));
        println!("{bug}: {}", found.unwrap_or("not found"));
        let right = found.is_some_and(|line| rules.iter().any(|rule| line.contains(rule)));
        assert!(!lived.status.success() && right, "{bug}: {told}");
    }
}
