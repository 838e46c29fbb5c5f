//! Measures what the documentation quotes and prints it as Markdown: `make figures`.
//! Not a test: it asserts nothing and `cargo test` leaves it out.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what a test prints is for whoever runs it"
)]
#![allow(missing_docs)]

use std::{fs, time::Duration};

use nix::sys::signal::Signal;
use quorate_clock::Instant;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    durations::median,
    eventually::eventually,
    http, machine,
    member::MemberProcess,
    programs::QUORATE,
    rabbitmq::RabbitBroker,
    upstream::UpstreamServer,
};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("| what | figure |\n|---|---|");
    row("machine", machine::describe());
    row(
        "binary",
        mib(fs::metadata(&*QUORATE).expect("the binary").len()),
    );
    let mut cluster = TestCluster::three().await;
    restart_to_ready(&mut cluster).await;
    footprint(&cluster).await;
    failover(&cluster).await;
    kill_to_next_message(&mut cluster).await;
}

fn row(what: &str, figure: impl std::fmt::Display) {
    println!("| {what} | {figure} |");
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64)
}

fn rss(pid: impl std::fmt::Display) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map_or("unknown".into(), |kib| mib(kib << 10))
}

fn spread(times: &[Duration]) -> String {
    let ms = |t: Duration| t.as_secs_f64() * 1000.0;
    let max = times.iter().max().copied().unwrap_or_default();
    format!(
        "median {:.0} ms, max {:.0} ms of {}",
        ms(median(times)),
        ms(max),
        times.len()
    )
}

async fn ready(member: &MemberProcess) {
    eventually("a ready member", SOON, || async {
        let url = member.admin_url("/health/ready");
        let answer = http::call(reqwest::Method::GET, url, &[], "").await?;
        (answer.status() == 200)
            .then_some(())
            .ok_or(answer.status().to_string())
    })
    .await;
}

async fn restart_to_ready(cluster: &mut TestCluster) {
    let mut times = Vec::new();
    for _ in 0..10 {
        let follower = cluster.follower().await;
        cluster.members[follower].kill();
        let start = Instant::now();
        cluster.members[follower].start(&[]);
        ready(&cluster.members[follower]).await;
        times.push(start.elapsed());
        cluster.voters(3).await;
    }
    row("start of a member to ready", spread(&times));
}

async fn footprint(cluster: &TestCluster) {
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    row("RSS of an idle leader", rss(cluster.members[leader].pid()));
    row(
        "RSS of an idle follower",
        rss(cluster.members[follower].pid()),
    );
}

/// SIGSTOP of the leader to the first write done by its successor.
async fn failover(cluster: &TestCluster) {
    let mut times = Vec::new();
    for trial in 0..20 {
        let leader = cluster.leader().await;
        let asked = (0..3)
            .filter(|n| *n != leader)
            .nth(trial % 2)
            .expect("a follower");
        let url = cluster.members[asked].admin_url(&format!("/v1/kv/trial-{trial}"));
        let stopped = Instant::now();
        cluster.members[leader].signal(Signal::SIGSTOP);
        let gap = http::first_write(&url, stopped).await;
        times.push(gap);
        cluster.members[leader].signal(Signal::SIGCONT);
        cluster.voters(3).await;
    }
    row(
        "SIGSTOP of the leader to the next write, failover_ms 500",
        spread(&times),
    );
}

/// kill -9 of the connector server to the first message handled under the new epoch.
async fn kill_to_next_message(cluster: &mut TestCluster) {
    let rabbit = RabbitBroker::start().await;
    let broker = rabbit.client().await;
    broker.declare("orders").await;
    let upstream = UpstreamServer::start().await;
    cluster
        .put(
            0,
            "service",
            json!({"name": "orders", "upstream": upstream.url()}),
        )
        .await;
    let connection = json!({"name": "rabbit", "host": "127.0.0.1", "port": rabbit.port(), "username": "guest", "password": "guest"});
    cluster.put(0, "amqp_connection", connection).await;
    cluster.put(0, "amqp_channel", json!({"name": "orders", "connection": "rabbit", "queue": "orders", "service": "orders"})).await;
    let status = cluster.connector_in(0, "orders", "active").await;
    row("RSS of a connector process", rss(&status["pid"]));
    let mut times = Vec::new();
    for trial in 0..20 {
        let leader = cluster.leader().await;
        cluster.connector_in(leader, "orders", "active").await;
        let killed = Instant::now();
        cluster.members[leader].kill();
        broker.publish("orders", [format!("trial-{trial}")]).await;
        eventually("the message", SOON, || async {
            (upstream.handled() > trial)
                .then_some(())
                .ok_or(upstream.handled().to_string())
        })
        .await;
        times.push(killed.elapsed());
        cluster.members[leader].start(&[]);
        cluster.voters(3).await;
    }
    row(
        "kill -9 of the connector server to the next message handled, failover_ms 500",
        spread(&times),
    );
}
