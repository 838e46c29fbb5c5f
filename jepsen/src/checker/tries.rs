//! Checker of tries: a message that has failed goes on to be tried where it was.
//!
//! Tries are written down once a second, and a message waits longer than that for the next.
//! So one try can be forgotten, where it was the last one before the end; no more can.

use std::collections::BTreeMap;

use super::{check_report::CheckReport, finding::FindingGrade, recorded_run::RecordedRun};
use crate::history::SinkCall;

/// Number of messages that are named one by one.
const NAMED_MAX: u64 = 50;

/// Looks at the tries of each message, in the order in which they began.
pub fn check(run: &RecordedRun) -> CheckReport {
    let mut report = CheckReport::new("tries");
    let mut calls: Vec<&SinkCall> = run.calls.iter().collect();
    calls.sort_by_key(|call| call.begun);
    let mut furthest: BTreeMap<(&str, &str), &SinkCall> = BTreeMap::new();
    let mut forgotten = 0;
    for call in calls {
        report.worst("tries.most", call.attempt);
        let message = (call.connector.as_str(), call.message.as_str());
        let before = furthest.get(&message).copied();
        let Some(before) = before.filter(|before| before.attempt > call.attempt) else {
            furthest.insert(message, call);
            continue;
        };
        if before.attempt - call.attempt < 2 {
            report.count("tries.last_one_forgotten", 1);
            continue;
        }
        forgotten += 1;
        // From here on it is compared with what it has come to since.
        furthest.insert(message, call);
        if forgotten > NAMED_MAX {
            continue;
        }
        let what = format!(
            "{} came to {} as try {} under epoch {}, after it had come as try {} under epoch {}",
            call.message, call.connector, call.attempt, call.epoch, before.attempt, before.epoch
        );
        let found = report.find(FindingGrade::Wrong, "tries forgotten", what);
        found.between(Some(before.begun), Some(call.ended));
    }
    report.count("tries.forgotten", forgotten);
    report
}
