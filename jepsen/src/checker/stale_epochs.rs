//! Checker of calls under old epochs, as sinks saw them, and of overlaps of two holders.
//!
//! A sink that looks at epochs refuses such a call, so it is never accepted there; that it came
//! at all says how far the product let it get. What is claimed: a call doesn't begin after its
//! lease, and no successor acts before that. What is not claimed: that a call which was about
//! to begin when a process was stopped does not begin when it goes on: one such call was seen
//! in 955 takeovers. So without a pause no call of an old epoch comes, and with pauses no more
//! than one in a run.

use std::collections::BTreeMap;

use super::{
    check_report::CheckReport,
    finding::FindingGrade,
    recorded_run::{MS, RecordedRun},
};
use crate::history::SinkCall;

/// Time that a call which was sent in time may be late at its sink: it passes a member and two
/// connections on its way.
const ON_ITS_WAY: u64 = 50 * MS;
/// Parts of the names of nemeses that stop processes, if only for a moment.
const STOPS: &[&str] = &["pause", "cpu", "memory"];

/// Number of calls of old epochs that may come in a run because something had been stopped.
const ALLOWED: u64 = 1;

/// Looks at what each sink saw.
pub fn check(run: &RecordedRun) -> CheckReport {
    let mut report = CheckReport::new("stale");
    let mut connectors: BTreeMap<&str, Vec<&SinkCall>> = BTreeMap::new();
    for call in &run.calls {
        connectors.entry(&call.connector).or_default().push(call);
    }
    let mut after_pauses = 0;
    for (connector, mut calls) in connectors {
        calls.sort_by_key(|call| (call.begun, call.epoch));
        // A queue's sink takes everything, as most services do.
        let naive = connector.contains("naive")
            || ["queue", "streams", "tries"].contains(&run.plan.workload.as_str());
        accepted(connector, naive, &calls, &mut report);
        came(run, connector, &calls, &mut after_pauses, &mut report);
        overlaps(&calls, &mut report);
        let epochs: BTreeMap<u64, ()> = calls.iter().map(|call| (call.epoch, ())).collect();
        report.count("calls", calls.len() as u64);
        report.worst("calls.epochs", epochs.len() as u64);
    }
    report
}

/// Finds calls that a sink took after one of a newer epoch, though it looks at epochs.
fn accepted(connector: &str, naive: bool, calls: &[&SinkCall], report: &mut CheckReport) {
    let mut newest: Option<&SinkCall> = None;
    for call in calls.iter().filter(|call| call.accepted) {
        let Some(newer) = newest.filter(|newest| newest.epoch > call.epoch) else {
            newest = Some(call);
            continue;
        };
        if naive {
            report.count("stale.accepted_by_naive", 1);
            continue;
        }
        // The sink decides before it answers; only what came after that answer is certain.
        if newer.ended > call.begun {
            report.count("stale.accepted_at_once", 1);
            continue;
        }
        report.count("stale.accepted", 1);
        let what = format!(
            "{connector} took {} under epoch {} after {} under epoch {}",
            call.message, call.epoch, newer.message, newer.epoch
        );
        let found = report.find(FindingGrade::Wrong, "stale epoch accepted", what);
        found.between(Some(newer.begun), Some(call.ended));
    }
    report.count("stale.accepted", 0);
}

/// Finds calls of an old epoch that came after the first one of a newer epoch.
fn came(
    run: &RecordedRun,
    connector: &str,
    calls: &[&SinkCall],
    after_pauses: &mut u64,
    report: &mut CheckReport,
) {
    let mut newest: Option<&SinkCall> = None;
    for call in calls {
        let Some(newer) = newest.filter(|newest| newest.epoch > call.epoch) else {
            if newest.is_none_or(|newest| call.epoch > newest.epoch) {
                newest = Some(call);
            }
            continue;
        };
        report.count("stale.came", 1);
        if !call.accepted {
            report.count("stale.fenced", 1);
        }
        let late = call.begun - newer.begun;
        report.worst("stale.came_ms_late.worst", late / MS);
        if late <= ON_ITS_WAY {
            continue;
        }
        let stopped = run.faults.iter().any(|fault| {
            let name = &fault.nemesis;
            STOPS.iter().any(|part| name.contains(part)) && fault.begun <= call.begun
        });
        if stopped {
            *after_pauses += 1;
            report.count("stale.came_after_a_pause", 1);
        }
        if stopped && *after_pauses <= ALLOWED {
            continue;
        }
        let why = if stopped {
            "and it was not the only one after something had been stopped"
        } else {
            "and nothing had been stopped"
        };
        let what = format!(
            "{connector} was sent {} under epoch {}, {} ms after the first call under epoch {}, {why}",
            call.message,
            call.epoch,
            late / MS,
            newer.epoch
        );
        let found = report.find(FindingGrade::Wrong, "call under an old epoch", what);
        found.between(Some(newer.begun), Some(call.ended));
    }
}

/// Measures for how long calls of an older epoch went on after one of a newer had begun.
fn overlaps(calls: &[&SinkCall], report: &mut CheckReport) {
    let mut spans: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.accepted) {
        let span = spans.entry(call.epoch).or_insert((call.begun, call.ended));
        *span = (span.0.min(call.begun), span.1.max(call.ended));
    }
    let spans: Vec<(u64, u64)> = spans.into_values().collect();
    for pair in spans.windows(2) {
        let overlap = pair[0].1.saturating_sub(pair[1].0) / MS;
        report.count("takeovers_seen_by_sinks", 1);
        report.worst("overlap_ms.worst", overlap);
        report.count("overlap_ms.sum", overlap);
        report.count("overlap.times", u64::from(overlap > 0));
        let gap = pair[1].0.saturating_sub(pair[0].1) / MS;
        report.worst("handover_ms.worst", gap);
    }
}
