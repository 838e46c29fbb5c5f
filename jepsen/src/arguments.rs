//! Arguments of the command line, and the rules that hold among them.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use quorate_jepsen::{
    job,
    nemesis::{self, error::NemesisChoiceError},
    planted_bugs, soak,
    workload::{self, error::WorkloadError},
};

/// The chaos suite. Exit: 0 pass, 1 FAIL, 2 usage, 3 UNKNOWN (which is no pass).
#[derive(Parser)]
#[command(name = "quorate-jepsen")]
pub struct CommandLine {
    #[command(subcommand)]
    pub what: ChaosCommand,
}

#[derive(Subcommand)]
pub enum ChaosCommand {
    /// One run
    Run(RunArgs),
    /// The fixed list of short runs for every change
    Ci {
        /// How long it may take at most
        #[arg(long, default_value_t = 12)]
        minutes: u64,
        #[command(flatten)]
        common: CommonArgs,
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
        common: CommonArgs,
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
        common: CommonArgs,
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
pub struct CommonArgs {
    /// The binary [default: the one beside this program]
    #[arg(long, value_parser = program, default_value_os_t = built().join("quorate"), hide_default_value = true)]
    pub quorate: PathBuf,
    /// Where runs' folders go [default: chaos in the target folder]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// The failover promise, in milliseconds
    #[arg(long, default_value_t = 500)]
    pub failover_ms: u64,
    /// Operations a second, all clients together
    #[arg(long, default_value_t = 100)]
    pub rate: u64,
    /// Put the members on the loopback even where they could have namespaces
    #[arg(long)]
    pub loopback: bool,
    /// Keep the members' data
    #[arg(long)]
    pub keep: bool,
}

#[derive(Args)]
pub struct RunArgs {
    /// What clients do
    #[arg(long, default_value = "register", value_parser = workload_name)]
    pub workload: String,
    /// What is done to the members; several at once with +, or none
    #[arg(long, default_value = "kill", value_parser = nemesis_names)]
    pub nemesis: String,
    /// Decides everything that is not said
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How long clients and nemeses are at work
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// How many members: 3, 4 or 5 [default: the seed decides]
    #[arg(long, value_parser = member_count)]
    pub members: Option<usize>,
    /// A planted bug that the binary is to have
    #[arg(long, value_parser = mutant_name)]
    pub mutant: Option<String>,
    #[command(flatten)]
    pub common: CommonArgs,
}

impl CommonArgs {
    /// Returns what all runs of a batch have in common.
    pub fn job(&self) -> job::BatchSettings {
        job::BatchSettings {
            quorate: self.quorate.clone(),
            out: self.out(),
            failover_ms: self.failover_ms,
            rate: self.rate,
            loopback: self.loopback,
        }
    }

    /// Returns where runs' folders go.
    pub fn out(&self) -> PathBuf {
        let out = self.out.clone();
        out.unwrap_or_else(|| built().with_file_name("chaos"))
    }
}

/// The folder that this program was built into.
fn built() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    here.parent().map(Path::to_owned).unwrap_or_default()
}

/// Argument that can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ArgumentError {
    /// The program's path can't be made absolute.
    #[error("the path can't be made absolute: {0}")]
    Path(std::io::Error),
    /// The program is missing.
    #[error("there is no file {}", .0.display())]
    NoFile(PathBuf),
    /// No planted bug has the name.
    #[error("there is none of that name; there are {0}")]
    NoMutant(String),
    /// No cluster of that size is run.
    #[error("it must be 3, 4 or 5")]
    Members,
    /// The nemesis doesn't go with the workload.
    #[error("{nemesis} says nothing of {workload}")]
    Unfit {
        /// The nemesis.
        nemesis: String,
        /// The workload.
        workload: String,
    },
    /// The nemeses can't be had among so many members.
    #[error(transparent)]
    Nemesis(#[from] NemesisChoiceError),
}

fn program(path: &str) -> Result<PathBuf, ArgumentError> {
    let path = std::path::absolute(path).map_err(ArgumentError::Path)?;
    if !path.is_file() {
        return Err(ArgumentError::NoFile(path));
    }
    Ok(path)
}

fn workload_name(name: &str) -> Result<String, WorkloadError> {
    workload::named(name).map(|_| name.to_owned())
}

fn nemesis_names(names: &str) -> Result<String, NemesisChoiceError> {
    let each: Vec<&str> = names.split('+').filter(|name| *name != "none").collect();
    nemesis::together(&each)?;
    Ok(names.to_owned())
}

fn mutant_name(name: &str) -> Result<String, ArgumentError> {
    if planted_bugs::named(name).is_some() {
        return Ok(name.to_owned());
    }
    let names: Vec<_> = planted_bugs::PLANTED_BUGS
        .iter()
        .map(|mutant| mutant.name)
        .collect();
    Err(ArgumentError::NoMutant(names.join(", ")))
}

fn member_count(count: &str) -> Result<usize, ArgumentError> {
    match count {
        "3" => Ok(3),
        "4" => Ok(4),
        "5" => Ok(5),
        _ => Err(ArgumentError::Members),
    }
}

impl RunArgs {
    /// Checks that what is asked for fits together, beside nemeses among themselves.
    pub fn fits(&self) -> Result<(), ArgumentError> {
        let named = self.nemesis.split('+').filter(|name| *name != "none");
        let named: Vec<&str> = named.collect();
        if let Some(members) = self.members {
            nemesis::compatibility::among(&named, members)?;
        }
        match named.iter().find(|name| !soak::fits(&self.workload, name)) {
            Some(name) => Err(ArgumentError::Unfit {
                nemesis: (*name).to_owned(),
                workload: self.workload.clone(),
            }),
            None => Ok(()),
        }
    }
}
