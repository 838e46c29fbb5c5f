//! Full load for a long time, and nobody takes over: a member that is merely busy is not
//! taken for a lost one.

use std::{collections::BTreeMap, fmt::Write as _, sync::atomic::Ordering, time::Duration};

use clap::Args;
use quorate_clock::Instant;
use quorate_testkit::{
    cluster::{self, TestCluster},
    http,
};
use serde_json::{Value, json};

use super::{
    Common,
    full_load::{CHANNELS, FullLoad, Volume},
    lapses, report,
};

/// How much of it.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// For how long.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// The name of the report.
    #[arg(long, default_value = REPORT)]
    report: String,
    #[command(flatten)]
    volume: Volume,
    #[command(flatten)]
    common: Common,
}

/// The report of a run as it is meant.
const REPORT: &str = "calm";
const LOOK: Duration = Duration::from_secs(10);

/// What was seen at one look.
#[derive(Clone, Debug, Default)]
struct Look {
    at: Duration,
    writes: u64,
    requests: u64,
    messages: usize,
    /// Signs that the machine is too slow, by what is counted.
    strain: BTreeMap<String, u64>,
}

/// Loads the members and watches who reigns; gives what must not be.
pub async fn run(options: Options) -> Vec<String> {
    let mut cluster = TestCluster::start(3, options.common.failover_ms, "").await;
    cluster.root.disable_cleanup(true);
    println!("logs: {}", cluster.root.path().display());
    let load = FullLoad::prepare(&cluster).await;
    let (server, epoch) = cluster.serving(0).await;
    let lapsed = lapses::count(&cluster);
    let mut loaded = load.begin(&cluster, &options.volume).await;

    let begun = Instant::now();
    let whole = Duration::from_secs_f64(options.minutes * 60.0);
    let mut looks = vec![Look::default()];
    let mut findings = Vec::new();
    let mut reign = (server, epoch);
    while begun.elapsed() < whole {
        tokio::time::sleep(LOOK.min(whole.saturating_sub(begun.elapsed()))).await;
        let look = Look {
            at: begun.elapsed(),
            writes: loaded.writes.count.done.load(Ordering::Relaxed),
            requests: loaded.requests.count.done.load(Ordering::Relaxed),
            messages: load.sink.calls_len(),
            strain: strain(&cluster).await,
        };
        if let Some(last) = looks.last() {
            println!("{}", line(last, &look));
        }
        looks.push(look);
        // Each reign has an epoch of its own: one that came and went shows in the next.
        match cluster.connector_server(0).await {
            Ok(now) if now != reign => {
                let (at, old) = (begun.elapsed(), reign);
                findings.push(format!(
                    "by {at:.1?} member {} (epoch {}) had been followed by member {} (epoch {})",
                    old.0 + 1,
                    old.1,
                    now.0 + 1,
                    now.1
                ));
                reign = now;
            }
            Ok(_) => {}
            Err(problem) => println!("member-1 was asked who reigns: {problem}"),
        }
    }
    let took = begun.elapsed();
    let lapses = lapses::count(&cluster) - lapsed;
    if lapses > 0 {
        findings.push(format!("the lease lapsed {lapses} times"));
    }
    let published = loaded.finish().await;
    let lost = load.lost(&published).await;
    if !lost.is_empty() {
        findings.push(format!("{} messages were never handled", lost.len()));
    }
    let failed =
        [&loaded.writes, &loaded.requests].map(|load| load.count.failed.load(Ordering::Relaxed));
    let text = markdown(&options, &looks, took, failed, lapses, &findings);
    let raw = raw(&options, &looks, took, failed, lapses, &findings);
    report::write(&options.common.out, &options.report, &text, &raw);
    let keep = !findings.is_empty() || cluster::keep();
    cluster.root.disable_cleanup(keep);
    findings
}

/// What each member counts of its own slowness, summed up; of the worst the highest.
async fn strain(cluster: &TestCluster) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::<String, u64>::new();
    for member in &cluster.members {
        let Ok(answer) = http::get_json(&member.admin_url("/v1/member")).await else {
            continue;
        };
        for (name, value) in answer["strain"].as_object().into_iter().flatten() {
            let Some(value) = value.as_u64().filter(|_| name != "last_ago_s") else {
                continue;
            };
            let sum = sums.entry(name.clone()).or_default();
            *sum = match name.starts_with("worst") {
                true => value.max(*sum),
                false => *sum + value,
            };
        }
    }
    sums
}

