//! A network that is thinner than what is written: values as large as they may be, as fast as
//! they are taken, over 100 Mbit/s. That costs time, and neither the lease nor an election.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use quorate_raft::Timing;

use crate::support::{
    cluster::{Cluster, SOON},
    http,
    netns::Net,
    wait::until,
};

const FAILOVER_MS: u64 = 500;
const VALUE: usize = 1 << 20;
const WRITERS: usize = 16;
const SAMPLES: usize = 500;

/// A number in a member's metrics; 0 if it is not told yet.
async fn metric(cluster: &Cluster, n: usize, name: &str) -> f64 {
    let url = cluster.members[n].admin_url("/metrics");
    let answer = http::call(reqwest::Method::GET, &url, &[], "").await;
    let text = answer.expect("an answer").text().await.expect("text");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
    let found = lines.find_map(|rest| rest.strip_prefix(' ')?.trim().parse().ok());
    found.unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_values_on_a_thin_network_cost_no_lease_and_no_election() {
    let Some(net) = Net::new(3).map(Arc::new) else {
        return;
    };
    let cluster = Cluster::start_in(&net, FAILOVER_MS, "").await;
    let leader = cluster.leader().await;
    if !net.thin("100mbit") {
        return;
    }
    let lease = Timing::from_failover_ms(FAILOVER_MS)
        .expect("a promise")
        .lease;
    let term = metric(&cluster, leader, "quorate_term").await;

    let over = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| {
            let url = cluster.members[leader].admin_url(&format!("/v1/kv/large-{n}"));
            let (over, written) = (over.clone(), written.clone());
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    if http::put(&url, vec![b'x'; VALUE]).await.is_ok() {
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    until("the links are full", SOON, || async {
        let done = written.load(Ordering::Relaxed);
        (done > 4).then_some(()).ok_or(format!("{done} values"))
    })
    .await;

    let mut longest = Duration::ZERO;
    let mut lapses = 0;
    for _ in 0..SAMPLES {
        let heard = metric(&cluster, leader, "quorate_leader_heard_seconds").await;
        let heard = Duration::from_secs_f64(heard);
        longest = longest.max(heard);
        lapses += usize::from(heard > lease);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    over.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("a writer");
    }
    let after = metric(&cluster, leader, "quorate_term").await;
    println!(
        "{} values written; not heard for {longest:?} at most, {lapses} of {SAMPLES} looks \
         behind the lease, {} elections",
        written.load(Ordering::Relaxed),
        after - term,
    );
    assert_eq!((lapses, after), (0, term), "not heard for {longest:?}");
}
