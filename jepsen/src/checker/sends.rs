//! Checker of sent messages: what callers were told, and what is in the queue in the end.
//!
//! What was told as sent is there, what was told as surely not sent is not, and under one key there
//! is one.

use std::collections::BTreeMap;

use super::{check_report::CheckReport, finding::FindingGrade, recorded_run::RecordedRun};
use crate::history::EventType;

/// Number of messages that are named one by one.
const NAMED_MAX: u64 = 50;

/// Compares what callers were told with the queue.
pub fn check(run: &RecordedRun) -> CheckReport {
    let mut report = CheckReport::new("sends");
    let left = run.ending.as_ref().and_then(|ending| ending.left.as_ref());
    let Some(left) = left else {
        let what = "nobody has looked what was in the queue in the end".to_owned();
        report.find(FindingGrade::Unsure, "queues not looked at", what);
        return report;
    };
    let mut there: BTreeMap<&str, u64> = BTreeMap::new();
    for message in left {
        *there.entry(message).or_default() += 1;
    }
    for send in run.operations.iter().filter(|it| it.f == "send") {
        let message = send.asked.as_str().unwrap_or_default();
        let times = there.get(message).copied().unwrap_or(0);
        let (kind, what) = match (send.kind, times) {
            (EventType::Ok, 0) => (
                "lost message",
                format!("{message} was told as sent, and is not in the queue"),
            ),
            (EventType::Fail, 1..) => (
                "sent and told as not sent",
                format!("{message} was told as surely not sent, and is in the queue"),
            ),
            (_, 2..) => (
                "sent twice under one key",
                format!("{message} is in the queue {times} times, and was sent under one key"),
            ),
            _ => continue,
        };
        let count = report.numbers.get("sends.wrong").copied().unwrap_or(0);
        report.count("sends.wrong", 1);
        if count < NAMED_MAX {
            report
                .find(FindingGrade::Wrong, kind, what)
                .shown_by(&[send]);
        }
    }
    report.count("sends.in_the_queue", left.len() as u64);
    report
}
