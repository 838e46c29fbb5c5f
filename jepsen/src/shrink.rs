//! Shrinker of anomalies: of hundreds of operations, the few that can't be explained together.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use quorate_clock::Instant;
use serde_json::Value;

use crate::{
    anomaly::{AnomalyOperation, SmallAnomaly},
    checker::{
        finding::{CheckFinding, FindingGrade},
        linearizability::{self, OrderSearch},
        operation::ClientOperation,
        recorded_run::RecordedRun,
        revision_order,
        suite::{self, CheckSettings},
    },
    record_file::RecordFileError,
};

/// The time for one anomaly.
const BUDGET: Duration = Duration::from_secs(5);
/// The time for one question of an anomaly.
const QUESTION: Duration = Duration::from_millis(500);
/// Number of anomalies that are made small; the others are of the same kinds.
const MOST: usize = 5;

/// Makes the anomalies of a run's folder small.
pub fn shrink_folder(folder: &Path) -> Result<Vec<SmallAnomaly>, RecordFileError> {
    let run = RecordedRun::load(folder)?;
    let settings = CheckSettings::default();
    let all = suite::all(&run, &settings);
    let findings: Vec<CheckFinding> = all.into_iter().flat_map(|it| it.findings).collect();
    Ok(anomalies(&run, &findings, &settings))
}

/// Makes the anomalies among the findings small, one of each kind and key.
pub fn anomalies(
    run: &RecordedRun,
    findings: &[CheckFinding],
    settings: &CheckSettings,
) -> Vec<SmallAnomaly> {
    let wrong = findings.iter().filter(|it| it.grade == FindingGrade::Wrong);
    let wrong: Vec<&CheckFinding> = wrong.filter(|it| !it.operations.is_empty()).collect();
    let mut small: Vec<SmallAnomaly> = Vec::new();
    let mut kinds: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let register = suite::register(run, settings);
    let keys = linearizability::by_key(&register);
    let deadline = Instant::now() + BUDGET * 2;
    for finding in wrong {
        let seen = kinds.entry((&finding.checker, &finding.kind)).or_default();
        *seen += 1;
        if small.len() >= MOST || *seen > 2 {
            continue;
        }
        let mut shown = shown(run, finding);
        if finding.checker == "linear" && Instant::now() < deadline {
            let key = revision_order::keys_of(&register, &finding.operations);
            let key = key.first().and_then(|key| keys.get(key));
            shown = key.map_or(shown, |operations| smallest(operations));
        }
        small.push(SmallAnomaly {
            checker: finding.checker.clone(),
            what: finding.what.clone(),
            operations: shown.iter().map(AnomalyOperation::from_operation).collect(),
        });
    }
    // The smallest tell most.
    small.sort_by_key(|it| (it.checker != "linear", it.operations.len()));
    small
}

/// The operations that a finding names.
fn shown(run: &RecordedRun, finding: &CheckFinding) -> Vec<ClientOperation> {
    let lines: BTreeSet<usize> = finding.operations.iter().copied().collect();
    let named = |it: &&ClientOperation| it.lines().any(|line| lines.contains(&line));
    run.operations.iter().filter(named).cloned().collect()
}

/// The fewest operations of a key that have no order, as far as time allows.
pub fn smallest(operations: &[ClientOperation]) -> Vec<ClientOperation> {
    let deadline = Instant::now() + BUDGET;
    let mut wrong = |some: &[ClientOperation]| {
        let whole = explained(some, operations);
        linearizability::order(&whole, QUESTION) == OrderSearch::None
    };
    let shortest = beginning(operations, &mut wrong);
    let fewest = fewest(&shortest, &mut wrong, deadline);
    explained(&fewest, operations)
}

/// Leaves out operations that saw a value whose writer was left out: without the writer every
/// history would look wrong, and for another reason.
fn explained(some: &[ClientOperation], all: &[ClientOperation]) -> Vec<ClientOperation> {
    let writers = |of: &[ClientOperation]| -> BTreeSet<String> {
        let writes = of.iter().filter(|it| it.writes());
        writes.map(|it| it.leaves().to_string()).collect()
    };
    let known = writers(all);
    let mut kept = some.to_vec();
    loop {
        let there = writers(&kept);
        let before = kept.len();
        kept.retain(|it| {
            let value = it.saw().unwrap_or(&Value::Null).to_string();
            value == "null" || there.contains(&value) || !known.contains(&value)
        });
        if kept.len() == before {
            return kept;
        }
    }
}

/// Returns the shortest beginning that is wrong: operations that were asked for later can't explain
/// it.
fn beginning(
    all: &[ClientOperation],
    wrong: &mut impl FnMut(&[ClientOperation]) -> bool,
) -> Vec<ClientOperation> {
    let mut sorted = all.to_vec();
    sorted.sort_by_key(|it| (it.told, it.line));
    let (mut fine, mut bad) = (0, sorted.len());
    while bad - fine > 1 {
        let middle = fine + (bad - fine) / 2;
        let until = sorted[middle - 1].told;
        let some: Vec<ClientOperation> =
            all.iter().filter(|it| it.start <= until).cloned().collect();
        if wrong(&some) {
            bad = middle;
        } else {
            fine = middle;
        }
    }
    let until = sorted
        .get(bad.saturating_sub(1))
        .map_or(u64::MAX, |it| it.told);
    let some: Vec<ClientOperation> = all.iter().filter(|it| it.start <= until).cloned().collect();
    if wrong(&some) { some } else { all.to_vec() }
}

/// Delta debugging: leaves out halves, quarters and so on, down to single ones, as long as
/// what is left is still wrong.
pub fn fewest<T: Clone>(
    all: &[T],
    mut wrong: impl FnMut(&[T]) -> bool,
    deadline: Instant,
) -> Vec<T> {
    let mut kept = all.to_vec();
    let mut parts = 2;
    while kept.len() > 1 {
        let size = kept.len().div_ceil(parts);
        let mut smaller = false;
        let mut at = 0;
        while at < kept.len() {
            if Instant::now() > deadline {
                return kept;
            }
            let end = (at + size).min(kept.len());
            let rest: Vec<T> = [&kept[..at], &kept[end..]].concat();
            if !rest.is_empty() && wrong(&rest) {
                kept = rest;
                smaller = true;
            } else {
                at = end;
            }
        }
        if size == 1 && !smaller {
            break;
        }
        parts = if size == 1 {
            kept.len().max(2)
        } else {
            (parts * 2).min(kept.len().max(2))
        };
    }
    kept
}
