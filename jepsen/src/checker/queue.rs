//! Checker of the queue: what was published and confirmed is handled at least once.
//!
//! What is gone from the queue without having been handled was acknowledged too early.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    check_report::CheckReport,
    finding::FindingGrade,
    operation::ClientOperation,
    recorded_run::{MS, RecordedRun},
};
use crate::history::{EventType, SinkCall};

/// Number of messages that are named one by one.
const NAMED_MAX: usize = 50;
/// The nemesis that stops a member in an orderly way.
const STOP: &str = "stop-all";
/// Messages that were answered so shortly before the stop, or began so shortly after it, were in
/// flight.
const AT_ONCE: u64 = 200 * MS;

/// Compares what was published with what the sinks took.
pub fn check(run: &RecordedRun) -> CheckReport {
    let mut report = CheckReport::new("queue");
    let published = run.operations.iter().filter(|it| it.f == "publish");
    let published: BTreeMap<String, &ClientOperation> =
        published.map(|it| (id(&it.asked), it)).collect();
    let mut handled: BTreeMap<&str, u64> = BTreeMap::new();
    for call in run.calls.iter().filter(|call| call.accepted) {
        *handled.entry(&call.message).or_default() += 1;
    }
    let left = run.ending.as_ref().and_then(|ending| ending.left.as_ref());
    let waiting: BTreeSet<&str> = left.into_iter().flatten().map(String::as_str).collect();
    if left.is_none() {
        let what = "nobody has looked what was left in the queues in the end".to_owned();
        report.find(FindingGrade::Unsure, "queues not looked at", what);
    }

    let (mut lost, mut stuck) = (0, 0);
    for (message, publish) in published.iter().filter(|(_, it)| it.is_ok()) {
        if handled.contains_key(message.as_str()) {
            continue;
        }
        let (grade, kind, what, count) = if waiting.contains(message.as_str()) {
            let what = format!("{message} was confirmed, and still waits in a queue in the end");
            (FindingGrade::Late, "message not handled", what, &mut stuck)
        } else {
            let what = format!(
                "{message} was confirmed, is in no queue in the end, and was handled by nobody: it was acknowledged before it was handled, or dropped"
            );
            (FindingGrade::Wrong, "lost message", what, &mut lost)
        };
        *count += 1;
        if *count <= NAMED_MAX {
            report.find(grade, kind, what).shown_by(&[publish]);
        }
    }
    for message in handled.keys().filter(|it| !published.contains_key(**it)) {
        let what = format!("{message} was handled, and nobody has published it");
        report.find(FindingGrade::Wrong, "unexpected message", what);
    }
    repeats(run, &mut report);
    let refused = published
        .iter()
        .filter(|(_, it)| it.kind == EventType::Fail);
    let refused = refused.filter(|(message, _)| handled.contains_key(message.as_str()));
    let again: u64 = handled.values().map(|times| times - 1).sum();
    report.count("queue.handled", handled.len() as u64);
    report.count("queue.duplicates", again);
    report.count("queue.lost", lost as u64);
    report.count("queue.waiting_in_the_end", stuck as u64);
    report.count("queue.refused_and_handled", refused.count() as u64);
    report.worst(
        "queue.handled_most_often",
        handled.values().copied().max().unwrap_or(0),
    );
    report
}

/// Finds messages that an orderly stop repeated. It finishes what is in flight: what was with its
/// service then is not handled again. Where other faults were at work too, they may have brought it
/// about.
fn repeats(run: &RecordedRun, report: &mut CheckReport) {
    if run.faults.iter().any(|fault| fault.nemesis != STOP) {
        return;
    }
    let mut calls: BTreeMap<&str, Vec<&SinkCall>> = BTreeMap::new();
    for call in run.calls.iter().filter(|call| call.accepted) {
        calls.entry(&call.message).or_default().push(call);
    }
    let mut found = 0;
    for (message, mut calls) in calls {
        calls.sort_by_key(|call| call.begun);
        let pairs: Vec<_> = calls.windows(2).map(|pair| (pair[0], pair[1])).collect();
        let across = |(before, after): &(&SinkCall, &SinkCall)| {
            run.faults.iter().any(|stop| {
                before.begun <= stop.begun + AT_ONCE
                    && before.ended + AT_ONCE >= stop.begun
                    && after.begun > stop.begun
            })
        };
        let Some((before, after)) = pairs.into_iter().find(across) else {
            continue;
        };
        found += 1;
        if found <= NAMED_MAX {
            let what = format!(
                "{message} was with its service when the member was stopped in an orderly way, and was handled again"
            );
            let finding = report.find(FindingGrade::Wrong, "repeated by an orderly stop", what);
            finding.between(Some(before.begun), Some(after.ended));
        }
    }
    report.count("queue.repeated_by_a_stop", found as u64);
}

fn id(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
