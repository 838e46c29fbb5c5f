//! A member that was away gets a snapshot, also while writes go on, also when killed midway.

use std::time::Duration;

use futures_util::StreamExt;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http,
};
use reqwest::Method;

const SMALL_LOG: &str = "snapshot.entries = 200\nsnapshot.keep = 20";
const VALUE: usize = 200 * 1024;

async fn fill(cluster: &TestCluster, at: usize, prefix: &str, count: usize) {
    let url = cluster.members[at].admin_url(&format!("/v1/kv/{prefix}"));
    futures_util::stream::iter(0..count)
        .map(|n| http::put(format!("{url}-{n:05}"), vec![b'x'; VALUE]))
        .buffer_unordered(8)
        .for_each(|result| async {
            result.expect("a write");
        })
        .await;
}

/// The member's own applied state holds `key` (a stale read asks nobody else).
async fn holds(cluster: &TestCluster, at: usize, key: &str) {
    eventually(
        &format!("{key} at member {at}"),
        Duration::from_secs(90),
        || async {
            let url = cluster.members[at].admin_url(&format!("/v1/kv/{key}?consistency=stale"));
            let answer = http::call(Method::GET, &url, &[], "").await?;
            match answer.status().as_u16() {
                200 => Ok(()),
                other => Err(other.to_string()),
            }
        },
    )
    .await;
}

#[tokio::test]
async fn absent_member_catches_up_by_snapshot_under_kills() {
    let mut cluster = TestCluster::start(3, 500, SMALL_LOG).await;
    let away = cluster.follower().await;
    let at = cluster.leader().await;
    cluster.members[away].kill();
    // 120 MB of state, far behind what the log still has.
    fill(&cluster, at, "big", 600).await;

    cluster.members[away].start(&[]);
    let log = cluster.members[away].log();
    eventually("the snapshot to arrive", SOON, || {
        let folder = cluster.members[away].dir.join("data/snapshots");
        async move {
            let some = std::fs::read_dir(&folder)
                .map_err(|e| e.to_string())?
                .next()
                .is_some();
            some.then_some(()).ok_or("nothing yet".to_owned())
        }
    })
    .await;
    cluster.members[away].kill();
    cluster.members[away].start(&[]);
    fill(&cluster, at, "meanwhile", 60).await;
    holds(&cluster, away, "big-00599").await;
    holds(&cluster, away, "meanwhile-00059").await;
    cluster.voters(3).await;
    let text = std::fs::read_to_string(log).unwrap_or_default();
    assert!(!text.contains("panicked"), "{text}");

    // The log behind the snapshots is gone: 600 entries of 200 KiB do not stay on disk twice.
    let size = folder_size(&cluster.members[at].dir.join("data/log"));
    assert!(size < 120 << 20, "the log has {size} bytes");

    // And a restart finds everything.
    assert!(cluster.members[away].stop().success());
    cluster.members[away].start(&[]);
    holds(&cluster, away, "big-00000").await;
}

fn folder_size(dir: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(dir).expect("a folder");
    files
        .filter_map(|f| f.ok()?.metadata().ok())
        .map(|m| m.len())
        .sum()
}
