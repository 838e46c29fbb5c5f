//! Witness: the checker that replays operations in the order of their revisions.
//!
//! Every answer carries a revision, and revisions are places in one log, so the order is known.
//! Nothing is searched for.
//!
//! What it holds against the answers:
//! - no two writes have one revision, and what was asked for after an answer has a greater one;
//! - a read has the value of the latest write at or below its revision, and its revision is not
//!   below that of a write, or a read, of the key that was answered before it was asked;
//! - a compare-and-set found the value of the write before it;
//! - what is unknown took effect at one revision, after all that was answered before its asking.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    check_report::CheckReport,
    finding::FindingGrade,
    linearizability::{self, by_key},
    operation::ClientOperation,
};

mod observations;

use observations::ValueHistory;

/// Checks all keys.
pub fn check(operations: &[ClientOperation]) -> CheckReport {
    let mut report = CheckReport::new("witness");
    revisions(operations, &mut report);
    for (key, operations) in by_key(operations) {
        one_key(&key, &operations, &mut report);
    }
    report
}

/// Finds revisions that break the one order that holds over all keys.
fn revisions(operations: &[ClientOperation], report: &mut CheckReport) {
    let placed = |it: &&ClientOperation| it.is_ok() && it.revision.is_some();
    let done: Vec<&ClientOperation> = operations.iter().filter(placed).collect();
    let mut written: BTreeMap<Option<u64>, &ClientOperation> = BTreeMap::new();
    for write in done.iter().filter(|it| it.writes()) {
        if let Some(other) = written.insert(write.revision, write) {
            let what = format!(
                "two writes have revision {}: {} and {}",
                write.revision.unwrap_or(0),
                other.describe(),
                write.describe()
            );
            let found = report.find(FindingGrade::Wrong, "one revision twice", what);
            found.shown_by(&[other, write]);
        }
    }
    after(&done, report, "revision goes back", |before, it| {
        it.writes() && before.revision >= it.revision
    });
}

/// Compares each operation with the one of the greatest revision among all that were answered
/// before it was asked for.
fn after(
    operations: &[&ClientOperation],
    report: &mut CheckReport,
    kind: &str,
    wrong: impl Fn(&ClientOperation, &ClientOperation) -> bool,
) {
    let mut asked: Vec<&ClientOperation> = operations.to_vec();
    asked.sort_by_key(|it| (it.start, it.line));
    let mut answered: Vec<&ClientOperation> = operations.to_vec();
    answered.sort_by_key(|it| (it.end, it.line));
    let mut answered = answered.into_iter().peekable();
    let mut latest: Option<&ClientOperation> = None;
    for it in asked {
        while let Some(one) = answered.next_if(|one| one.end < it.start) {
            if latest.is_none_or(|latest| latest.revision < one.revision) {
                latest = Some(one);
            }
        }
        let Some(before) = latest.filter(|before| wrong(before, it)) else {
            continue;
        };
        let what = format!(
            "{} has revision {}, and was asked for after {} had been answered with {}",
            it.describe(),
            it.revision.unwrap_or(0),
            before.describe(),
            before.revision.unwrap_or(0),
        );
        report
            .find(FindingGrade::Wrong, kind, what)
            .shown_by(&[before, it]);
    }
}

fn one_key(key: &str, operations: &[ClientOperation], report: &mut CheckReport) {
    let unplaced = operations
        .iter()
        .find(|it| it.is_ok() && it.writes() && it.revision.is_none());
    if let Some(write) = unplaced {
        let what = format!(
            "key {key}: {} was answered without a revision",
            write.describe()
        );
        report
            .find(FindingGrade::Unsure, "no revision", what)
            .shown_by(&[write]);
        return;
    }
    let done = |it: &&ClientOperation| it.is_ok() && it.revision.is_some();
    let done: Vec<&ClientOperation> = operations.iter().filter(done).collect();
    after(&done, report, "stale read", |before, it| {
        it.f == "read" && before.revision > it.revision
    });
    let mut values = ValueHistory::new(operations);
    for it in &done {
        report.count("witness.operations", 1);
        match it.f.as_str() {
            "read" => values.seen(it, it.revision.unwrap_or(0), &it.answered, report),
            // It found what was there just before it.
            "cas" => {
                let before = it.revision.unwrap_or(0).saturating_sub(1);
                values.seen(it, before, it.expects(), report);
            }
            _ => {}
        }
    }
    values.finish(&done, report);
}

/// Compares the two checkers, which ought to agree about each key. Where only the witness objects,
/// an order exists and it isn't that of the revisions.
pub fn compare(black_box: &CheckReport, witness: &CheckReport) -> CheckReport {
    let mut report = CheckReport::new("agreement");
    let count = |one: &CheckReport| {
        let wrong = one
            .findings
            .iter()
            .filter(|it| it.grade == FindingGrade::Wrong);
        wrong.count()
    };
    let text = match (count(black_box), count(witness)) {
        (0, 0) => return report,
        (0, _) => {
            "the witness objects to what the black box could put into an order: revisions are told wrong, or not in real time"
        }
        (_, 0) => {
            "the black box finds no order, and the witness nothing wrong: the witness misses something"
        }
        _ => return report,
    };
    report.find(FindingGrade::Note, "the checkers disagree", text.to_owned());
    report.count("checkers_disagree", 1);
    report
}

/// Returns the keys in which a set of operations has no order, for the shrinker.
pub fn keys_of(operations: &[ClientOperation], lines: &[usize]) -> BTreeSet<String> {
    let lines: BTreeSet<usize> = lines.iter().copied().collect();
    let named = |it: &&ClientOperation| it.lines().any(|line| lines.contains(&line));
    let keys = operations.iter().filter(named).map(|it| it.key.clone());
    keys.collect()
}

/// Returns whether a finding is about an order of operations on a key.
pub fn is_of_a_key(checker: &str, kind: &str) -> bool {
    (checker == "linear" && kind == linearizability::KIND) || checker == "witness"
}
