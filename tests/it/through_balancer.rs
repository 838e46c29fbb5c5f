//! HTTP through HAProxy while one member is killed and another restarted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use quorate_testkit::{
    balancer::BalancerProcess,
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http,
};
use reqwest::Method;
use serde_json::json;

// guarantee: HTTP-2
#[tokio::test]
async fn no_get_fails_during_member_kill_and_restart() {
    let mut cluster = TestCluster::three().await;
    cluster
        .put(0, "service", json!({"name": "echo-it", "builtin": "echo"}))
        .await;
    cluster
        .put(
            0,
            "http_channel",
            json!({"name": "c", "path": "/echo", "service": "echo-it"}),
        )
        .await;
    let balancer = BalancerProcess::start(&cluster).await;
    let alive = http::call(Method::GET, balancer.at("/zato-lb-alive"), &[], "")
        .await
        .expect("an answer");
    assert_eq!(alive.status(), 200);

    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    // A client that keeps its connections, as real ones do.
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .build()
        .expect("a client");
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (stop, done, client) = (stop.clone(), done.clone(), client.clone());
            let url = balancer.at("/echo");
            tokio::spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    match client.get(&url).send().await {
                        Ok(answer) if answer.status() == 200 => {
                            done.fetch_add(1, Ordering::SeqCst);
                        }
                        Ok(answer) => {
                            failed.push(format!("{} {:?}", answer.status(), answer.text().await))
                        }
                        Err(problem) => failed.push(format!("{problem:?}")),
                    }
                }
                failed
            })
        })
        .collect();
    let progress = async |more: usize| {
        let from = done.load(Ordering::SeqCst);
        eventually("further requests", SOON, || async {
            let count = done.load(Ordering::SeqCst) - from;
            (count >= more).then_some(()).ok_or(count.to_string())
        })
        .await;
    };
    progress(500).await;
    cluster.members[0].kill();
    progress(500).await;
    cluster.members[0].start(&[]);
    cluster.voters(3).await;
    progress(500).await;
    assert!(cluster.members[1].stop().success());
    progress(500).await;
    cluster.members[1].start(&[]);
    cluster.voters(3).await;
    progress(500).await;
    stop.store(true, Ordering::SeqCst);
    let mut failed = Vec::new();
    for task in tasks {
        failed.extend(task.await.expect("a client"));
    }
    println!(
        "balancer: {} GETs done, {} failed",
        done.load(Ordering::SeqCst),
        failed.len()
    );
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test]
async fn joined_member_serves_and_without_members_envelope_answers() {
    let mut cluster = TestCluster::start(1, 500, "").await;
    let balancer = BalancerProcess::start(&cluster).await;
    let join = cluster.members[0].admin_url("");
    let new = cluster.add_member();
    cluster.members[new].start(&["--join", &join]);
    cluster.voters(2).await;
    let port = cluster.members[new].http.to_string();
    eventually("the newcomer in haproxy.cfg", SOON, || async {
        let path = cluster.root.path().join("balancer/haproxy.cfg");
        let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
        text.contains(&port).then_some(()).ok_or(text)
    })
    .await;
    for member in &mut cluster.members {
        member.kill();
    }
    eventually("the envelope", SOON, || async {
        let answer = http::call(Method::GET, balancer.at("/zato/ping"), &[], "").await?;
        let status = answer.status().as_u16();
        let cid = answer.headers().contains_key("x-zato-cid");
        let text = answer.text().await.map_err(|e| e.to_string())?;
        let right = status == 503 && cid && text.contains("ZATO_ERROR");
        right.then_some(()).ok_or(format!("{status} {cid} {text}"))
    })
    .await;
}
