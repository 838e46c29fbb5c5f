//! So many resources: services, and four times as many HTTP channels that lead to them.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use quorate_clock::Instant;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    durations::median,
    eventually::eventually,
    http,
    programs::QUORATE,
};
use reqwest::Method;
use serde::Serialize;
use serde_json::json;

use super::measure::{self, Restarts};
use crate::{
    full_load::{FullLoad, Volume},
    lapses,
};

/// How many single puts a median is of.
const PUTS: usize = 51;
/// For how long the load is alone first: what lapses then does not come from the resources.
const ALONE: Duration = Duration::from_secs(20);

/// What was measured of one number. Times are in seconds, memory is in KiB a member.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ResourcesRow {
    pub count: u64,
    /// `quorate apply --dry-run`, with nothing else to do.
    pub validate: f64,
    /// The same with the load beside it.
    pub validate_loaded: f64,
    /// `quorate apply` with the load beside it.
    pub apply: f64,
    /// A single put, before the resources are there and after.
    pub put_first: f64,
    pub put_last: f64,
    /// The same with the load beside it.
    pub put_first_loaded: f64,
    pub put_last_loaded: f64,
    /// While the load was alone, for [`ALONE`].
    pub lapses_alone: usize,
    /// While the load and the resources were there.
    pub elections: u64,
    pub lapses: usize,
    pub restarts: Restarts,
    /// Before the resources are there, after they were put, and after all have started anew.
    pub memory_before: u64,
    pub memory_after: u64,
    pub memory_restarted: u64,
    pub findings: Vec<String>,
}

impl ResourcesRow {
    /// The memory of one resource at a member that has started with all of them, in bytes.
    pub fn bytes_each(&self) -> f64 {
        let more = self.memory_restarted.saturating_sub(self.memory_before);
        (more * 1024) as f64 / self.count as f64
    }
}

/// Measures one number on a cluster that has nothing yet.
pub async fn round(cluster: &mut TestCluster, count: u64, volume: &Volume) -> ResourcesRow {
    println!("{count} resources");
    let load = FullLoad::prepare(cluster).await;
    let file = cluster.root.path().join("resources.yaml");
    fs::write(&file, manifest(count, &load.sink.url())).expect("the manifest");
    let mut row = ResourcesRow {
        count,
        memory_before: measure::memory(cluster),
        ..ResourcesRow::default()
    };

    row.put_first = puts(cluster, "first").await;
    row.validate = apply(cluster, &file, true, &mut row.findings).await;
    let mut loaded = load.begin(cluster, volume).await;
    let before = lapses::count(cluster);
    tokio::time::sleep(ALONE).await;
    row.lapses_alone = lapses::count(cluster) - before;
    let (term, before) = (measure::term(cluster).await, lapses::count(cluster));
    row.put_first_loaded = puts(cluster, "first-loaded").await;
    row.validate_loaded = apply(cluster, &file, true, &mut row.findings).await;
    row.apply = apply(cluster, &file, false, &mut row.findings).await;
    row.put_last_loaded = puts(cluster, "last-loaded").await;
    let published = loaded.finish().await;
    row.elections = measure::term(cluster).await - term;
    row.lapses = lapses::count(cluster) - before;
    let lost = load.lost(&published).await;
    row.put_last = puts(cluster, "last").await;
    if !lost.is_empty() {
        row.findings
            .push(format!("{} messages were never handled", lost.len()));
    }
    if row.elections > 0 || row.lapses > 0 {
        let (elections, lapses) = (row.elections, row.lapses);
        row.findings.push(format!(
            "{elections} elections and {lapses} lapses of the lease under load"
        ));
    }
    row.memory_after = measure::memory(cluster);
    row.restarts = measure::restarts(cluster).await;
    served(cluster, count).await;
    row.memory_restarted = measure::memory(cluster);
    row
}

/// A fifth are services, all others channels.
fn manifest(count: u64, upstream: &str) -> String {
    let services = (count / 5).max(1);
    let mut text = String::new();
    for n in 0..services {
        let _ = writeln!(
            text,
            "---\nkind: service\nname: grown-s{n}\nupstream: {upstream}"
        );
    }
    for n in 0..count - services {
        let service = n % services;
        let _ = writeln!(
            text,
            "---\nkind: http_channel\nname: grown-c{n}\npath: /grown/{n}/{{id}}\nservice: grown-s{service}"
        );
    }
    text
}

/// Runs `quorate apply` as a user would; gives how long it took.
async fn apply(
    cluster: &TestCluster,
    file: &Path,
    dry_run: bool,
    findings: &mut Vec<String>,
) -> f64 {
    let admin: Vec<_> = cluster.members.iter().map(|m| m.admin_url("")).collect();
    let mut command = Command::new(&*QUORATE);
    command.args(["apply", "--admin", &admin.join(","), "--file"]);
    command.arg(file).args(dry_run.then_some("--dry-run"));
    let log = cluster.root.path().join("apply.log");
    let out = File::create(&log).expect("a log");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(out);
    let begun = Instant::now();
    let done = tokio::task::spawn_blocking(move || command.status());
    let status = done.await.expect("no panic").expect("the program");
    let took = begun.elapsed().as_secs_f64();
    println!("apply, dry run {dry_run}: {took:.2} s, {status}");
    if !status.success() {
        let said = fs::read_to_string(&log).unwrap_or_default();
        findings.push(format!(
            "`quorate apply` (dry run: {dry_run}) ended with {status}: {said}"
        ));
    }
    took
}

/// The median of some single puts of new channels, at all members in turn, in seconds.
async fn puts(cluster: &TestCluster, name: &str) -> f64 {
    let mut times: Vec<Duration> = Vec::new();
    for n in 0..PUTS {
        let name = format!("{name}-{n}");
        let path = format!("/{name}/{{id}}");
        let channel = json!({"name": name, "path": path, "service": "echo-it"});
        let begun = Instant::now();
        cluster
            .put(n % cluster.members.len(), "http_channel", channel)
            .await;
        times.push(begun.elapsed());
    }
    median(&times).as_secs_f64()
}

/// The last channel leads to its service, at every member.
async fn served(cluster: &TestCluster, count: u64) {
    let last = count - (count / 5).max(1) - 1;
    for member in &cluster.members {
        eventually("the last channel", SOON, || async {
            let url = member.http_url(&format!("/grown/{last}/1"));
            let answer = http::call(Method::GET, url, &[], "").await?;
            match answer.status().as_u16() {
                200 => Ok(()),
                other => Err(format!("{other} at {}", member.name)),
            }
        })
        .await;
    }
}
