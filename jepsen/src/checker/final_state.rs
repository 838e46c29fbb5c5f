//! Checker of the end: every member answers, and all have the same state.
//!
//! None has panicked, and no log has an error that the faults don't explain.

use std::collections::BTreeMap;

use super::{
    check_report::CheckReport, expected_errors, finding::FindingGrade, recorded_run::RecordedRun,
};
use crate::history::FinalMember;

/// Number of lines of a log that are told.
const LISTED_MAX: usize = 10;

/// The members that must answer in the end.
pub fn expected_members(run: &RecordedRun) -> Vec<u64> {
    let excused = |member: u64| {
        let members = run.ending.iter().flat_map(|ending| &ending.members);
        members
            .clone()
            .any(|it| it.member == member && it.excused.is_some())
    };
    (1..=run.plan.members)
        .filter(|member| !excused(*member))
        .collect()
}

/// Looks at what was found of each member.
pub fn check(run: &RecordedRun) -> CheckReport {
    let mut report = CheckReport::new("ending");
    let Some(ending) = &run.ending else {
        return report;
    };
    for trouble in &ending.trouble {
        report.find(FindingGrade::Unsure, "harness failed", trouble.clone());
    }
    for member in expected_members(run) {
        let known = ending.members.iter().find(|it| it.member == member);
        if !known.is_some_and(|it| it.alive) {
            let what = format!("member {member} does not answer after all was healed");
            report
                .find(FindingGrade::Late, "member gone", what)
                .at(&[member]);
        }
    }
    states(&ending.members, &mut report);
    for member in &ending.members {
        log(run, member, &mut report);
    }
    if let Some(reason) = ending.members.iter().find_map(|it| it.excused.as_ref()) {
        report.count("members_excused", 1);
        report.find(FindingGrade::Note, "member excused", reason.clone());
    }
    report
}

fn states(members: &[FinalMember], report: &mut CheckReport) {
    let there = members.iter().filter(|it| it.alive && it.excused.is_none());
    let mut hashes: BTreeMap<(u64, &str), Vec<u64>> = BTreeMap::new();
    let mut indexes: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for it in there {
        let (Some(hash), Some(applied)) = (&it.hash, it.applied) else {
            let what = format!("member {}: the hash of its state is not known", it.member);
            report
                .find(FindingGrade::Unsure, "no state hash", what)
                .at(&[it.member]);
            continue;
        };
        hashes.entry((applied, hash)).or_default().push(it.member);
        indexes.entry(applied).or_default().push(it.member);
    }
    report.count(
        "ending.states",
        hashes.values().map(|it| it.len() as u64).sum(),
    );
    for (applied, members) in &indexes {
        let states = hashes.keys().filter(|(index, _)| index == applied).count();
        if states > 1 {
            let what = format!(
                "members {members:?} have applied log index {applied} and have {states} different states"
            );
            report
                .find(FindingGrade::Wrong, "states differ", what)
                .at(members);
        }
    }
    if indexes.len() > 1 {
        let what = format!(
            "members have not come to the same log index in the end: {}",
            indexes
                .iter()
                .map(|(index, who)| format!("{who:?} at {index}"))
                .collect::<Vec<_>>()
                .join(", ")
        );
        report.find(FindingGrade::Late, "not converged", what);
    }
}

fn log(run: &RecordedRun, member: &FinalMember, report: &mut CheckReport) {
    let nemeses: Vec<&str> = run
        .faults
        .iter()
        .map(|fault| fault.nemesis.as_str())
        .collect();
    let panics = member.panics.iter();
    let panics = panics.filter(|line| !expected_errors::is(line, &nemeses));
    for line in panics.take(LISTED_MAX) {
        let what = format!("member {}: {line}", member.member);
        report
            .find(FindingGrade::Wrong, "panic", what)
            .at(&[member.member]);
    }
    let (known, unknown): (Vec<&String>, Vec<&String>) = member
        .errors
        .iter()
        .partition(|line| expected_errors::is(line, &nemeses));
    report.count("log.expected_errors", known.len() as u64);
    report.count("log.unexpected_errors", unknown.len() as u64);
    for line in unknown.into_iter().take(LISTED_MAX) {
        let what = format!("member {}: {line}", member.member);
        report
            .find(FindingGrade::Wrong, "unexpected error", what)
            .at(&[member.member]);
    }
}
