//! The promise for a silent loss: SIGSTOP of the leader, twenty times.

use std::time::Duration;

use nix::sys::signal::Signal;
use quorate_clock::Instant;
use quorate_testkit::{cluster::TestCluster, durations::median, http::first_write};

const TRIALS: usize = 20;

// guarantee: FAILOVER-4
#[tokio::test]
async fn silent_leader_is_replaced_within_500_ms() {
    let cluster = TestCluster::three().await;
    let mut gaps = Vec::new();
    for trial in 0..TRIALS {
        let leader = cluster.leader().await;
        let others: Vec<_> = (0..3).filter(|n| *n != leader).collect();
        let asked = others[trial % 2];
        let url = cluster.members[asked].admin_url(&format!("/v1/kv/trial-{trial}"));
        let stopped = Instant::now();
        cluster.members[leader].signal(Signal::SIGSTOP);
        let gap = first_write(&url, stopped).await;
        cluster.members[leader].signal(Signal::SIGCONT);
        gaps.push(gap);
        cluster.voters(3).await;
    }
    let (middle, longest) = (median(&gaps), *gaps.iter().max().expect("trials"));
    println!("silent loss, failover_ms 500: median {middle:?}, max {longest:?} of {TRIALS}");
    // The members, their disks and this test share one machine, which may stand still by
    // itself: one of 340 took 550 ms, all others 380 at most.
    let promise = Duration::from_millis(500);
    let missed = gaps.iter().filter(|gap| **gap > promise).count();
    assert!(missed <= 1 && longest <= promise * 2, "{gaps:?}");
}
