//! A thousand connectors on one cluster, and fewer, to tell what grows with their number.

mod mix;
mod peers;
mod queue_manager;
mod round;
mod tables;
mod trial;

use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{Common, report};
use peers::Peers;

/// Smaller numbers that are measured before.
const BEFORE: [usize; 3] = [10, 100, 300];

/// How many of which.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How many connectors; 10, 100 and 300 are measured before it, as far as they are fewer.
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// Of these kinds; all by default.
    #[arg(long, value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(mix::kinds()))]
    kinds: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// Runs them and writes the report; gives what must not be.
pub async fn run(options: Options) -> Vec<String> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("a limit");
    let kinds = match options.kinds.is_empty() {
        true => mix::kinds().into_iter().map(str::to_owned).collect(),
        false => options.kinds.clone(),
    };
    let peers = Peers::start().await;
    let smaller = BEFORE.into_iter().filter(|n| *n < options.count);
    let mut trials = Vec::new();
    for count in smaller.chain([options.count]) {
        println!("{count} connectors");
        let connectors = mix::connectors(count, &kinds);
        let trial = trial::run(&peers, connectors, options.common.failover_ms).await;
        println!("{}", tables::line(&trial));
        trials.push(trial);
    }
    let command = match options.kinds.is_empty() {
        true => format!("make connectors COUNT={}", options.count),
        false => format!(
            "make connectors COUNT={} ARGS=\"--kinds {}\"",
            options.count,
            options.kinds.join(",")
        ),
    };
    let mut markdown = report::head("Connectors in great number", &command);
    markdown.push_str(&tables::markdown(&trials));
    report::write(
        &options.common.out,
        "connectors",
        &markdown,
        &tables::raw(&trials, options.common.failover_ms),
    );
    trials
        .into_iter()
        .flat_map(|trial| trial.findings)
        .collect()
}
