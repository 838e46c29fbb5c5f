//! Figures, printed. Run with `cargo test --test connector -- --ignored --nocapture figures`.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_resources::Kind;
use serde_json::json;

use super::world::*;

fn kib(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints figures"]
async fn a_connector_process_in_figures() {
    let (broker, queue) = (broker().await, unique("figures"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 500).await;
    let pid = member.status(&queue).unwrap().pid.unwrap();
    let (before, since) = (cpu_ticks(pid), Instant::now());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let ticks = cpu_ticks(pid) - before;
    println!(
        "idle: {} KiB resident, of them {} KiB its own; {ticks} ticks of 10 ms in {:?}",
        kib(pid, "VmRSS"),
        kib(pid, "RssAnon"),
        since.elapsed()
    );
    for (prefetch, n) in [(10_u64, 10_000), (100, 20_000)] {
        let mut changed = channel(&queue);
        changed["prefetch"] = json!(prefetch);
        changed["active"] = json!(false);
        member.group.put(Kind::AmqpChannel, changed.clone());
        client
            .publish(&queue, (0..n).map(|n| format!("{n:01024}")))
            .await;
        changed["active"] = json!(true);
        member.group.put(Kind::AmqpChannel, changed);
        let start = Instant::now();
        let done = |status: &quorate_supervisor::ConnectorStatus| status.counts.handled == n;
        let status = member.when(&queue, "all handled", done).await;
        let rate = n as f64 / start.elapsed().as_secs_f64();
        let resident = kib(status.pid.unwrap(), "VmRSS");
        println!(
            "prefetch {prefetch}: {rate:.0} messages/s of 1 KiB; then {resident} KiB resident"
        );
    }
}
