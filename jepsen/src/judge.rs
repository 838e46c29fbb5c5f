//! Judge: runs the checkers over a run and writes its verdict and its report.

use std::path::Path;

use crate::{
    checker::{
        check_report::CheckReport,
        finding::{CheckFinding, FindingGrade},
        recorded_run::RecordedRun,
        suite::{self, CheckSettings},
    },
    outcome::RunOutcome,
    record_file::{self, RecordFileError},
    report, shrink,
    verdict::{self, RunVerdict},
};

/// Kinds of findings that tell of something acknowledged that is gone.
const LOSSES: &[&str] = &[
    "lost write",
    "stale value",
    "lost element",
    "lost resource",
    "lost message",
];

/// Runs every checker over a run's folder, and writes `verdict.json` and `report.html` there.
pub fn judge(folder: &Path) -> Result<RunVerdict, RecordFileError> {
    judge_with(folder, &CheckSettings::default())
}

/// Judges as [`judge`] does, with other settings.
pub fn judge_with(folder: &Path, settings: &CheckSettings) -> Result<RunVerdict, RecordFileError> {
    let run = RecordedRun::load(folder)?;
    let verdict = judge_run(&run, settings);
    record_file::replace_json(&folder.join(verdict::FILE), &verdict)?;
    let page = report::page(&run, &verdict);
    record_file::replace(&folder.join(report::FILE), page.as_bytes())?;
    Ok(verdict)
}

/// Judges a run that is in memory.
pub fn judge_run(run: &RecordedRun, settings: &CheckSettings) -> RunVerdict {
    let mut checked = CheckReport::new("all");
    for one in suite::all(run, settings) {
        checked.findings.extend(one.findings);
        checked.numbers.extend(one.numbers);
    }
    let lost = |it: &&CheckFinding| LOSSES.contains(&it.kind.as_str());
    let lost = checked.findings.iter().filter(lost).count() as u64;
    checked.count("lost_acknowledged", lost);
    let voided = checked.numbers.contains_key("host.starved");
    let mut findings = checked.findings;
    findings.sort_by(|a, b| (a.grade, &a.checker, a.from).cmp(&(b.grade, &b.checker, b.from)));
    let worst = findings.iter().map(|finding| finding.grade).min();
    // What a harness that failed didn't heal can't come back in time.
    let in_time = !voided && !findings.iter().any(|it| it.kind == "harness failed");
    let outcome = match worst {
        Some(FindingGrade::Wrong) => RunOutcome::Fail,
        Some(FindingGrade::Late) if in_time => RunOutcome::Fail,
        _ if !in_time => RunOutcome::Unknown,
        Some(FindingGrade::Unsure) => RunOutcome::Unknown,
        _ => RunOutcome::Pass,
    };
    let anomalies = shrink::anomalies(run, &findings, settings);
    RunVerdict {
        outcome,
        voided,
        workload: run.plan.workload.clone(),
        seed: run.plan.seed,
        command: run.plan.command.clone(),
        findings,
        anomalies,
        numbers: checked.numbers,
    }
}
