//! So many keys of 100 bytes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_clock::{Instant, id128};
use quorate_testkit::{cluster::TestCluster, http};
use serde::Serialize;

use super::measure::{self, Restarts};
use crate::full_load::VALUE;

/// How long a writer waits after a write that failed.
const PAUSE: Duration = Duration::from_millis(20);

/// What was measured of one number. Memory is in KiB a member.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KeysRow {
    pub count: u64,
    /// Puts a second, by all writers together.
    pub rate: f64,
    /// Writes that were tried again.
    pub failed: u64,
    pub elections: u64,
    pub restarts: Restarts,
    pub memory_before: u64,
    pub memory_after: u64,
    pub memory_restarted: u64,
    /// The newest snapshot, if there is one yet.
    pub snapshot_bytes: Option<u64>,
    pub findings: Vec<String>,
}

impl KeysRow {
    /// The memory of one key at a member that has started with all of them, in bytes.
    pub fn bytes_each(&self) -> f64 {
        let more = self.memory_restarted.saturating_sub(self.memory_before);
        (more * 1024) as f64 / self.count as f64
    }
}

/// Measures one number on a cluster that has nothing yet.
pub async fn round(cluster: &mut TestCluster, count: u64, writers: u64) -> KeysRow {
    println!("{count} keys");
    let mut row = KeysRow {
        count,
        memory_before: measure::memory(cluster),
        ..KeysRow::default()
    };
    let term = measure::term(cluster).await;
    let begun = Instant::now();
    row.failed = write(cluster, count, writers).await;
    row.rate = count as f64 / begun.elapsed().as_secs_f64();
    row.elections = measure::term(cluster).await - term;
    if row.elections > 0 {
        row.findings.push(format!(
            "{} elections while keys were written",
            row.elections
        ));
    }
    row.memory_after = measure::memory(cluster);
    row.restarts = measure::restarts(cluster).await;
    row.snapshot_bytes = measure::snapshot_bytes(cluster);
    row.memory_restarted = measure::memory(cluster);
    let last = cluster.members[0].admin_url(&format!("/v1/kv/grown-{}", count - 1));
    let there = http::call(reqwest::Method::GET, &last, &[], "").await;
    if !there.is_ok_and(|answer| answer.status() == 200) {
        row.findings
            .push("the last key is not there after the restarts".into());
    }
    row
}

/// Bytes by chance: a snapshot is compressed.
fn value() -> Vec<u8> {
    let pieces = std::iter::repeat_with(|| id128().to_le_bytes());
    pieces.flatten().take(VALUE).collect()
}

/// Writes them all, each until it is answered; gives how many tries failed.
async fn write(cluster: &TestCluster, count: u64, writers: u64) -> u64 {
    let (next, failed) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let (next, failed) = (next.clone(), failed.clone());
        let member = &cluster.members[writer as usize % cluster.members.len()];
        let url = member.admin_url("/v1/kv/grown-");
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10));
        let client = client.build().expect("a client");
        tasks.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return;
                }
                let value = value();
                let put = || client.put(format!("{url}{n}")).body(value.clone());
                while !put().send().await.is_ok_and(|it| it.status().is_success()) {
                    failed.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a writer");
    }
    failed.load(Ordering::Relaxed)
}
