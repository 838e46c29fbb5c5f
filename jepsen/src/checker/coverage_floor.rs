//! Coverage floor: the least that must have happened for a run to say anything.
//!
//! A run in which little happened, or in which the faults did not happen, is UNKNOWN, whatever its
//! checkers found.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    check_report::CheckReport, finding::FindingGrade, operation::ClientOperation,
    recorded_run::RecordedRun,
};
use crate::history::FaultRecord;

/// The operations that a workload must have done in the run, and how often. A plan that has a field
/// `floors` replaces them.
const FLOORS: &[(&str, &[(&str, u64)])] = &[
    ("register", &[("read", 20), ("write", 20), ("cas", 5)]),
    ("set", &[("add", 30)]),
    ("watch", &[("append", 30)]),
    ("config", &[("apply", 20), ("delete", 5)]),
    ("queue", &[("publish", 30)]),
    ("streams", &[("publish", 30)]),
    ("tries", &[("publish", 30)]),
    ("sends", &[("send", 30)]),
    ("replies", &[("send", 30)]),
    ("large", &[("write", 20)]),
    ("http", &[("http", 30)]),
];
/// Divisor of the floor for what must have been done inside the windows of faults that took effect.
const INSIDE: u64 = 5;
/// The nemesis that takes the broker away.
const BROKER: &str = "rabbit";
/// Beginning of the probe's text of a fault that could not be done at all.
const NOT_DONE: &str = "not done";
/// Calls that sinks must have accepted, and observations of a leader, where these are the workload.
const CALLS: u64 = 20;
const SIGHTS: u64 = 30;

/// Compares what was done with the floor.
pub fn check(run: &RecordedRun) -> CheckReport {
    let mut report = CheckReport::new("floors");
    faults(run, &mut report);
    let effective: Vec<&FaultRecord> = run
        .faults
        .iter()
        .filter(|fault| fault.effective.is_some())
        .collect();
    let possible = |fault: &&&FaultRecord| run.leaves_a_quorum(fault) && fault.nemesis != BROKER;
    let quorum: Vec<&FaultRecord> = effective.iter().filter(possible).copied().collect();
    for (f, floor) in floors(run) {
        let all = run.operations.iter().filter(|it| it.f == f);
        let done = all.clone().filter(|it| it.is_ok());
        report.too_few(
            &format!("`{f}` that were done"),
            done.clone().count(),
            floor,
        );
        // While the broker is down, nobody can publish or send.
        let broker_alone = effective.iter().all(|fault| fault.nemesis == BROKER);
        if effective.is_empty() || (["publish", "send"].contains(&f.as_str()) && broker_alone) {
            continue;
        }
        // Where no fault leaves a quorum, it is enough that it was tried.
        let inside = if quorum.is_empty() && f != "http" {
            all.filter(|it| inside(it, &effective)).count()
        } else {
            done.filter(|it| inside(it, &effective)).count()
        };
        report.count(format!("inside_faults.{f}"), inside as u64);
        let name = format!("`{f}` inside the windows of faults");
        report.too_few(&name, inside, (floor / INSIDE).max(1));
    }
    if ["mutex", "queue", "streams", "tries"].contains(&run.plan.workload.as_str()) {
        let accepted = run.calls.iter().filter(|call| call.accepted).count();
        report.too_few("calls that sinks accepted", accepted, CALLS);
    }
    if ["mutex", "election"].contains(&run.plan.workload.as_str()) {
        let observations = run
            .observations
            .iter()
            .filter(|observation| observation.leader.is_some())
            .count();
        report.too_few("sights of a leader", observations, SIGHTS);
    }
    report
}

impl CheckReport {
    fn too_few(&mut self, of: &str, there: usize, floor: u64) {
        if (there as u64) < floor {
            let what = format!("too little happened: {there} {of}; at least {floor} are needed");
            self.find(FindingGrade::Unsure, "below a floor", what);
        }
    }
}

fn floors(run: &RecordedRun) -> BTreeMap<String, u64> {
    if let Some(Value::Object(floors)) = run.plan.whole.get("floors") {
        let numbers = floors
            .iter()
            .filter_map(|(f, floor)| Some((f.clone(), floor.as_u64()?)));
        return numbers.collect();
    }
    let of_it = FLOORS
        .iter()
        .find(|(workload, _)| *workload == run.plan.workload);
    let floors = of_it.map_or(&[][..], |(_, floors)| floors);
    floors
        .iter()
        .map(|(f, floor)| ((*f).to_owned(), *floor))
        .collect()
}

