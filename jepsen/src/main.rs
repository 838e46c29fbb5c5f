//! `quorate-jepsen`: runs the chaos suite.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for tests, which may end where nobody reads what it says"
)]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};
use quorate_jepsen::{
    checker::Settings, ci, job, mutants, nemesis, outcome::Outcome, planner::Wish, run, selftest,
    soak, stop::Stop, workload,
};

/// The chaos suite. Exit: 0 pass, 1 FAIL, 2 usage, 3 UNKNOWN (which is no pass).
#[derive(Parser)]
#[command(name = "quorate-jepsen")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// One run
    Run(RunArgs),
    /// The fixed list of short runs for every change
    Ci {
        /// How long it may take at most
        #[arg(long, default_value_t = 12)]
        minutes: u64,
        #[command(flatten)]
        common: Common,
    },
    /// All workloads under all nemeses in turn, alone and in pairs
    Soak {
        /// How long
        #[arg(long, default_value_t = 2.0)]
        hours: f64,
        /// How long clients and nemeses are at work in each run
        #[arg(long, default_value_t = 40)]
        seconds: u64,
        /// Decides the order, and the seeds of the runs
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// These workloads alone
        #[arg(long, value_delimiter = ',', value_parser = workload_name)]
        workloads: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Runs with planted bugs, which have to be caught
    Selftest {
        /// These alone
        #[arg(long, value_delimiter = ',', value_parser = mutant_name)]
        mutants: Vec<String>,
        /// With so many seeds each
        #[arg(long, default_value_t = 20)]
        seeds: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Judge runs again whose folders are there
    Recheck {
        /// The runs' folders
        #[arg(required = true)]
        folders: Vec<PathBuf>,
    },
    /// Make the anomalies of a run as small as can be
    Shrink {
        /// The run's folder
        folder: PathBuf,
    },
}

#[derive(Args)]
struct Common {
    /// The binary [default: the one beside this program]
    #[arg(long, value_parser = program, default_value_os_t = built().join("quorate"), hide_default_value = true)]
    quorate: PathBuf,
    /// Where runs' folders go [default: chaos in the target folder]
    #[arg(long)]
    out: Option<PathBuf>,
    /// The failover promise, in milliseconds
    #[arg(long, default_value_t = 500)]
    failover_ms: u64,
    /// Operations a second, all clients together
    #[arg(long, default_value_t = 100)]
    rate: u64,
    /// Put the members on the loopback even where they could have namespaces
    #[arg(long)]
    loopback: bool,
    /// Keep the members' data
    #[arg(long)]
    keep: bool,
}

#[derive(Args)]
struct RunArgs {
    /// What clients do
    #[arg(long, default_value = "register", value_parser = workload_name)]
    workload: String,
    /// What is done to the members; several at once with +, or none
    #[arg(long, default_value = "kill", value_parser = nemesis_names)]
    nemesis: String,
    /// Decides everything that is not said
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long clients and nemeses are at work
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many members: 3, 4 or 5 [default: the seed decides]
    #[arg(long, value_parser = member_count)]
    members: Option<usize>,
    /// A planted bug that the binary is to have
    #[arg(long, value_parser = mutant_name)]
    mutant: Option<String>,
    #[command(flatten)]
    common: Common,
}

impl Common {
    fn job(&self) -> job::Common {
        job::Common {
            quorate: self.quorate.clone(),
            out: self.out(),
            failover_ms: self.failover_ms,
            rate: self.rate,
            loopback: self.loopback,
        }
    }

    fn out(&self) -> PathBuf {
        let out = self.out.clone();
        out.unwrap_or_else(|| built().with_file_name("chaos"))
    }
}

/// The folder that this program was built into.
fn built() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    here.parent().map(Path::to_owned).unwrap_or_default()
}

fn program(path: &str) -> Result<PathBuf, String> {
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    match path.is_file() {
        true => Ok(path),
        false => Err(format!("there is no file {}", path.display())),
    }
}

fn workload_name(name: &str) -> Result<String, String> {
    workload::named(name).map(|_| name.to_owned())
}

fn nemesis_names(names: &str) -> Result<String, String> {
    let each: Vec<&str> = names.split('+').filter(|name| *name != "none").collect();
    nemesis::together(&each)?;
    Ok(names.to_owned())
}

fn mutant_name(name: &str) -> Result<String, String> {
    match mutants::named(name) {
        Some(_) => Ok(name.to_owned()),
        None => {
            let names: Vec<_> = mutants::MUTANTS.iter().map(|mutant| mutant.name).collect();
            Err(format!(
                "there is none of that name; there are {}",
                names.join(", ")
            ))
        }
    }
}

fn member_count(count: &str) -> Result<usize, String> {
    match count {
        "3" => Ok(3),
        "4" => Ok(4),
        "5" => Ok(5),
        _ => Err("it must be 3, 4 or 5".to_owned()),
    }
}

/// Whether what is asked for fits together, beside nemeses among themselves.
fn fits(args: &RunArgs) -> Result<(), String> {
    let named = args.nemesis.split('+').filter(|name| *name != "none");
    let named: Vec<&str> = named.collect();
    if let Some(members) = args.members {
        nemesis::compatibility::among(&named, members)?;
    }
    match named.iter().find(|name| !soak::fits(&args.workload, name)) {
        Some(name) => Err(format!("{name} says nothing of {}", args.workload)),
        None => Ok(()),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let What::Run(args) = &cli.what
        && let Err(problem) = fits(args)
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
        Err(error) => return failed(&format!("can't start: {error}")),
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
                    Err(error) => failed(&error.to_string()),
                }
            }
            What::Selftest {
                mutants,
                seeds,
                common,
            } => match selftest::selftest(&common.job(), &mutants, seeds, &stop).await {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::FAILURE,
                Err(error) => failed(&error.to_string()),
            },
            What::Recheck { folders } => recheck(&folders),
            What::Shrink { folder } => shrink(&folder),
        }
    })
}

fn ended(outcome: Outcome) -> ExitCode {
    ExitCode::from(outcome.exit_code())
}

/// The harness failed: nothing is known, which is no pass.
fn failed(problem: &str) -> ExitCode {
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
    match quorate_jepsen::judge::judge_with(folder, settings) {
        Ok(verdict) => {
            println!("{}: {}", folder.display(), verdict.outcome);
            for finding in &verdict.findings {
                println!("  {}: {}", finding.checker, finding.what);
            }
            ExitCode::from(verdict.outcome.exit_code())
        }
        Err(error) => failed(&format!("{}: {error}", folder.display())),
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
        Err(panic) => failed(&panic.to_string()),
    }
}

/// The worst of all counts.
fn recheck(folders: &[PathBuf]) -> ExitCode {
    let mut worst = Outcome::Pass;
    for folder in folders {
        match quorate_jepsen::judge::judge(folder) {
            Ok(verdict) => {
                println!("{}: {}", folder.display(), verdict.outcome);
                worst = worst.max(verdict.outcome);
            }
            Err(error) => {
                println!("{}: UNKNOWN: {error}", folder.display());
                worst = worst.max(Outcome::Unknown);
            }
        }
    }
    ExitCode::from(worst.exit_code())
}

fn shrink(folder: &Path) -> ExitCode {
    match quorate_jepsen::shrink::of_run(folder) {
        Ok(anomalies) => {
            println!("{}", quorate_jepsen::anomaly::text(&anomalies));
            ExitCode::SUCCESS
        }
        Err(error) => failed(&format!("{}: {error}", folder.display())),
    }
}
