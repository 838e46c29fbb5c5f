//! Checker of the set: what was acknowledged is there in the end, at every member.
//!
//! Nothing is there that nobody asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    check_report::CheckReport, finding::FindingGrade, operation::ClientOperation,
    recorded_run::RecordedRun,
};
use crate::history::{EventType, HistoryEvent};

/// Number of elements that are named one by one.
const NAMED_MAX: usize = 50;

/// Compares the final reads with what was added.
pub fn check(run: &RecordedRun) -> CheckReport {
    let mut report = CheckReport::new("set");
    let adds = run.operations.iter().filter(|it| it.f == "add");
    let adds: BTreeMap<String, &ClientOperation> =
        adds.map(|it| (it.asked.to_string(), it)).collect();
    let finals = finals(run);
    for member in super::final_state::expected_members(run) {
        if !finals.contains_key(&member) {
            let what = format!("member {member}: there is no final read of it");
            report
                .find(FindingGrade::Unsure, "no final read", what)
                .at(&[member]);
        }
    }
    for (member, (line, event)) in &finals {
        one_member(*member, *line, event, &adds, &mut report);
    }
    let everywhere: Vec<BTreeSet<String>> = finals
        .values()
        .map(|(_, event)| elements(event).collect())
        .collect();
    let recovered = adds
        .iter()
        .filter(|(value, add)| add.is_info() && everywhere.iter().any(|all| all.contains(*value)));
    report.count("set.recovered", recovered.count() as u64);
    stale(run, &adds, &mut report);
    report
}

/// The last final read of each member.
fn finals(run: &RecordedRun) -> BTreeMap<u64, (usize, &HistoryEvent)> {
    let ok = run
        .unasked("final")
        .filter(|(_, it)| it.kind == EventType::Ok);
    ok.map(|(line, event)| (event.member, (line, event)))
        .collect()
}

fn elements(event: &HistoryEvent) -> impl Iterator<Item = String> + '_ {
    let all = event.value.as_array().map_or(&[][..], Vec::as_slice);
    all.iter().map(Value::to_string)
}

fn one_member(
    member: u64,
    line: usize,
    event: &HistoryEvent,
    adds: &BTreeMap<String, &ClientOperation>,
    report: &mut CheckReport,
) {
    let mut there = BTreeSet::new();
    for value in elements(event) {
        let what = match adds.get(&value) {
            None => format!("member {member} has {value}, which nobody has added"),
            Some(add) if add.kind == EventType::Fail => {
                format!("member {member} has {value}, and adding it had surely failed")
            }
            Some(_) if there.contains(&value) => format!("member {member} has {value} twice"),
            Some(_) => {
                there.insert(value);
                continue;
            }
        };
        let kind = if there.contains(&value) {
            report.count("set.duplicated", 1);
            "element twice"
        } else {
            report.count("set.unexpected", 1);
            "unexpected element"
        };
        let found = report.find(FindingGrade::Wrong, kind, what).at(&[member]);
        found.operations = vec![line];
        found
            .operations
            .extend(adds.get(&value).iter().flat_map(|it| it.lines()));
    }
    let acknowledged = adds.iter().filter(|(_, add)| add.is_ok());
    let mut lost = 0;
    for (value, add) in acknowledged.filter(|(value, _)| !there.contains(*value)) {
        lost += 1;
        if lost > NAMED_MAX {
            continue;
        }
        let what = format!("{value} was acknowledged and is not at member {member} in the end");
        let found = report.find(FindingGrade::Wrong, "lost element", what);
        found.shown_by(&[add]).operations.push(line);
        found.at(&[member]);
    }
    report.count("set.lost", lost as u64);
    report.count("set.elements_read", there.len() as u64);
}

/// Finds stale reads in the run: what had been acknowledged before a read was asked for is in it.
fn stale(run: &RecordedRun, adds: &BTreeMap<String, &ClientOperation>, report: &mut CheckReport) {
    let reads = run
        .operations
        .iter()
        .filter(|it| it.f == "read" && it.is_ok());
    for read in reads {
        let Some(all) = read.answered.as_array() else {
            continue;
        };
        let there: BTreeSet<String> = all.iter().map(Value::to_string).collect();
        let acknowledged = adds
            .values()
            .filter(|add| add.is_ok() && add.end < read.start);
        let missing = acknowledged.filter(|add| !there.contains(&add.asked.to_string()));
        for add in missing.take(1) {
            report.count("set.stale", 1);
            let what = format!(
                "{} was acknowledged before a read at member {} was asked for, and is not in it",
                add.asked, read.member
            );
            report
                .find(FindingGrade::Wrong, "stale read", what)
                .shown_by(&[add, read]);
        }
    }
}
