//! Checker of faults that last and have to be borne: members far apart, and thin links.
//!
//! While such a fault lasts no three promises pass without a write that works. And on thin links,
//! which let through more than enough for all that has to come in time, no leader is lost; nor is
//! one for a disk that is slow at one member, which holds up nothing but what must last on it.

use super::{
    check_report::CheckReport,
    finding::FindingGrade,
    operation::ClientOperation,
    recorded_run::{MS, RecordedRun},
    time_limits::{apart, lasts},
};
use crate::history::{FaultRecord, ReignObservation};

/// Nemeses under which no lease may lapse and nobody may be elected.
const CALM: &[&str] = &["thin", "slow-disk"];

/// Looks at each, as far as no other fault is at work or just healed.
pub fn check(run: &RecordedRun) -> CheckReport {
    let mut report = CheckReport::new("steady");
    for fault in &run.faults {
        let Some(from) = fault.effective else {
            continue;
        };
        let until = fault.healing.or(fault.healed).unwrap_or_else(|| run.end());
        if lasts(fault) {
            writes(run, fault, from, until, &mut report);
        }
        if CALM.contains(&fault.nemesis.as_str()) {
            leaders(run, fault, from, until, &mut report);
        }
    }
    report
}

/// Returns whether a fault of another kind explains what was seen in this time.
fn explained(run: &RecordedRun, fault: &FaultRecord, from: u64, until: u64) -> bool {
    let others = run.faults.iter().filter(|it| !lasts(it));
    let mut others = others.filter(|it| it.nemesis != fault.nemesis);
    others.any(|it| {
        let ends = it
            .healed
            .map_or(u64::MAX, |healed| healed + apart(run, healed));
        it.begun <= until && ends >= from
    })
}

fn writes(run: &RecordedRun, fault: &FaultRecord, from: u64, until: u64, report: &mut CheckReport) {
    let allowed = apart(run, from);
    let writes = || run.operations.iter().filter(|it| it.is_cluster_write());
    // Where nobody asks, nothing can work.
    let Some(asked) = writes().map(|it| it.start).max() else {
        return;
    };
    let until = until.min(asked);
    let mut done: Vec<&ClientOperation> = writes().filter(|it| it.is_ok()).collect();
    done.sort_by_key(|it| it.told);
    let inside = done.iter().map(|it| it.told);
    let inside = inside.filter(|told| (from..until).contains(told));
    let mut last = from;
    for next in inside.chain([until.max(from)]) {
        let gap = next - last;
        if !explained(run, fault, last, next) {
            report.worst(format!("{}.writes_apart_ms.worst", fault.nemesis), gap / MS);
            if gap > allowed {
                let what = format!(
                    "{} ({}): no write worked for {} ms; up to {} ms is allowed",
                    fault.nemesis,
                    fault.target,
                    gap / MS,
                    allowed / MS
                );
                let found = report.find(FindingGrade::Late, "no write meanwhile", what);
                found.between(Some(last), Some(next));
            }
        }
        last = next;
    }
}

fn leaders(
    run: &RecordedRun,
    fault: &FaultRecord,
    from: u64,
    until: u64,
    report: &mut CheckReport,
) {
    let observations = run.observations.iter();
    let mut observations: Vec<&ReignObservation> = observations
        .filter(|it| {
            it.asked >= from && it.time <= until && !explained(run, fault, it.asked, it.time)
        })
        .collect();
    observations.sort_by_key(|it| it.time);
    report.count(
        format!("{}.sights", fault.nemesis),
        observations.len() as u64,
    );
    let mut lost = observations.iter().filter(|it| it.leader.is_none());
    if let Some(first) = lost.next() {
        let what = format!(
            "{} ({}): member {} had no leader that leads, {} times in all",
            fault.nemesis,
            fault.target,
            first.member,
            lost.count() + 1
        );
        let found = report.find(FindingGrade::Late, "leader lost meanwhile", what);
        found
            .between(Some(first.asked), Some(first.time))
            .at(&[first.member]);
    }
    // The last observation of the highest term so far. Seen before another fault it says nothing of
    // the time after it.
    let mut known: Option<&ReignObservation> = None;
    for later in observations.iter().filter(|it| it.term.is_some()) {
        let before = match known {
            // One that lags behind says nothing new.
            Some(before) if before.term > later.term => continue,
            _ => known.replace(later),
        };
        let Some(before) = before.filter(|it| it.term < later.term) else {
            continue;
        };
        if explained(run, fault, before.time, later.asked) {
            continue;
        }
        let what = format!(
            "{} ({}): somebody was elected, in term {} after {}",
            fault.nemesis,
            fault.target,
            later.term.unwrap_or_default(),
            before.term.unwrap_or_default()
        );
        let found = report.find(FindingGrade::Late, "election meanwhile", what);
        found
            .between(Some(later.asked), Some(later.time))
            .at(&[later.member]);
        return;
    }
}
