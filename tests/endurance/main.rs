//! Long runs with real processes under load: `make takeovers`, `make calm`, `make growth`.
//! Not among `make test`'s: they take from minutes to an hour and want the machine for
//! themselves. Each writes a report and its raw figures, and fails when a check does.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what a test prints is for whoever runs it"
)]
#![allow(missing_docs)]

mod calm;
mod connectors;
mod footprint;
mod full_load;
mod growth;
mod lapses;
mod load;
mod report;
mod spread;
mod takeovers;
mod throughput;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

/// Long runs.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    run: Run,
}

#[derive(Subcommand)]
enum Run {
    /// Takeovers in a row under message load.
    Takeovers(takeovers::Options),
    /// Full load, and nobody takes over.
    Calm(calm::Options),
    /// A thousand connectors.
    Connectors(connectors::Options),
    /// A hundred thousand resources, a million keys.
    Growth(growth::Options),
    /// Messages a second beside bare lapin.
    Throughput(throughput::Options),
    /// What they are measured beside.
    #[command(hide = true)]
    Bare {
        #[command(subcommand)]
        which: throughput::bare::Bare,
    },
}

/// What all runs have.
#[derive(Args, Clone, Debug)]
struct Common {
    /// The promise.
    #[arg(long, default_value_t = 500)]
    failover_ms: u64,
    /// The folder that the report and the raw figures are written to.
    #[arg(long, default_value = "docs/benchmarks")]
    out: PathBuf,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    // For clients over HTTP; an error says that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let findings = match Arguments::parse().run {
        Run::Takeovers(options) => takeovers::run(options).await,
        Run::Calm(options) => calm::run(options).await,
        Run::Connectors(options) => connectors::run(options).await,
        Run::Growth(options) => growth::run(options).await,
        Run::Throughput(options) => throughput::run(options).await,
        Run::Bare { which } => {
            throughput::bare::run(which).await;
            Vec::new()
        }
    };
    for finding in &findings {
        eprintln!("FOUND: {finding}");
    }
    match findings.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
