//! Program `quorate-jepsen`: runs the chaos suite.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for tests, which may end where nobody reads what it says"
)]

mod arguments;

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use arguments::{ChaosCommand, CommandLine, RunArgs};
use clap::{CommandFactory, Parser, error::ErrorKind};
use quorate_jepsen::{
    anomaly, cancel::CancelToken, checker::CheckSettings, ci, judge, outcome::RunOutcome,
    planner::RunRequest, run, selftest, shrink, soak, workload,
};
use quorate_testkit::error_chain::chain;

fn main() -> ExitCode {
    let cli = CommandLine::parse();
    if let ChaosCommand::Run(args) = &cli.what
        && let Err(problem) = args.fits()
    {
        CommandLine::command()
            .error(ErrorKind::ValueValidation, problem)
            .exit();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return unknown(&format!("can't start: {error}")),
    };
    runtime.block_on(async {
        let cancel = CancelToken::default();
        tokio::spawn(end_when_asked(cancel.clone()));
        match cli.what {
            ChaosCommand::Run(args) => one(args, &cancel).await,
            ChaosCommand::Ci { minutes, common } => {
                let limit = Duration::from_secs(minutes * 60);
                ended(ci::ci(&common.job(), limit, &cancel).await)
            }
            ChaosCommand::Soak {
                hours,
                seconds,
                seed,
                workloads,
                common,
            } => {
                let time = Duration::from_secs_f64(hours * 3600.0);
                let all = workload::ALL.iter().map(|it| (*it).to_owned());
                let workloads = if workloads.is_empty() {
                    all.collect()
                } else {
                    workloads
                };
                let jobs = soak::jobs(seed, seconds, workloads);
                match soak::soak(&common.job(), time, jobs, &cancel).await {
                    Ok(outcome) => ended(outcome),
                    Err(error) => failed(&error),
                }
            }
            ChaosCommand::Selftest {
                mutants,
                seeds,
                common,
            } => match selftest::selftest(&common.job(), &mutants, seeds, &cancel).await {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::FAILURE,
                Err(error) => failed(&error),
            },
            ChaosCommand::Recheck { folders } => recheck(&folders),
            ChaosCommand::Shrink { folder } => shrink_run(&folder),
        }
    })
}

fn ended(outcome: RunOutcome) -> ExitCode {
    ExitCode::from(outcome.exit_code())
}

/// Tells why the harness failed.
fn failed(error: &(dyn Error + 'static)) -> ExitCode {
    unknown(&chain(error))
}

/// Tells that nothing is known, which is no pass.
fn unknown(problem: &str) -> ExitCode {
    eprintln!("UNKNOWN: {problem}");
    ExitCode::from(3)
}

async fn end_when_asked(cancel: CancelToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    eprintln!("it is asked to end: everything is healed and taken down");
    cancel.cancel();
}

/// Judges a run's folder, and prints the outcome and the findings.
fn judged(folder: &Path, settings: &CheckSettings) -> ExitCode {
    match judge::judge_with(folder, settings) {
        Ok(verdict) => {
            println!("{}: {}", folder.display(), verdict.outcome);
            for finding in &verdict.findings {
                println!("  {}: {}", finding.checker, finding.what);
            }
            ExitCode::from(verdict.outcome.exit_code())
        }
        Err(error) => unknown(&format!("{}: {}", folder.display(), chain(&error))),
    }
}

async fn one(args: RunArgs, cancel: &CancelToken) -> ExitCode {
    let request = RunRequest {
        seed: args.seed,
        workload: args.workload,
        nemeses: args.nemesis.split('+').map(str::to_owned).collect(),
        members: args.members,
        failover_ms: args.common.failover_ms,
        seconds: args.seconds,
        rate: args.common.rate,
        quorate: args.common.quorate.clone(),
        mutant: args.mutant,
        loopback: args.common.loopback,
    };
    let ignore_infos = request.mutant.as_deref() == Some("infos-ignored");
    let settings = CheckSettings {
        ignore_infos,
        ..CheckSettings::default()
    };
    let (out, keep, cancel) = (args.common.out(), args.common.keep, cancel.clone());
    // On a task of its own: what panics in it is told, and everything is taken down.
    let ran = tokio::spawn(async move { run::run(&request, &out, keep, &cancel).await }).await;
    match ran {
        Ok(Ok(folder)) => judged(&folder, &settings),
        Ok(Err(problem)) => failed(&problem),
        Err(panic) => failed(&panic),
    }
}

/// The worst of all counts.
fn recheck(folders: &[PathBuf]) -> ExitCode {
    let mut worst = RunOutcome::Pass;
    for folder in folders {
        match judge::judge(folder) {
            Ok(verdict) => {
                println!("{}: {}", folder.display(), verdict.outcome);
                worst = worst.max(verdict.outcome);
            }
            Err(error) => {
                println!("{}: UNKNOWN: {}", folder.display(), chain(&error));
                worst = worst.max(RunOutcome::Unknown);
            }
        }
    }
    ExitCode::from(worst.exit_code())
}

fn shrink_run(folder: &Path) -> ExitCode {
    match shrink::shrink_folder(folder) {
        Ok(anomalies) => {
            println!("{}", anomaly::text(&anomalies));
            ExitCode::SUCCESS
        }
        Err(error) => unknown(&format!("{}: {}", folder.display(), chain(&error))),
    }
}
