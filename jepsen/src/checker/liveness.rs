//! Checker of liveness: after each healing writes work again within three times the promise.
//!
//! So long a connector may take to be active, too; and while a quorum lives, a fault does not stop
//! writes for longer.

use super::{
    check_report::CheckReport,
    finding::FindingGrade,
    operation::ClientOperation,
    recorded_run::{MS, RecordedRun},
    time_limits,
};
use crate::history::FaultRecord;

/// The time that a connector may wait beside that: a broker keeps the old consumer until its
/// heartbeat has run out. A plan that has another figure names it `release_ms`.
const RELEASE_MS: u64 = 5_100;
/// Nemeses that take a few members out, and leave the others alone. Others make everything slow, or
/// come again and again; and a leader that is heard and hears nothing is not replaced, which stands
/// among what is not claimed.
const CLEAN: &[&str] = &["kill", "pause", "partition", "power", "stranded"];
const NOT_CLEAN: &[&str] = &["oneway"];

/// Looks at each healing, and at each fault that leaves a quorum.
pub fn check(run: &RecordedRun) -> CheckReport {
    let mut report = CheckReport::new("liveness");
    let mut writes: Vec<&ClientOperation> = run
        .operations
        .iter()
        .filter(|it| it.is_cluster_write())
        .collect();
    writes.sort_by_key(|it| it.told);
    // Clients stop while the last faults may still be healed.
    let tried = writes.iter().map(|it| it.start).max().unwrap_or(0);
    let published = run.operations.iter().filter(|it| it.f == "publish");
    let published = published.map(|it| it.start).max().unwrap_or(0);
    for (at, fault) in run.faults.iter().enumerate() {
        let Some(healed) = fault.healed else {
            continue;
        };
        // A fault that began before this one was healed hides what this healing does.
        let others = run
            .faults
            .iter()
            .enumerate()
            .filter(|(other, it)| *other != at && !time_limits::lasts(it));
        let hidden = others
            .clone()
            .any(|(_, it)| it.begun <= healed && it.healed.is_none_or(|other| other > healed));
        let next = others
            .filter(|(_, it)| it.begun > healed)
            .map(|(_, it)| it.begun)
            .min();
        let until = next.unwrap_or_else(|| run.end());
        if hidden {
            continue;
        }
        let until = until.max(healed);
        let allowed = time_limits::apart(run, healed);
        let tried = until.min(tried).max(healed);
        after_healing(fault, &writes, healed, tried, allowed, &mut report);
        let published = until.min(published).max(healed);
        connector_after_healing(run, fault, healed, published, allowed, &mut report);
    }
    for fault in run.faults.iter().filter(|it| run.leaves_a_quorum(it)) {
        let allowed = time_limits::apart(run, fault.begun);
        during(run, fault, &writes, allowed, &mut report);
    }
    in_the_end(run, time_limits::TIMES * run.promise(), &mut report);
    report
}

fn after_healing(
    fault: &FaultRecord,
    writes: &[&ClientOperation],
    healed: u64,
    until: u64,
    allowed: u64,
    report: &mut CheckReport,
) {
    let first = writes.iter().find(|it| it.is_ok() && it.told >= healed);
    let asked = writes
        .iter()
        .any(|it| it.start >= healed && it.start <= until);
    match first.filter(|it| it.told <= until.max(healed + allowed)) {
        Some(first) => {
            let took = first.told - healed;
            report.count("healings", 1);
            report.worst("unavailable_after_healing_ms.worst", took / MS);
            if took > allowed {
                let what = format!(
                    "after {} ({}) was healed, the first write worked after {} ms; up to {} ms is allowed",
                    fault.nemesis,
                    fault.target,
                    took / MS,
                    allowed / MS
                );
                let found = report.find(FindingGrade::Late, "late after healing", what);
                found
                    .shown_by(&[first])
                    .between(Some(healed), Some(first.told));
            }
        }
        None if asked && until - healed >= allowed => {
            let what = format!(
                "after {} ({}) was healed, no write worked for {} ms; up to {} ms is allowed",
                fault.nemesis,
                fault.target,
                (until - healed) / MS,
                allowed / MS
            );
            report.worst("unavailable_after_healing_ms.worst", (until - healed) / MS);
            let found = report.find(FindingGrade::Late, "no write after healing", what);
            found.between(Some(healed), Some(until)).at(&fault.members);
        }
        // Nobody asked, or the next fault came too soon.
        None => report.count("healings_too_short_to_tell", 1),
    }
}

