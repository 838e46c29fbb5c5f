//! Checker of reigns: an epoch has one holder, and leaders follow one another in order.
//!
//! Leaders are elected by the pair of term and id: a candidate of the same term and a higher id
//! is voted for as one of a later term is, so that a split vote costs no further round. A term
//! can so have two leaders, one after the other; the pair is what must have one holder and
//! never goes back.

use std::{collections::BTreeMap, fmt::Debug};

use super::{check_report::CheckReport, finding::FindingGrade, recorded_run::RecordedRun};
use crate::history::{FaultRecord, ReignObservation};

/// Looks at what the members said.
pub fn check(run: &RecordedRun) -> CheckReport {
    let mut report = CheckReport::new("epochs");
    one_each(
        run,
        &mut report,
        "election",
        "two leaders elected as one",
        |it| Some(((it.term?, it.leader_id?), it.leader?)),
    );
    one_each(
        run,
        &mut report,
        "epoch",
        "two holders of one epoch",
        |it| Some((it.epoch?, it.connector_server?)),
    );
    for member in 1..=run.plan.members {
        let mut mine: Vec<&ReignObservation> = run
            .observations
            .iter()
            .filter(|it| it.member == member)
            .collect();
        // By when it was asked: answers can overtake each other.
        mine.sort_by_key(|it| (it.asked, it.time));
        forward(run, &mine, &mut report, "term", |it| {
            Some((it.term?, it.leader_id.unwrap_or(0)))
        });
        forward(run, &mine, &mut report, "epoch", |it| Some((it.epoch?, 0)));
    }
    report.count("sights", run.observations.len() as u64);
    report
}

fn one_each<N: Ord + Copy + Debug>(
    run: &RecordedRun,
    report: &mut CheckReport,
    of: &str,
    kind: &str,
    held: impl Fn(&ReignObservation) -> Option<(N, u64)>,
) {
    let mut holders: BTreeMap<N, BTreeMap<u64, &ReignObservation>> = BTreeMap::new();
    for observation in &run.observations {
        if let Some((number, holder)) = held(observation) {
            holders
                .entry(number)
                .or_default()
                .entry(holder)
                .or_insert(observation);
        }
    }
    report.count(format!("reigns.{of}s"), holders.len() as u64);
    for (number, holders) in holders.iter().filter(|(_, it)| it.len() > 1) {
        let told: Vec<String> = holders
            .iter()
            .map(|(holder, by)| format!("member {holder} as member {} told", by.member))
            .collect();
        let times = holders.values().map(|it| it.time);
        let what = format!("{of} {number:?} was held by {}", told.join(" and by "));
        let found = report.find(FindingGrade::Wrong, kind, what);
        found.at(&holders.keys().copied().collect::<Vec<_>>());
        found.between(times.clone().min(), times.max());
    }
}

/// Finds numbers of one member that go back (a number, and who was elected in it), unless the
/// member was started anew in between: then it knows only what it has applied again.
fn forward(
    run: &RecordedRun,
    observations: &[&ReignObservation],
    report: &mut CheckReport,
    of: &str,
    number: impl Fn(&ReignObservation) -> Option<(u64, u64)>,
) {
    let mut last: Option<((u64, u64), &ReignObservation)> = None;
    for observation in observations {
        let Some(now) = number(observation) else {
            continue;
        };
        let Some((before, by)) =
            last.filter(|(before, by)| *before > now && by.time < observation.asked)
        else {
            if last.is_none_or(|(before, _)| now >= before) {
                last = Some((now, observation));
            }
            continue;
        };
        let restarted = |fault: &FaultRecord| {
            fault.members.contains(&observation.member)
                && fault.begun <= observation.time
                && fault
                    .healed
                    .is_none_or(|healed| healed + 2 * run.promise() >= by.time)
        };
        if run.faults.iter().any(restarted) {
            report.count(format!("reigns.{of}_back_after_a_fault"), 1);
        } else {
            let what = format!(
                "member {} told of {of} {} and then of {}{}",
                observation.member,
                before.0,
                now.0,
                if before.0 == now.0 {
                    format!(", of the leaders {} and {}", before.1, now.1)
                } else {
                    String::new()
                }
            );
            let found = report.find(FindingGrade::Wrong, &format!("{of} went back"), what);
            found
                .at(&[observation.member])
                .between(Some(by.time), Some(observation.time));
        }
        last = Some((now, observation));
    }
}
