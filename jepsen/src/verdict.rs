//! What a run is judged to be: `pass`, `FAIL` or `UNKNOWN`, what was found, and how much was
//! looked at.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{
    checker::{self, Checked, Run, Settings},
    report,
    shrink::{self, Anomaly},
};

/// The name of the file that a verdict is written to.
pub const FILE: &str = "verdict.json";

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Outcome {
    /// All that was looked for was looked for, and nothing was wrong.
    #[serde(rename = "pass")]
    Pass,
    /// It can't be told. That is not a pass.
    #[serde(rename = "UNKNOWN")]
    Unknown,
    /// A guarantee was broken.
    #[serde(rename = "FAIL")]
    Fail,
}

impl Outcome {
    /// What a process that judged should exit with.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Outcome::Pass => 0,
            Outcome::Fail => 1,
            Outcome::Unknown => 3,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "FAIL",
            Outcome::Unknown => "UNKNOWN",
        })
    }
}

/// What a finding makes of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// A guarantee was broken, whatever the machine was like.
    Wrong,
    /// Something came too late, or not at all: broken, unless the machine was starved.
    Late,
    /// It can't be told whether all is well.
    Unsure,
    /// Worth to know.
    Note,
}

/// Something that a checker found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Who found it.
    pub checker: String,
    /// What it makes of the verdict.
    pub grade: Grade,
    /// Its kind, in a few words, the same for all of a kind.
    pub kind: String,
    /// What was found, in a sentence.
    pub what: String,
    /// The lines of the history that show it, from 1.
    #[serde(default)]
    pub operations: Vec<usize>,
    /// The members that it is about.
    #[serde(default)]
    pub members: Vec<u64>,
    /// From when.
    #[serde(default)]
    pub from: Option<u64>,
    /// Until when.
    #[serde(default)]
    pub until: Option<u64>,
}

/// Kinds of findings that tell of something acknowledged that is gone.
const LOSSES: &[&str] = &[
    "lost write",
    "stale value",
    "lost element",
    "lost resource",
    "lost message",
];

/// Names and counts, as in `ok.write` and `overlap_ms.worst`.
pub type Numbers = BTreeMap<String, u64>;

/// What is written to `verdict.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the machine was so starved that the run says nothing about time.
    pub voided: bool,
    /// Which workload.
    pub workload: String,
    /// From which seed.
    pub seed: u64,
    /// How to run it again.
    pub command: String,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
    /// Anomalies, made as small as could be.
    #[serde(default)]
    pub anomalies: Vec<Anomaly>,
    /// How much was looked at.
    pub numbers: Numbers,
}

impl Verdict {
    /// Reads a verdict that was written into a run's folder.
    ///
    /// # Errors
    /// When there is none, or it can't be read; the error names the file.
    pub fn read(run: &Path) -> io::Result<Verdict> {
        let path = run.join(FILE);
        let named = |error: &dyn fmt::Display| {
            io::Error::other(format!(
                "{}: {error}; `recheck` writes it anew",
                path.display()
            ))
        };
        let text = fs::read(&path).map_err(|error| named(&error))?;
        serde_json::from_slice(&text).map_err(|error| named(&error))
    }
}

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
    whole(&folder.join(FILE), &text)?;
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
    for one in checker::all(run, settings) {
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
