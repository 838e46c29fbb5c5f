//! kill -9 of followers, leaders and everybody: nothing acknowledged is lost.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http,
};
use reqwest::Method;

/// Writers that go on through every fault and remember what was acknowledged.
struct Writers {
    acknowledged: Arc<Mutex<BTreeMap<String, u64>>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    fn start(cluster: &TestCluster) -> Writers {
        let acknowledged = Arc::new(Mutex::new(BTreeMap::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let urls: Vec<_> = cluster
            .members
            .iter()
            .map(|m| m.admin_url("/v1/kv/"))
            .collect();
        let tasks = (0..6).map(|worker| {
            let (acknowledged, stop) = (acknowledged.clone(), stop.clone());
            let url = urls[worker % urls.len()].clone();
            tokio::spawn(async move {
                let mut n = 0;
                while !stop.load(Ordering::SeqCst) {
                    let key = format!("w{worker}-{n:06}");
                    n += 1;
                    match http::put(&format!("{url}{key}"), key.clone()).await {
                        Ok(revision) => {
                            acknowledged.lock().insert(key, revision);
                        }
                        Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    }
                }
            })
        });
        let tasks = tasks.collect();
        Writers {
            acknowledged,
            stop,
            tasks,
        }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().len()
    }

    /// Waits until `more` further writes have been acknowledged.
    async fn more(&self, more: usize) {
        let from = self.count();
        eventually("further writes", SOON, || async {
            match self.count() >= from + more {
                true => Ok(()),
                false => Err(format!("{} of {more}", self.count() - from)),
            }
        })
        .await;
    }

    async fn finish(self) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.expect("a writer");
        }
        let acknowledged = self.acknowledged.lock();
        acknowledged.clone()
    }
}

/// Every acknowledged key is there with its revision, at every member.
async fn assert_all_there(cluster: &TestCluster, acknowledged: &BTreeMap<String, u64>) {
    assert!(
        acknowledged.len() > 50,
        "only {} writes",
        acknowledged.len()
    );
    let revisions: std::collections::BTreeSet<_> = acknowledged.values().collect();
    assert_eq!(
        revisions.len(),
        acknowledged.len(),
        "each has a revision of its own"
    );
    for member in &cluster.members {
        let mut found = BTreeMap::new();
        let mut after = String::new();
        loop {
            let path = format!("/v1/kv?prefix=w&limit=500&after={after}");
            let answer = http::get_json(&member.admin_url(&path))
                .await
                .expect("a listing");
            let entries = answer["entries"].as_array().expect("entries").clone();
            for entry in &entries {
                let key = entry["key"].as_str().expect("a key").to_owned();
                found.insert(key, entry["revision"].as_u64().expect("a revision"));
            }
            match entries.last() {
                Some(last) => after = last["key"].as_str().expect("a key").to_owned(),
                None => break,
            }
        }
        for (key, revision) in acknowledged {
            assert_eq!(found.get(key), Some(revision), "{key} at {}", member.name);
        }
    }
}

// guarantee: DATA-1
#[tokio::test]
async fn acknowledged_writes_survive_kills_of_any_and_all() {
    let mut cluster = TestCluster::three().await;
    let writers = Writers::start(&cluster);
    writers.more(50).await;

    let follower = cluster.follower().await;
    cluster.members[follower].kill();
    writers.more(50).await;
    cluster.members[follower].start(&[]);
    cluster.voters(3).await;

    for _ in 0..3 {
        let leader = cluster.leader().await;
        cluster.members[leader].kill();
        cluster.leader_but(Some(leader)).await;
        writers.more(50).await;
        cluster.members[leader].start(&[]);
        cluster.voters(3).await;
    }

    for member in &mut cluster.members {
        member.kill();
    }
    for member in &mut cluster.members {
        member.start(&[]);
    }
    cluster.voters(3).await;
    writers.more(50).await;
    let acknowledged = writers.finish().await;
    assert_all_there(&cluster, &acknowledged).await;
}

#[tokio::test]
async fn sigterm_transfers_leadership_and_ends_within_ten_seconds() {
    let mut cluster = TestCluster::three().await;
    let leader = cluster.leader().await;
    let start = quorate_clock::Instant::now();
    let status = cluster.members[leader].stop();
    assert!(status.success(), "{}", cluster.members[leader].log_tail());
    assert!(start.elapsed() < Duration::from_secs(10));
    let next = cluster.leader_but(Some(leader)).await;
    let url = cluster.members[next].admin_url("/v1/kv/after");
    http::put(&url, "x").await.expect("a write");
}

/// Both halves of a promise: a write that was answered is durable on a quorum, and one
/// that reached only a killed leader is never told as done.
#[tokio::test]
async fn a_leader_without_followers_acknowledges_nothing() {
    let mut cluster = TestCluster::three().await;
    let leader = cluster.leader().await;
    for n in 0..3 {
        if n != leader {
            cluster.members[n].kill();
        }
    }
    let url = cluster.members[leader].admin_url("/v1/kv/alone");
    let answer = http::call(Method::PUT, &url, &[], "x")
        .await
        .expect("an answer");
    let status = answer.status().as_u16();
    let problem: serde_json::Value = answer.json().await.expect("a problem");
    let code = problem["code"].as_str().unwrap_or_default().to_owned();
    let told = (status, code.as_str());
    assert!(
        told == (503, "no_quorum") || told == (504, "unknown_outcome"),
        "{told:?}"
    );
    for n in 0..3 {
        if n != leader {
            cluster.members[n].start(&[]);
        }
    }
    cluster.voters(3).await;
}
