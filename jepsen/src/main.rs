//! `quorate-jepsen`: runs the chaos suite.
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

use arguments::{Cli, RunArgs, What};
use clap::{CommandFactory, Parser, error::ErrorKind};
use quorate_jepsen::{
    anomaly, checker::Settings, ci, error_chain::chain, judge, outcome::Outcome, planner::Wish,
    run, selftest, shrink, soak, stop::Stop, workload,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let What::Run(args) = &cli.what
        && let Err(problem) = args.fits()
    {
        Cli::command()
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
        let stop = Stop::default();
        tokio::spawn(end_when_asked(stop.clone()));
        match cli.what {
            What::Run(args) => one(args, &stop).await,
            What::Ci { minutes, common } => {
                let limit = Duration::from_secs(minutes * 60);
                ended(ci::ci(&common.job(), limit, &stop).await)
            }
            What::Soak {
                hours,
                seconds,
                seed,
                workloads,
                common,
            } => {
                let time = Duration::from_secs_f64(hours * 3600.0);
                let all = workload::ALL.iter().map(|it| (*it).to_owned());
                let workloads = match workloads.is_empty() {
                    true => all.collect(),
                    false => workloads,
                };
                let jobs = soak::jobs(seed, seconds, workloads);
                match soak::soak(&common.job(), time, jobs, &stop).await {
                    Ok(outcome) => ended(outcome),
                    Err(error) => failed(&error),
                }
            }
            What::Selftest {
                mutants,
                seeds,
                common,
            } => match selftest::selftest(&common.job(), &mutants, seeds, &stop).await {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::FAILURE,
                Err(error) => failed(&error),
            },
            What::Recheck { folders } => recheck(&folders),
            What::Shrink { folder } => shrink_run(&folder),
        }
    })
}

fn ended(outcome: Outcome) -> ExitCode {
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

async fn end_when_asked(stop: Stop) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    eprintln!("it is asked to end: everything is healed and taken down");
    stop.ask();
}

/// Judges a run's folder, and tells where the report is.
fn judged(folder: &Path, settings: &Settings) -> ExitCode {
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

async fn one(args: RunArgs, stop: &Stop) -> ExitCode {
    let wish = Wish {
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
    let ignore_infos = wish.mutant.as_deref() == Some("infos-ignored");
    let settings = Settings {
        ignore_infos,
        ..Settings::default()
    };
    let (out, keep, stop) = (args.common.out(), args.common.keep, stop.clone());
    // On a task of its own: what panics in it is told, and everything is taken down.
    let ran = tokio::spawn(async move { run::run(&wish, &out, keep, &stop).await }).await;
    match ran {
        Ok(Ok(folder)) => judged(&folder, &settings),
        Ok(Err(problem)) => failed(&problem),
        Err(panic) => failed(&panic),
    }
}

/// The worst of all counts.
fn recheck(folders: &[PathBuf]) -> ExitCode {
    let mut worst = Outcome::Pass;
    for folder in folders {
        match judge::judge(folder) {
            Ok(verdict) => {
                println!("{}: {}", folder.display(), verdict.outcome);
                worst = worst.max(verdict.outcome);
            }
            Err(error) => {
                println!("{}: UNKNOWN: {}", folder.display(), chain(&error));
                worst = worst.max(Outcome::Unknown);
            }
        }
    }
    ExitCode::from(worst.exit_code())
}

fn shrink_run(folder: &Path) -> ExitCode {
    match shrink::of_run(folder) {
        Ok(anomalies) => {
            println!("{}", anomaly::text(&anomalies));
            ExitCode::SUCCESS
        }
        Err(error) => unknown(&format!("{}: {}", folder.display(), chain(&error))),
    }
}
