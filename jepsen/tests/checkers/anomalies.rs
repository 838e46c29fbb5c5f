//! Anomalies of registers: each kind is told by both checkers, or by the one that can.
//!
//! What is strange and right is let pass.

use crate::run_fixture::{HandmadeOperation, cas, judged, kinds, read, run, write};
use quorate_jepsen::{
    anomaly,
    checker::{self, CheckSettings, FindingGrade, linearizability, revision_order},
    judge,
    outcome::RunOutcome,
};

/// Returns whether the black box and the witness object to a history.
fn objections(told: &[HandmadeOperation]) -> (bool, bool) {
    let run = run("register", told);
    let settings = CheckSettings::default();
    let operations = checker::register(&run, &settings);
    let wrong = |checked: &checker::CheckReport| {
        checked
            .findings
            .iter()
            .any(|it| it.grade == FindingGrade::Wrong)
    };
    let black_box = linearizability::check(&operations, settings.budget);
    let witness = revision_order::check(&operations);
    (wrong(&black_box), wrong(&witness))
}

fn fine(told: &[HandmadeOperation]) {
    assert_eq!(
        objections(told),
        (false, false),
        "{:?}",
        judged(&run("register", told)).findings
    );
}

#[track_caller]
fn both_object(told: &[HandmadeOperation], kind: &str) {
    assert_eq!(
        objections(told),
        (true, true),
        "{:?}",
        judged(&run("register", told)).findings
    );
    let kinds = kinds(&run("register", told));
    assert!(kinds.iter().any(|it| it == kind), "{kind}: {kinds:?}");
    assert_eq!(judged(&run("register", told)).outcome, RunOutcome::Fail);
}

#[test]
fn an_ordinary_history_passes() {
    let told = [
        read(1, (), 0, 1).at(0),
        write(1, 1, 2, 5).at(1),
        read(2, 1, 3, 6).at(1),
        cas(3, 1, 2, 7, 9).at(3),
        read(1, 2, 10, 11).at(3),
    ];
    fine(&told);
    assert_eq!(judged(&run("register", &told)).outcome, RunOutcome::Pass);
}

#[test]
fn concurrent_reads_may_differ_in_one_order_only() {
    let told = [
        write(1, 1, 0, 1).at(1),
        write(1, 2, 5, 20).at(2),
        read(2, 2, 6, 8).at(2),
        read(3, 1, 6, 9).at(1),
    ];
    fine(&told);
    let turned = [
        write(1, 1, 0, 1).at(1),
        write(1, 2, 5, 20).at(2),
        read(2, 2, 6, 8).at(2),
        read(3, 1, 9, 10).at(1),
    ];
    both_object(&turned, "stale read");
}

#[test]
fn stale_read_is_found() {
    let told = [
        write(1, 1, 0, 1).at(1),
        write(1, 2, 2, 3).at(2),
        read(2, 1, 4, 5).at(1),
    ];
    both_object(&told, "stale read");
    // With a revision that hides it.
    let told = [
        write(1, 1, 0, 1).at(1),
        write(1, 2, 2, 3).at(2),
        read(2, 1, 4, 5).at(2),
    ];
    both_object(&told, "stale value");
}

#[test]
fn lost_write_is_found() {
    let told = [write(1, 1, 0, 1).at(5), read(2, (), 4, 5).at(9)];
    both_object(&told, "lost write");
}

#[test]
fn read_of_failed_write_is_found() {
    let told = [
        write(1, 1, 0, 1).at(1),
        write(2, 2, 2, 3).failed(),
        read(3, 2, 4, 5).at(2),
    ];
    both_object(&told, "dirty read");
}

/// A harness that takes a timeout for a failure makes that of it.
#[test]
fn timeout_recorded_as_failure_is_caught_once_done() {
    let told = |write: fn(HandmadeOperation) -> HandmadeOperation| {
        [
            write(crate::run_fixture::write(1, 1, 0, 300)),
            read(2, (), 310, 320).at(3),
            read(2, 1, 400, 410).at(7),
        ]
    };
    fine(&told(HandmadeOperation::unknown));
    both_object(&told(HandmadeOperation::failed), "dirty read");
}

#[test]
fn made_up_value_is_found() {
    both_object(
        &[write(1, 1, 0, 1).at(1), read(2, 7, 2, 3).at(1)],
        "made-up value",
    );
}

#[test]
fn future_read_is_found() {
    let told = [read(2, 1, 0, 1).at(1), write(1, 1, 5, 6).at(1)];
    both_object(&told, "future read");
    let told = [read(2, 1, 0, 1).at(1), write(1, 1, 5, 6).unknown()];
    both_object(&told, "dirty read");
}

