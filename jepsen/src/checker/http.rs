//! Checker of services: they answer on every live member, with a quorum and without one.

use super::{
    check_report::CheckReport,
    finding::FindingGrade,
    operation::ClientOperation,
    recorded_run::{MS, RecordedRun},
};
use crate::history::FaultRecord;

/// Parts of the names of nemeses after which a member can't answer, or not in time. All
/// others leave its services at work.
const SILENCED: &[&str] = &[
    "kill",
    "pause-leader",
    "pause-group",
    "damage",
    "power",
    "restart",
    "storm",
    "disk",
    "fsync",
    "corrupt",
    "truncate",
    "flip",
    "cpu",
    "memory",
    "cgroup",
    "stop",
    // Starts a member with other settings, and once more with its own.
    "promises-differ",
];
/// A member that was started anew has this long until its services must answer.
const UP: u64 = 3_000 * MS;
/// Number of failed calls that are told one by one.
const LISTED_MAX: usize = 20;

/// Looks at each call of a service.
pub fn check(run: &RecordedRun) -> CheckReport {
    let mut report = CheckReport::new("http");
    let calls: Vec<&ClientOperation> = run.operations.iter().filter(|it| it.f == "http").collect();
    let without: Vec<&FaultRecord> = run.faults.iter().filter(|it| no_quorum(run, it)).collect();
    let mut wrong = 0;
    for call in &calls {
        let silenced = run.faults.iter().any(|fault| silences(fault, call));
        let quorum = !without.iter().any(|fault| within(fault, call));
        let count = match (call.is_ok(), silenced, quorum) {
            (true, _, true) => "http.ok_with_quorum",
            (true, _, false) => "http.ok_without_quorum",
            (false, true, _) => "http.failed_at_a_silenced_member",
            (false, false, _) => "http.failed_at_a_live_member",
        };
        report.count(count, 1);
        if call.is_ok() || silenced {
            continue;
        }
        wrong += 1;
        if wrong > LISTED_MAX {
            continue;
        }
        let why = call.error.as_deref().unwrap_or("no answer");
        let what = format!(
            "member {} was alive, and {} failed: {why}",
            call.member, call.key
        );
        report
            .find(FindingGrade::Late, "no answer", what)
            .shown_by(&[call]);
    }
    for member in 1..=run.plan.members {
        let ok = calls.iter().any(|it| it.member == member && it.is_ok());
        if !ok {
            let what = format!("member {member}: no call of a service was answered in the run");
            report
                .find(FindingGrade::Unsure, "nothing asked", what)
                .at(&[member]);
        }
    }
    let live = |it: &&&ClientOperation| it.is_ok() && without.iter().any(|fault| within(fault, it));
    if !without.is_empty() && calls.iter().filter(live).count() == 0 {
        let what = "no service was asked while there was no quorum".to_owned();
        report.find(FindingGrade::Unsure, "nothing asked", what);
    }
    report
}

/// Returns whether a fault leaves some members alive, and no quorum.
fn no_quorum(run: &RecordedRun, fault: &FaultRecord) -> bool {
    let all = fault.members.len() as u64 >= run.plan.members && silencing(fault);
    fault.effective.is_some() && !run.leaves_a_quorum(fault) && !all
}

fn silencing(fault: &FaultRecord) -> bool {
    SILENCED.iter().any(|part| fault.nemesis.contains(part))
}

/// Returns whether the call was under way while the fault kept its member from answering.
fn silences(fault: &FaultRecord, call: &ClientOperation) -> bool {
    let until = fault.healed.map_or(u64::MAX, |healed| healed + UP);
    silencing(fault)
        && fault.members.contains(&call.member)
        && call.told >= fault.begun
        && call.start <= until
}

/// Returns whether the call was under way while the fault was in effect.
fn within(fault: &FaultRecord, call: &ClientOperation) -> bool {
    let from = fault.effective.unwrap_or(fault.begun);
    let until = fault.healing.or(fault.healed).unwrap_or(u64::MAX);
    call.start >= from && call.told <= until
}
