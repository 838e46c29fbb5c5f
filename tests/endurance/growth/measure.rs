//! What is measured alike of resources and of keys: restarts, memory, elections.

use std::{fs, time::Duration};

use quorate_clock::Instant;
use quorate_testkit::{
    cluster::TestCluster,
    eventually::{NotYet, eventually},
    http,
};
use reqwest::Method;
use serde::Serialize;

use crate::footprint::Process;

/// How long anything here may take; what takes longer is a fault.
const LIMIT: Duration = Duration::from_secs(600);
/// How long a write may take that is tried again.
const TRY: Duration = Duration::from_secs(1);

/// How long members take to come back.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Restarts {
    /// From the start of one that was killed to its `/health/ready`, in seconds.
    pub one: f64,
    /// From the start of all three, killed at once, to the first write, in seconds.
    pub three: f64,
    /// The same to the last one's `/health/ready`, in seconds.
    pub three_ready: f64,
}

/// Kills and starts a follower, and then all.
pub async fn restarts(cluster: &mut TestCluster) -> Restarts {
    let follower = cluster.follower().await;
    cluster.members[follower].kill();
    let begun = Instant::now();
    cluster.members[follower].start(&[]);
    ready(cluster, follower).await;
    let one = begun.elapsed().as_secs_f64();
    cluster.voters(cluster.members.len()).await;

    cluster.members.iter_mut().for_each(|member| member.kill());
    let begun = Instant::now();
    cluster
        .members
        .iter_mut()
        .for_each(|member| member.start(&[]));
    first_write(cluster).await;
    let three = begun.elapsed().as_secs_f64();
    for n in 0..cluster.members.len() {
        ready(cluster, n).await;
    }
    Restarts {
        one,
        three,
        three_ready: begun.elapsed().as_secs_f64(),
    }
}

async fn ready(cluster: &TestCluster, n: usize) {
    let url = cluster.members[n].admin_url("/health/ready");
    eventually("a member that is ready", LIMIT, || async {
        let answer = http::call(Method::GET, &url, &[], "").await?;
        match answer.status().as_u16() {
            200 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
}

async fn first_write(cluster: &TestCluster) {
    let mut asked = cluster.members.iter().cycle();
    eventually("a write", LIMIT, || {
        let member = asked.next().expect("members go round for ever");
        let url = member.admin_url("/v1/kv/first-write");
        async move {
            let put = tokio::time::timeout(TRY, http::put(&url, "x"));
            match put.await {
                Ok(put) => put.map_err(NotYet::from),
                Err(_) => Err(NotYet::Seen("no answer in time".to_owned())),
            }
        }
    })
    .await;
}

/// The memory of a member, the mean of all, in KiB: its part of the pages that it has.
pub fn memory(cluster: &TestCluster) -> u64 {
    let of = |pid| Process::of(pid).map_or(0, |process| process.pss);
    let all = cluster.members.iter().map(|member| of(member.pid()));
    all.sum::<u64>() / cluster.members.len() as u64
}

/// The leader's term, once there is a leader.
pub async fn term(cluster: &TestCluster) -> u64 {
    let url = cluster.members[0].admin_url("/v1/cluster/leader");
    eventually("a term", LIMIT, || async {
        let answer = http::get_json(&url).await?;
        answer["term"].as_u64().ok_or(answer.to_string())
    })
    .await
}

/// The bytes of the newest snapshot of the first member, if it has finished one.
pub fn snapshot_bytes(cluster: &TestCluster) -> Option<u64> {
    let folder = cluster.members[0].dir.join("data/snapshots");
    let files = fs::read_dir(folder)
        .expect("a folder of snapshots")
        .flatten();
    let newest = files
        .filter(|file| file.path().extension().is_some_and(|it| it == "snapshot"))
        .max_by_key(|file| file.file_name())?;
    newest.metadata().ok().map(|it| it.len())
}
