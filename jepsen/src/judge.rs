//! The judge: runs the checkers over a run and writes its verdict and its report.

use std::path::Path;

use crate::{
    checker::{
        check_report::Checked,
        finding::{Finding, Grade},
        run::Run,
        suite::{self, Settings},
    },
    outcome::Outcome,
    record_file::{self, RecordFileError},
    report, shrink,
    verdict::{self, Verdict},
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
///
/// # Errors
/// When the folder can't be read or written. What is missing or broken in it is a finding.
pub fn judge(folder: &Path) -> Result<Verdict, RecordFileError> {
    judge_with(folder, &Settings::default())
}

/// As [`judge`], with other settings.
///
/// # Errors
/// As [`judge`].
pub fn judge_with(folder: &Path, settings: &Settings) -> Result<Verdict, RecordFileError> {
    let run = Run::load(folder)?;
    let verdict = of(&run, settings);
    record_file::replace_json(&folder.join(verdict::FILE), &verdict)?;
    let page = report::page(&run, &verdict);
    record_file::replace(&folder.join(report::FILE), page.as_bytes())?;
    Ok(verdict)
}

/// Judges a run that is in memory.
#[must_use]
pub fn of(run: &Run, settings: &Settings) -> Verdict {
    let mut checked = Checked::new("all");
    for one in suite::all(run, settings) {
        checked.findings.extend(one.findings);
        checked.numbers.extend(one.numbers);
    }
    let lost = |it: &&Finding| LOSSES.contains(&it.kind.as_str());
    let lost = checked.findings.iter().filter(lost).count() as u64;
    checked.count("lost_acknowledged", lost);
    let voided = checked.numbers.contains_key("host.starved");
    let mut findings = checked.findings;
    findings.sort_by(|a, b| (a.grade, &a.checker, a.from).cmp(&(b.grade, &b.checker, b.from)));
    let worst = findings.iter().map(|finding| finding.grade).min();
    // What a harness that failed didn't heal can't come back in time.
    let in_time = !voided && !findings.iter().any(|it| it.kind == "harness failed");
    let outcome = match worst {
        Some(Grade::Wrong) => Outcome::Fail,
        Some(Grade::Late) if in_time => Outcome::Fail,
        _ if !in_time => Outcome::Unknown,
        Some(Grade::Unsure) => Outcome::Unknown,
        _ => Outcome::Pass,
    };
    let anomalies = shrink::anomalies(run, &findings, settings);
    Verdict {
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