fn connector_after_healing(
    run: &RecordedRun,
    fault: &FaultRecord,
    healed: u64,
    until: u64,
    allowed: u64,
    report: &mut CheckReport,
) {
    if run.calls.is_empty() {
        return;
    }
    let allowed = allowed + run.plan.number("release_ms").unwrap_or(RELEASE_MS) * MS;
    let calls = run
        .calls
        .iter()
        .filter(|call| call.accepted && call.ended >= healed);
    let first = calls.map(|call| call.ended).min();
    let took = first
        .map_or(until, |first| first.min(until))
        .saturating_sub(healed);
    if first.is_some() {
        report.worst("connector_after_healing_ms.worst", took / MS);
    }
    if took <= allowed {
        return;
    }
    let what = format!(
        "after {} ({}) was healed, no connector was at work for {} ms; up to {} ms is allowed",
        fault.nemesis,
        fault.target,
        took / MS,
        allowed / MS
    );
    let found = report.find(FindingGrade::Late, "no connector after healing", what);
    found
        .between(Some(healed), Some(healed + took))
        .at(&fault.members);
}

/// While a quorum lives and can reach each other.
fn during(
    run: &RecordedRun,
    fault: &FaultRecord,
    writes: &[&ClientOperation],
    allowed: u64,
    report: &mut CheckReport,
) {
    let named = format!("{} {}", fault.nemesis, fault.target.to_lowercase());
    let clean = |parts: &[&str]| parts.iter().any(|part| named.contains(part));
    if !clean(CLEAN) || clean(NOT_CLEAN) || fault.effective.is_none() {
        return;
    }
    let strikes = run.faults.iter().filter(|it| !time_limits::lasts(it));
    let alone = strikes.filter(|it| {
        it.begun < fault.healed.unwrap_or(u64::MAX) && it.healed.unwrap_or(u64::MAX) > fault.begun
    });
    if alone.count() > 1 {
        return;
    }
    let ends = fault.healing.or(fault.healed).unwrap_or_else(|| run.end());
    let elsewhere = |it: &&&ClientOperation| !fault.members.contains(&it.member);
    let mut theirs = writes
        .iter()
        .filter(elsewhere)
        .filter(|it| it.start >= fault.begun);
    // Where nobody asks, nothing can work.
    if !theirs.clone().any(|it| it.start <= ends) {
        return;
    }
    let first = theirs.find(|it| it.is_ok());
    let took = first.map_or(ends, |it| it.told).saturating_sub(fault.begun);
    if first.is_some_and(|it| it.told <= ends) {
        report.count("faults_with_writes_in_them", 1);
        report.worst("to_next_write_in_fault_ms.worst", took / MS);
    }
    if took <= allowed || ends.saturating_sub(fault.begun) <= allowed {
        return;
    }
    let what = format!(
        "{} ({}) left a quorum alive, and no write worked at the others for {} ms; up to {} ms is allowed",
        fault.nemesis,
        fault.target,
        took / MS,
        allowed / MS
    );
    let found = report.find(FindingGrade::Late, "late in a fault", what);
    found
        .between(Some(fault.begun), Some(fault.begun + took))
        .at(&fault.members);
}

/// Looks at the tries that the harness made after the last healing.
fn in_the_end(run: &RecordedRun, allowed: u64, report: &mut CheckReport) {
    let Some(ending) = &run.ending else {
        return;
    };
    let Some(healed) = ending.healed else {
        return;
    };
    if ending.writable.is_none() {
        let what = "no write worked in the end, after all was healed".to_owned();
        report
            .find(FindingGrade::Late, "no write after healing", what)
            .between(Some(healed), None);
    }
    let release = run.plan.number("release_ms").unwrap_or(RELEASE_MS) * MS;
    let waits = [
        ("write", ending.writable, allowed, "final.writable_ms"),
        (
            "connector",
            ending.active,
            allowed + release,
            "final.active_ms",
        ),
    ];
    for (what, when, allowed, name) in waits {
        let Some(took) = when.map(|when| when.saturating_sub(healed)) else {
            continue;
        };
        report.worst(name, took / MS);
        if took > allowed {
            let text = format!(
                "in the end, the first {what} worked {} ms after all was healed; up to {} ms is allowed",
                took / MS,
                allowed / MS
            );
            let found = report.find(FindingGrade::Late, "late after healing", text);
            found.between(Some(healed), when);
        }
    }
    if ending.connectors > 0 && ending.active.is_none() {
        let what = format!(
            "of {} connectors, not all were active again in the end, after all was healed",
            ending.connectors
        );
        report
            .find(FindingGrade::Late, "no connector after healing", what)
            .between(Some(healed), None);
    }
}
