//! Members that come back with other peer addresses, more than one at a time.

use std::{fs, time::Duration};

use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http, ports,
};
use reqwest::Method;
use serde_json::json;

const WITHIN: Duration = Duration::from_secs(10);

/// Another peer port in a member's settings; the member is down.
fn moves(cluster: &mut TestCluster, n: usize) {
    let member = &mut cluster.members[n];
    let port = ports::free();
    let text = fs::read_to_string(member.config()).expect("its settings");
    let text = text.replace(&member.peer.to_string(), &port.to_string());
    fs::write(member.config(), text).expect("its settings");
    member.peer = port;
}

async fn known_where_they_are(cluster: &TestCluster) {
    for asked in &cluster.members {
        eventually("every member known where it is", WITHIN, || async {
            let told = http::get_json(&asked.admin_url("/v1/cluster/members")).await?;
            let rows = told["members"].as_array().cloned().unwrap_or_default();
            let right = cluster.members.iter().all(|member| {
                let peer = format!("{}:{}", member.ip, member.peer);
                let row = rows.iter().find(|row| row["name"] == member.name.as_str());
                row.is_some_and(|row| row["peer"] == peer.as_str() && row["state"] == "alive")
            });
            right.then_some(()).ok_or(told.to_string())
        })
        .await;
    }
}

/// Each member takes a write as soon as it answers, whatever it knows of where the others are.
async fn writes_through_each(cluster: &TestCluster) {
    for (n, member) in cluster.members.iter().enumerate() {
        let url = member.admin_url(&format!("/v1/config/service/s-{n}"));
        let put = json!({"name": format!("s-{n}"), "builtin": "echo"}).to_string();
        eventually("a write", WITHIN, || http::put(&url, put.clone())).await;
    }
}

// guarantee: DATA-5
#[tokio::test]
async fn moved_members_find_each_other_by_admin_urls() {
    let mut cluster = TestCluster::three().await;
    for member in &mut cluster.members {
        assert!(member.stop().success());
    }
    for n in 0..3 {
        moves(&mut cluster, n);
    }
    // Without a word of where the others are, it says what is wrong.
    cluster.members[0].start(&[]);
    let peer = cluster.members[0].peer.to_string();
    eventually("a warning", WITHIN, || async {
        let told = http::get_json(&cluster.members[0].admin_url("/v1/cluster/status")).await?;
        let warnings = told["warnings"].to_string();
        let said = warnings.contains(&peer) && warnings.contains("know it at");
        said.then_some(()).ok_or(warnings)
    })
    .await;
    assert!(cluster.members[0].stop().success());
    let urls: Vec<_> = cluster.members.iter().map(|m| m.admin_url("")).collect();
    let urls = urls.join(",");
    for member in &mut cluster.members {
        member.start(&["--join", &urls]);
    }
    cluster.leader().await;
    writes_through_each(&cluster).await;
    known_where_they_are(&cluster).await;
}

// guarantee: DATA-5
#[tokio::test]
async fn two_moved_members_are_accepted_under_any_leader() {
    let mut cluster = TestCluster::three().await;
    for member in &mut cluster.members {
        assert!(member.stop().success());
    }
    moves(&mut cluster, 0);
    moves(&mut cluster, 1);
    // The one that has moved leads before the other comes back.
    cluster.members[1].start(&[]);
    cluster.members[2].start(&[]);
    let url = cluster.members[2].admin_url("/v1/cluster/transfer-leadership");
    eventually("a leader that has moved", SOON, || async {
        let to = json!({"to": "member-2"}).to_string();
        let json = [("content-type", "application/json")];
        let answer = http::call(Method::POST, &url, &json, to).await?;
        let leader = http::get_json(&cluster.members[2].admin_url("/v1/cluster/leader")).await?;
        let name = leader["leader"]["name"].clone();
        let told = format!("{name}, {}", answer.status());
        (name == "member-2").then_some(()).ok_or(told)
    })
    .await;
    cluster.members[0].start(&[]);
    writes_through_each(&cluster).await;
    known_where_they_are(&cluster).await;
}
