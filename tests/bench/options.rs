//! What can be asked of a run.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::{fault::Fault, quorate::Fence};

/// A system that is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum System {
    Quorate,
    Etcd,
    Zookeeper,
    Redis,
}

/// Failover of Quorate, etcd, ZooKeeper and Redis with Sentinel, side by side.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "make bench-failover",
    no_binary_name = true,
    rename_all = "kebab-case"
)]
pub struct Options {
    /// Only these systems
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<System>,
    /// Only these faults
    #[arg(long, value_delimiter = ',')]
    pub faults: Vec<Fault>,
    /// Only these promises of Quorate's
    #[arg(long, value_delimiter = ',')]
    pub failover_ms: Vec<u64>,
    /// Only these fences of Quorate's connections
    #[arg(long, value_delimiter = ',')]
    pub fences: Vec<Fence>,
    /// Only these numbers of AMQP channels
    #[arg(long, value_delimiter = ',')]
    pub channels: Vec<usize>,
    /// This many trials of each case, instead of the plan's
    #[arg(long)]
    pub trials: Option<usize>,
    /// In how many laps over all systems the trials are done
    #[arg(long, default_value_t = 4)]
    pub laps: usize,
    /// One lap, one trial of each case
    #[arg(long)]
    pub quick: bool,
    /// Add to the trials that failover.json holds, instead of starting anew
    #[arg(long)]
    pub append: bool,
    /// Only say what would be done and how long it would take
    #[arg(long)]
    pub plan: bool,
    /// Only write table and plot anew from failover.json
    #[arg(long)]
    pub report: bool,
    /// Where the results go
    #[arg(long, default_value = "docs/benchmarks")]
    pub out: PathBuf,
}

/// Whether something was asked for: nothing asked is all asked.
pub fn asked<T: PartialEq>(list: &[T], wanted: &T) -> bool {
    list.is_empty() || list.contains(wanted)
}