fn faults(run: &RecordedRun, report: &mut CheckReport) {
    let mut kinds: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for fault in &run.faults {
        let kind = kinds.entry(&fault.nemesis).or_default();
        // Where nobody led, say, no leader could be killed. It counts as nothing.
        if fault.effective.is_none() && fault.probe.starts_with(NOT_DONE) {
            report.count(format!("faults_not_done.{}", fault.nemesis), 1);
            continue;
        }
        kind.0 += 1;
        if fault.effective.is_some() {
            kind.1 += 1;
        } else {
            let what = format!(
                "{} ({}) was done, and no probe saw that it took effect: {}",
                fault.nemesis, fault.target, fault.probe
            );
            let found = report.find(FindingGrade::Unsure, "fault without effect", what);
            found
                .at(&fault.members)
                .between(Some(fault.begun), fault.healed);
        }
        if fault.healed.is_none() {
            let what = format!("{} ({}) was never healed", fault.nemesis, fault.target);
            let found = report.find(FindingGrade::Unsure, "fault not healed", what);
            found.at(&fault.members).between(Some(fault.begun), None);
        }
    }
    for (kind, (done, effective)) in kinds {
        if done == 0 {
            let what = format!("{kind} could not be done even once");
            report.find(FindingGrade::Unsure, "fault without effect", what);
        }
        report.count(format!("faults.{kind}"), done);
        report.count(format!("faults_effective.{kind}"), effective);
    }
    losses(run, report);
    left_out(run, report);
}

/// Finds nemeses that could not be had, and planned faults that were not done.
fn left_out(run: &RecordedRun, report: &mut CheckReport) {
    let skipped = run.plan.whole.get("skipped").and_then(Value::as_array);
    let skipped: Vec<&str> = skipped
        .into_iter()
        .flatten()
        .filter_map(|it| it.get("nemesis").and_then(Value::as_str))
        .collect();
    for nemesis in &skipped {
        let what = format!("{nemesis} can't be had on this machine, and was left out");
        report.find(FindingGrade::Note, "nemesis left out", what);
    }
    let steps = run.plan.whole.get("steps").and_then(Value::as_array);
    let wanted = |it: &&Value| {
        let name = it
            .get("nemesis")
            .and_then(Value::as_str)
            .unwrap_or_default();
        !skipped.contains(&name)
    };
    let planned = steps.map_or(0, |steps| steps.iter().filter(wanted).count());
    report.count("faults_planned", planned as u64);
    report.count("faults_done", run.faults.len() as u64);
    if planned > run.faults.len() {
        let what = format!(
            "of {planned} faults that were planned, {} were done",
            run.faults.len()
        );
        // The last ones may have had no time, as healing those before took its own.
        let few = run.faults.len() * 2 < planned;
        let grade = if few {
            FindingGrade::Unsure
        } else {
            FindingGrade::Note
        };
        report.find(grade, "faults left out", what);
    }
}

/// Counts how often a leader was lost for good, and how often a disk lost its power.
fn losses(run: &RecordedRun, report: &mut CheckReport) {
    let effective = run.faults.iter().filter(|fault| fault.effective.is_some());
    for fault in effective {
        let (killed, power) = (
            fault.nemesis.starts_with("kill"),
            fault.nemesis.starts_with("power"),
        );
        if power {
            report.count("power_losses", fault.members.len() as u64);
        }
        let before = run
            .observations
            .iter()
            .rfind(|it| it.time <= fault.begun && it.leader.is_some());
        let leader = before.and_then(|observation| observation.leader);
        if (killed || power) && leader.is_some_and(|it| fault.members.contains(&it)) {
            report.count("leader_kills", 1);
        }
    }
}

/// Returns whether an operation was under way while one of the faults was in effect.
fn inside(operation: &ClientOperation, faults: &[&FaultRecord]) -> bool {
    faults.iter().any(|fault| {
        let from = fault.effective.unwrap_or(fault.begun);
        let until = fault.healing.or(fault.healed).unwrap_or(u64::MAX);
        operation.told >= from && operation.start <= until
    })
}