#[test]
fn two_compare_and_sets_of_one_value() {
    let told = [
        write(1, 1, 0, 1).at(1),
        cas(2, 1, 2, 2, 5).at(2),
        cas(3, 1, 3, 2, 6).at(3),
        read(1, 3, 7, 8).at(3),
    ];
    both_object(&told, "compare-and-set against the wrong value");
}

#[test]
fn read_going_back_is_found() {
    let told = [
        write(1, 1, 0, 1).at(1),
        write(1, 2, 2, 3).unknown(),
        read(2, 2, 4, 5).at(2),
        read(3, 1, 6, 7).at(1),
    ];
    both_object(&told, "stale read");
}

#[test]
fn unknown_outcome_may_be_done_late_or_never() {
    let late = [
        write(1, 1, 0, 1).at(1),
        write(4, 2, 2, 3).unknown(),
        read(2, 1, 4, 5).at(1),
        write(1, 3, 6, 7).at(4),
        read(2, 3, 8, 9).at(4),
        read(2, 2, 20, 21).at(9),
    ];
    fine(&late);
    let never = [
        write(1, 1, 0, 1).at(1),
        write(4, 2, 2, 3).unknown(),
        read(2, 1, 40, 50).at(1),
    ];
    fine(&never);
    let swapped = [
        write(1, 1, 0, 1).at(1),
        cas(4, 1, 2, 2, 3).unknown(),
        read(2, 1, 4, 5).at(1),
        read(2, 2, 6, 7).at(3),
    ];
    fine(&swapped);
}

#[test]
fn unknown_write_takes_effect_once() {
    let told = [
        write(1, 1, 0, 1).unknown(),
        read(2, 1, 4, 5).at(3),
        write(3, 2, 6, 7).at(5),
        read(2, 1, 8, 9).at(8),
    ];
    both_object(&told, "done at two places");
    let gone = [
        write(1, 1, 0, 1).unknown(),
        read(2, 1, 4, 5).at(3),
        read(2, (), 8, 9).at(8),
        read(2, 1, 10, 11).at(9),
    ];
    both_object(&gone, "value came back");
}

#[test]
fn an_unknown_swap_needs_its_value_too() {
    let told = [
        write(1, 1, 0, 1).at(1),
        write(1, 2, 2, 3).at(2),
        cas(4, 1, 9, 4, 5).unknown(),
        read(2, 9, 6, 7).at(5),
    ];
    // Only the order of values tells it; the witness doesn't place what is unknown.
    assert!(objections(&told).0);
}

#[test]
fn wrong_revisions_are_seen_by_witness_alone() {
    let twice = [write(1, 1, 0, 1).at(1), write(1, 2, 2, 3).at(1)];
    assert_eq!(objections(&twice), (false, true));
    let back = [
        write(1, 1, 0, 1).at(7),
        write(1, 2, 2, 3).with_key("other").at(5),
    ];
    assert_eq!(objections(&back), (false, true));
    let notes = judged(&run("register", &back)).findings;
    assert!(
        notes.iter().any(|it| it.kind == "the checkers disagree"),
        "{notes:?}"
    );
}

#[test]
fn checker_that_ignores_infos_gives_false_verdict() {
    let told = [
        write(1, 1, 0, 1).at(1),
        write(4, 2, 2, 3).unknown(),
        read(2, 2, 20, 21).at(9),
    ];
    fine(&told);
    let settings = CheckSettings {
        ignore_infos: true,
        ..CheckSettings::default()
    };
    let verdict = judge::judge_run(&run("register", &told), &settings);
    assert_eq!(verdict.outcome, RunOutcome::Fail);
}

#[test]
fn anomaly_among_hundreds_of_operations_is_shrunk() {
    let mut told = Vec::new();
    for n in 1..=150_u64 {
        told.push(write(1, n, n * 10, n * 10 + 4).at(n));
        // One in the middle is stale.
        let seen = if n == 75 { 73 } else { n };
        told.push(read(2, seen, n * 10 + 5, n * 10 + 8).at(seen));
    }
    let run = run("register", &told);
    let verdict = judged(&run);
    let anomaly = verdict.anomalies.first().expect("there is one");
    assert_eq!(anomaly.checker, "linear");
    let texts: Vec<&str> = anomaly
        .operations
        .iter()
        .map(|it| it.text.as_str())
        .collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert_eq!(texts[0], "write k 73");
    assert_eq!(texts[2], "read k → 73");
    assert!(anomaly::text(&verdict.anomalies).contains("read k → 73 ok @73"));
}
