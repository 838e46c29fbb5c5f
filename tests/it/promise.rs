//! The failover promise as a value of the cluster: changed for all members at once, under
//! writes, with members away, and with settings that say otherwise.

use std::{
    fs,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use nix::sys::signal::Signal;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http::{self, HttpError},
    programs::QUORATE,
};
use reqwest::Method;
use serde_json::{Value, json};

struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

/// `quorate cluster ...`, on a thread of its own.
async fn quorate_cluster(admin: String, arguments: &[&str]) -> Run {
    let mut command = Command::new(&*QUORATE);
    command
        .arg("cluster")
        .args(arguments)
        .env("QUORATE_ADMIN", admin);
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("a run")
        .expect("its output");
    Run {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

async fn status(cluster: &TestCluster, n: usize) -> Result<Value, HttpError> {
    http::get_json(&cluster.members[n].admin_url("/v1/cluster/status")).await
}

/// Waits until a member's status says what `wanted` looks for.
async fn status_with(cluster: &TestCluster, n: usize, what: &str, wanted: impl Fn(&Value) -> bool) {
    let name = &cluster.members[n].name;
    eventually(&format!("{what} at {name}"), SOON, || async {
        let seen = status(cluster, n).await?;
        match wanted(&seen) {
            true => Ok(()),
            false => Err(seen.to_string()),
        }
    })
    .await;
}

fn warns(status: &Value, words: &[&str]) -> bool {
    let warnings = status["warnings"].as_array().into_iter().flatten();
    let mut texts = warnings.filter_map(Value::as_str);
    texts.any(|text| words.iter().all(|word| text.contains(word)))
}

// guarantee: LEASE-3
#[tokio::test]
async fn promise_changes_under_writes_without_election() {
    let cluster = TestCluster::three().await;
    let leader = cluster.leader().await;
    let term = status(&cluster, leader).await.expect("a status")["term"].clone();
    let (stop, done) = (AtomicBool::new(false), AtomicU32::new(0));
    let writes = async {
        let urls: Vec<String> = (0..3)
            .map(|n| cluster.members[n].admin_url("/v1/kv/k"))
            .collect();
        while !stop.load(Ordering::Relaxed) {
            let n = done.fetch_add(1, Ordering::Relaxed) as usize;
            http::put(&urls[n % 3], n.to_string())
                .await
                .expect("a write during the change");
        }
    };
    let changes = async {
        for (failover_ms, asked) in [("2000", 0), ("500", 1), ("2000", 2), ("500", 0)] {
            let admin = cluster.members[asked].admin_url("");
            let run = quorate_cluster(admin, &["set", "failover_ms", failover_ms]).await;
            assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
            assert_eq!(run.out, format!("failover_ms  {failover_ms} ms\n"));
            for n in 0..3 {
                status_with(&cluster, n, failover_ms, |seen| {
                    let settings = &seen["settings"];
                    settings["settled"] == true
                        && settings["missing"] == json!([])
                        && seen["failover_ms"].as_u64() == failover_ms.parse().ok()
                })
                .await;
            }
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(writes, changes);
    let after = status(&cluster, leader).await.expect("a status");
    assert_eq!(after["term"], term, "there was an election");
    println!("{} writes during four changes", done.into_inner());
    let run = quorate_cluster(cluster.members[1].admin_url(""), &["get"]).await;
    assert_eq!(run.out, "failover_ms  500 ms\n");
}

/// No member is started again in between.
// guarantee: LEASE-3
#[tokio::test]
async fn patience_with_silent_leader_follows_promise() {
    let cluster = TestCluster::three().await;
    let leader = cluster.leader().await;
    let term = status(&cluster, leader).await.expect("a status")["term"].clone();
    let other = (leader + 1) % 3;
    let admin = cluster.members[other].admin_url("");
    // Longer than 500 ms bear, and shorter than the patience of 6000.
    let pause = Duration::from_millis(1500);
    for (failover_ms, replaced) in [("6000", false), ("500", true)] {
        let run = quorate_cluster(admin.clone(), &["set", "failover_ms", failover_ms]).await;
        assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
        cluster.members[leader].signal(Signal::SIGSTOP);
        tokio::time::sleep(pause).await;
        cluster.members[leader].signal(Signal::SIGCONT);
        status_with(&cluster, leader, "a leader", |seen| {
            seen["leader"].is_object()
        })
        .await;
        let seen = status(&cluster, other).await.expect("a status");
        assert_eq!(seen["term"] != term, replaced, "{failover_ms}: {seen}");
    }
}

// guarantee: LEASE-3
#[tokio::test]
async fn absent_member_delays_promise_change_until_return() {
    let mut cluster = TestCluster::three().await;
    let leader = cluster.leader().await;
    let away = (leader + 1) % 3;
    let name = cluster.members[away].name.clone();
    cluster.members[away].kill();
    let admin = cluster.members[leader].admin_url("");
    let run = quorate_cluster(admin.clone(), &["set", "failover_ms", "900"]).await;
    assert_eq!(run.code, Some(3), "{}{}", run.out, run.err);
    let told = format!("failover_ms  500 ms, 900 ms once {name} has applied it\n");
    assert_eq!(run.out, told);
    let why = format!("{name} has not applied it yet");
    assert!(run.err.contains(&why), "{}", run.err);
    let seen = status(&cluster, leader).await.expect("a status");
    assert_eq!(seen["settings"]["missing"], json!([name]));
    assert!(
        warns(&seen, &["from 500 to 900", &name]),
        "{}",
        seen["warnings"]
    );

    cluster.members[away].start(&[]);
    for n in 0..3 {
        status_with(&cluster, n, "the change to be settled", |seen| {
            seen["settings"]["settled"] == true && seen["failover_ms"] == 900
        })
        .await;
    }
    // It begins with what it goes by, whatever its settings say.
    cluster.members[away].stop();
    let record = cluster.members[away].dir.join("data/failover");
    let record: Value =
        serde_json::from_slice(&fs::read(record).expect("a record")).expect("a record");
    assert_eq!(record["lease_ms"], 900);
    assert_eq!(record["patience_ms"], 900);

    // A change that waits for a member that is away can be taken back, which needs nobody.
    let run = quorate_cluster(admin.clone(), &["set", "failover_ms", "500"]).await;
    assert_eq!(run.code, Some(3), "{}{}", run.out, run.err);
    let run = quorate_cluster(admin, &["set", "failover_ms", "900"]).await;
    assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
}

// guarantee: LEASE-3
#[tokio::test]
async fn settings_with_other_promise_are_reported_and_ignored() {
    let mut cluster = TestCluster::three().await;
    let leader = cluster.leader().await;
    let other = (leader + 1) % 3;
    let name = cluster.members[other].name.clone();
    let term = status(&cluster, leader).await.expect("a status")["term"].clone();
    cluster.members[other].stop();
    let config = cluster.members[other].config();
    let text = fs::read_to_string(&config).expect("its settings");
    let text = text.replace("failover_ms = 500", "failover_ms = 5000");
    fs::write(&config, text).expect("its settings");
    cluster.members[other].start(&[]);
    for n in 0..3 {
        let at = &cluster.members[n].name;
        eventually(
            &format!("a warning at {at}"),
            Duration::from_secs(5),
            || async {
                let seen = status(&cluster, n).await?;
                let metrics = http::call(
                    Method::GET,
                    &cluster.members[n].admin_url("/metrics"),
                    &[],
                    "",
                )
                .await?;
                let metrics = metrics.text().await.map_err(|error| error.to_string())?;
                let line = format!("quorate_failover_ms_differs{{member=\"{name}\"}} 1");
                let log = fs::read_to_string(cluster.members[n].log()).unwrap_or_default();
                let told = warns(&seen, &[&name, "5000", "500"])
                    && seen["settings"]["differing"] == json!({ &name: 5000 })
                    && metrics.contains(&line)
                    && log.contains("name another failover_ms");
                match told {
                    true => Ok(()),
                    false => Err(seen["warnings"].to_string()),
                }
            },
        )
        .await;
        let seen = status(&cluster, n).await.expect("a status");
        assert_eq!(seen["failover_ms"], 500, "the cluster's counts");
    }
    let after = status(&cluster, leader).await.expect("a status");
    assert_eq!(after["term"], term, "there was an election");

    // Whoever joins takes the cluster's promise.
    let newcomer = cluster.add_member();
    let config = cluster.members[newcomer].config();
    let text = fs::read_to_string(&config).expect("its settings");
    fs::write(
        &config,
        text.replace("failover_ms = 500", "failover_ms = 9000"),
    )
    .expect("its settings");
    let join = cluster.members[leader].admin_url("");
    cluster.members[newcomer].start(&["--join", &join]);
    cluster.voters(4).await;
    let seen = status(&cluster, newcomer).await.expect("a status");
    assert_eq!(seen["failover_ms"], 500);
}

#[tokio::test]
async fn impossible_promise_is_refused_with_valid_range() {
    let cluster = TestCluster::start(1, 500, "").await;
    let admin = cluster.members[0].admin_url("");
    for (setting, value, says) in [
        ("failover_ms", "99", "failover_ms"),
        ("failover_ms", "60001", "failover_ms"),
        ("failover_ms", "soon", "failover_ms"),
        ("failover_ms", "500.5", "failover_ms"),
        ("failover_ms", "", "failover_ms"),
        ("failover", "500", "is no setting of the cluster"),
    ] {
        let run = quorate_cluster(admin.clone(), &["set", setting, value]).await;
        assert_eq!(run.code, Some(1), "{value}: {}{}", run.out, run.err);
        for text in [says, value, "from 100 to 60000"] {
            assert!(run.err.contains(text), "{text} is not in: {}", run.err);
        }
        assert!(run.out.is_empty(), "{}", run.out);
    }
    let seen = status(&cluster, 0).await.expect("a status");
    assert_eq!(seen["failover_ms"], 500);
    let run = quorate_cluster(admin, &["set", "failover_ms", "100"]).await;
    assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
}
