//! Run in a process of its own: what dies or leaks in it touches no other run.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::sys::signal::Signal;
use quorate_clock::Instant;
use quorate_testkit::{error_chain::chain, process::send};
use tokio::process::Command;

use crate::{cancel::CancelToken, outcome::RunOutcome, verdict::RunVerdict};

/// Time limit of a run beside its clients' work: set-up, healing, judging.
const BESIDE: Duration = Duration::from_secs(360);

/// Failure to start the process of a run, or to see its end.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error("the process of the run can't be started")]
    Start(#[source] io::Error),
    #[error("the output of the run can't be read")]
    Output(#[source] io::Error),
    #[error("the run did not end when asked to")]
    NotEnded,
}

/// Settings that all runs of a batch have in common.
#[derive(Clone, Debug)]
pub struct BatchSettings {
    /// The program under test.
    pub quorate: PathBuf,
    /// The folder for the runs' folders.
    pub out: PathBuf,
    /// The failover promise.
    pub failover_ms: u64,
    /// Operations a second.
    pub rate: u64,
    /// The members are on the loopback.
    pub loopback: bool,
}

/// Run to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunJob {
    /// The name of the workload.
    pub workload: String,
    /// The names of the nemeses, joined by `+`.
    pub nemesis: String,
    /// The seed.
    pub seed: u64,
    /// The time for which clients and nemeses are at work.
    pub seconds: u64,
    /// The number of members, if the seed is not to decide.
    pub members: Option<usize>,
    /// The planted bug that the program is to have.
    pub mutant: Option<String>,
}

/// Run that was done.
#[derive(Clone, Debug)]
pub struct FinishedJob {
    /// The run that was asked for.
    pub job: RunJob,
    /// The outcome; `UNKNOWN` when the harness failed.
    pub outcome: RunOutcome,
    /// The run's folder, if the run came so far.
    pub folder: Option<PathBuf>,
    /// The verdict, if the run came so far.
    pub verdict: Option<RunVerdict>,
    /// The time that the run took in all.
    pub took: Duration,
    /// The last line on standard error, for runs without a verdict.
    pub said: String,
}

impl FinishedJob {
    /// Returns whether the run says nothing because the machine was held up, and nothing wrong was
    /// found.
    pub fn is_void(&self) -> bool {
        self.outcome == RunOutcome::Unknown && self.voided()
    }

    fn voided(&self) -> bool {
        self.verdict.as_ref().is_some_and(|it| it.voided)
    }

    /// Formats the run as one line for people.
    pub fn line(&self) -> String {
        let RunJob {
            workload,
            nemesis,
            seed,
            ..
        } = &self.job;
        let void = if self.voided() { ", void" } else { "" };
        let worst = self.verdict.as_ref().and_then(|it| it.findings.first());
        let worst = worst.map_or(self.said.clone(), |it| it.what.clone());
        format!(
            "{:7} {workload} x {nemesis}, seed {seed}, {:.0} s{void} {}",
            self.outcome.to_string(),
            self.took.as_secs_f64(),
            worst.chars().take(160).collect::<String>(),
        )
    }
}

/// Runs a job in a process of its own.
pub async fn run(common: &BatchSettings, job: RunJob, cancel: &CancelToken) -> FinishedJob {
    let begun = Instant::now();
    let ran = output(common, &job, cancel).await;
    let took = begun.elapsed();
    let (said, folder) = match ran {
        Ok((said, folder)) => (said, folder),
        Err(problem) => (chain(&problem), None),
    };
    let verdict = folder.as_deref().and_then(|it| RunVerdict::read(it).ok());
    FinishedJob {
        outcome: verdict
            .as_ref()
            .map_or(RunOutcome::Unknown, |it| it.outcome),
        job,
        folder,
        verdict,
        took,
        said,
    }
}

async fn output(
    common: &BatchSettings,
    job: &RunJob,
    cancel: &CancelToken,
) -> Result<(String, Option<PathBuf>), JobError> {
    let program = std::env::current_exe().map_err(JobError::Start)?;
    let mut command = Command::new(program);
    command
        .args(["run", "--workload", &job.workload])
        .args(["--nemesis", &job.nemesis])
        .args(["--seed", &job.seed.to_string()])
        .args(["--seconds", &job.seconds.to_string()])
        .args(["--failover-ms", &common.failover_ms.to_string()])
        .args(["--rate", &common.rate.to_string()])
        .arg("--quorate")
        .arg(&common.quorate)
        .arg("--out")
        .arg(&common.out);
    if let Some(members) = job.members {
        command.args(["--members", &members.to_string()]);
    }
    if let Some(mutant) = &job.mutant {
        command.args(["--mutant", mutant]);
    }
    if common.loopback {
        command.arg("--loopback");
    }
    // Ctrl-C reaches this process alone, which asks the run to end.
    command.process_group(0).kill_on_drop(true);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().map_err(JobError::Start)?;
    let pid = child.id();
    let limit = Duration::from_secs(job.seconds) + BESIDE;
    let ends = child.wait_with_output();
    tokio::pin!(ends);
    let output = tokio::select! {
        ended = &mut ends => ended.map_err(JobError::Output)?,
        _ = cancel.cancelled_within(limit) => {
            if let Some(pid) = pid {
                send(Signal::SIGTERM, &[pid]);
            }
            let ended = tokio::time::timeout(BESIDE, &mut ends).await;
            ended.map_err(|_| JobError::NotEnded)?.map_err(JobError::Output)?
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let folder = text
        .lines()
        .find_map(|line| line.strip_prefix("folder: "))
        .map(|path| Path::new(path).to_owned());
    let last = errors.lines().last().unwrap_or_default().to_owned();
    Ok((last, folder))
}
