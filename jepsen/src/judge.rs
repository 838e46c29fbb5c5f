//! The judge: runs the checkers over a run and writes its verdict and its report.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use crate::{
    checker::{
        check_report::Checked,
        finding::{Finding, Grade},
        run::Run,
        suite::{self, Settings},
    },
    outcome::Outcome,
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
pub fn judge(folder: &Path) -> io::Result<Verdict> {
    judge_with(folder, &Settings::default())
}

/// As [`judge`], with other settings.
///
/// # Errors
/// As [`judge`].
pub fn judge_with(folder: &Path, settings: &Settings) -> io::Result<Verdict> {
    let run = Run::load(folder)?;
    let verdict = of(&run, settings);
    let text = serde_json::to_vec_pretty(&verdict)?;
    whole(&folder.join(verdict::FILE), &text)?;
    whole(
        &folder.join(report::FILE),
        report::page(&run, &verdict).as_bytes(),
    )?;
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

/// Writes a file whole or not at all: a run that is killed while it is judged leaves no half.
fn whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut file = fs::File::create(&beside).map_err(named)?;
    file.write_all(bytes).map_err(named)?;
    fs::rename(&beside, path).map_err(named)
}
