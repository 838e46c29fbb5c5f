//! What grows with the number of resources and of keys: `make growth`.
//!
//! Each number has a cluster of its own, three members with nothing in them. The report has a
//! table and a plot, the goals beside the figures.

mod keys;
mod measure;
mod plot;
mod resources;
mod tables;

use std::fs;

use clap::Args;
use quorate_clock::Instant;
use quorate_testkit::{
    cluster::{self, TestCluster},
    machine,
};
use serde_json::json;

use super::{Common, full_load::Volume, report};
use keys::KeysRow;
use resources::ResourcesRow;

/// How many of which.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Resources, a fifth of them services; `0` for none.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000])]
    resources: Vec<u64>,
    /// Keys of 100 bytes; `0` for none.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000, 1_000_000])]
    keys: Vec<u64>,
    /// Clients that write the keys.
    #[arg(long, default_value_t = 64)]
    key_writers: u64,
    #[command(flatten)]
    load: Volume,
    #[command(flatten)]
    common: Common,
}

/// Measures, and writes the report; gives what must not be.
pub async fn run(options: Options) -> Vec<String> {
    let begun = Instant::now();
    let busy = machine::load_average();
    let mut findings = Vec::new();
    let mut resources: Vec<ResourcesRow> = Vec::new();
    for count in options.resources.iter().filter(|count| **count > 0) {
        let mut cluster = start(&options).await;
        let row = resources::round(&mut cluster, *count, &options.load).await;
        end(&mut cluster, row.findings.is_empty());
        println!("{row:?}");
        findings.extend(
            row.findings
                .iter()
                .map(|it| format!("{count} resources: {it}")),
        );
        resources.push(row);
    }
    let mut keys: Vec<KeysRow> = Vec::new();
    for count in options.keys.iter().filter(|count| **count > 0) {
        let mut cluster = start(&options).await;
        let row = keys::round(&mut cluster, *count, options.key_writers).await;
        end(&mut cluster, row.findings.is_empty());
        println!("{row:?}");
        findings.extend(row.findings.iter().map(|it| format!("{count} keys: {it}")));
        keys.push(row);
    }
    let out = &options.common.out;
    let text = tables::markdown(
        &options,
        &resources,
        &keys,
        (begun.elapsed(), &busy),
        &findings,
    );
    let raw = json!({
        "failover_ms": options.common.failover_ms,
        "seconds": begun.elapsed().as_secs_f64(),
        "load_average_before": busy,
        "resources": resources,
        "keys": keys,
        "findings": findings,
    });
    report::write(out, "growth", &text, &raw);
    let svg = plot::render(&resources, &keys);
    fs::write(out.join("growth.svg"), svg).expect("the plot");
    findings
}

async fn start(options: &Options) -> TestCluster {
    let mut cluster = TestCluster::start(3, options.common.failover_ms, "").await;
    cluster.root.disable_cleanup(true);
    println!("logs: {}", cluster.root.path().display());
    cluster
}

/// The logs of a round in which something was found are kept.
fn end(cluster: &mut TestCluster, sound: bool) {
    cluster.root.disable_cleanup(!sound || cluster::keep());
}