fn rates(from: &Look, to: &Look) -> [f64; 3] {
    let seconds = (to.at - from.at).as_secs_f64();
    let rate = |from: u64, to: u64| (to - from) as f64 / seconds;
    [
        rate(from.writes, to.writes),
        rate(from.requests, to.requests),
        rate(from.messages as u64, to.messages as u64),
    ]
}

/// One look, while the run goes on.
fn line(from: &Look, to: &Look) -> String {
    let [writes, requests, messages] = rates(from, to);
    let at = to.at.as_secs();
    let strain = &to.strain;
    format!(
        "{at:5} s  {writes:.0} writes/s, {requests:.0} requests/s, {messages:.0} messages/s; {strain:?}"
    )
}

fn markdown(
    options: &Options,
    looks: &[Look],
    took: Duration,
    failed: [u64; 2],
    lapses: usize,
    findings: &[String],
) -> String {
    let (minutes, promise) = (options.minutes, options.common.failover_ms);
    let volume = &options.volume;
    let mut command = format!("make calm MINUTES={minutes}");
    if options.report != REPORT {
        let _ = write!(
            command,
            " ARGS=\"--report {} --value-bytes {} --keys {} --busy {}\"",
            options.report, volume.value_bytes, volume.keys, volume.busy
        );
    }
    let mut text = report::head("Full load without a takeover", &command);
    let last = looks.last().cloned().unwrap_or_default();
    let [writes, requests, messages] = rates(&Look::default(), &last);
    let slowest = |n: usize| {
        let rates = looks.windows(2).map(|pair| rates(&pair[0], &pair[1])[n]);
        rates.fold(f64::INFINITY, f64::min)
    };
    let (s0, s1, s2) = (slowest(0), slowest(1), slowest(2));
    let _ = writeln!(
        text,
        "\n{} writers of keys ({} bytes) at the three members and {} clients of a service through HAProxy, each asking again as soon as it was answered, \
         and up to {} messages a second through {} channels of RabbitMQ, for {:.1} minutes with `failover_ms` {promise}. Threads that only took the processor's time: {}.\n\n\
         | what | mean | slowest {} s | failed |\n|---|---|---|---|\n\
         | writes/s | {writes:.0} | {s0:.0} | {} |\n| requests/s | {requests:.0} | {s1:.0} | {} |\n| messages/s | {messages:.0} | {s2:.0} | 0 |",
        options.volume.writers,
        options.volume.value_bytes,
        options.volume.readers,
        options.volume.messages,
        CHANNELS.len(),
        took.as_secs_f64() / 60.0,
        options.volume.busy,
        LOOK.as_secs(),
        failed[0],
        failed[1],
    );
    let _ = writeln!(
        text,
        "\nTakeovers: {} (goal: 0). Lapses of the lease: {lapses} (goal: 0).",
        findings.iter().filter(|f| f.contains("followed")).count()
    );
    text.push_str(
        "\nSigns of strain that the members counted:\n\n| what | over all members |\n|---|---|\n",
    );
    for (name, value) in &last.strain {
        let _ = writeln!(text, "| `{name}` | {value} |");
    }
    for finding in findings {
        let _ = writeln!(text, "\n- {finding}");
    }
    text
}

fn raw(
    options: &Options,
    looks: &[Look],
    took: Duration,
    failed: [u64; 2],
    lapses: usize,
    findings: &[String],
) -> Value {
    let looks = looks.iter().map(|look| {
        json!({
            "seconds": look.at.as_secs_f64(), "writes": look.writes, "requests": look.requests,
            "messages": look.messages,
            "strain": look.strain,
        })
    });
    json!({
        "failover_ms": options.common.failover_ms, "seconds": took.as_secs_f64(),
        "failed_writes": failed[0], "failed_requests": failed[1], "lapses": lapses,
        "value_bytes": options.volume.value_bytes, "busy": options.volume.busy,
        "findings": findings,
        "looks": looks.collect::<Vec<_>>(),
    })
}
