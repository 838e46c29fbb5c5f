//! Checker of the harness' own rules.
//!
//! Where the harness didn't keep them, nothing that it wrote is worth a verdict.

use std::collections::BTreeMap;

use super::{check_report::CheckReport, finding::FindingGrade, recorded_run::RecordedRun};
use crate::history::EventType;

/// Functions of events without an invoke: those of streams and final reads.
const UNASKED: &[&str] = &[
    "watched",
    "resume",
    "compacted",
    "watch-end",
    "final",
    "catalog",
    "note",
    "nemesis",
];
/// Number of broken rules that are told one by one.
const LISTED_MAX: usize = 20;

/// Looks for what the harness should not have done.
pub fn check(run: &RecordedRun) -> CheckReport {
    let mut report = CheckReport::new("discipline");
    for broken in &run.broken {
        report.find(FindingGrade::Unsure, "broken files", broken.clone());
    }
    let mut broken: Vec<(usize, String)> = Vec::new();
    let mut open: BTreeMap<u64, &str> = BTreeMap::new();
    let mut retired: BTreeMap<u64, usize> = BTreeMap::new();
    let mut now = 0;
    for (at, event) in run.events.iter().enumerate() {
        let line = at + 1;
        let process = event.process;
        if event.time < now {
            let text = format!("line {line}: time went back by {} ns", now - event.time);
            broken.push((line, text));
        }
        now = now.max(event.time);
        if event.kind == EventType::Invoke {
            if let Some(since) = retired.get(&process) {
                let text = format!(
                    "line {line}: process {process} was used again after the unknown outcome of line {since}"
                );
                broken.push((line, text));
            }
            if open.insert(process, &event.f).is_some() {
                let text = format!(
                    "line {line}: process {process} asked for a second thing before it had an answer to the first"
                );
                broken.push((line, text));
            }
            continue;
        }
        match open.remove(&process) {
            Some(f) if f != event.f => {
                let text = format!(
                    "line {line}: process {process} asked for `{f}` and was answered `{}`",
                    event.f
                );
                broken.push((line, text));
            }
            None if !UNASKED.contains(&event.f.as_str()) => {
                let text = format!(
                    "line {line}: nobody asked for this `{}` of process {process}",
                    event.f
                );
                broken.push((line, text));
            }
            _ => {}
        }
        if event.kind == EventType::Info && !UNASKED.contains(&event.f.as_str()) {
            retired.insert(process, line);
        }
    }
    report.count("harness.rules_broken", broken.len() as u64);
    for (line, text) in broken.into_iter().take(LISTED_MAX) {
        report
            .find(FindingGrade::Unsure, "rules broken", text)
            .operations = vec![line];
    }
    for operation in &run.operations {
        let told = match operation.kind {
            EventType::Ok => "ok",
            EventType::Fail => "fail",
            _ => "info",
        };
        report.count(format!("{told}.{}", operation.f), 1);
    }
    report.count("operations", run.operations.len() as u64);
    report
}
