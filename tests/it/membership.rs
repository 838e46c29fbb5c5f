//! First start, restart and refusal of members.

use std::{process::Command, time::Duration};

use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http,
    member::MemberProcess,
    programs::QUORATE,
};
use serde_json::json;

#[tokio::test]
async fn members_agree_on_leader_and_restarted_one_rejoins() {
    let mut cluster = TestCluster::three().await;
    let leader = cluster.leader().await;
    let answers = leader_answers(&cluster).await;
    assert_eq!(answers[0]["failure_tolerance"], 1, "{}", answers[0]);
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);

    let follower = cluster.follower().await;
    let before = member_ids(&cluster, leader).await;
    assert!(cluster.members[follower].stop().success());
    let url = cluster.members[leader].admin_url("/v1/kv/while-away");
    http::put(&url, "x").await.expect("a write with one away");
    cluster.members[follower].start(&[]);
    cluster.voters(3).await;
    assert_eq!(before, member_ids(&cluster, follower).await, "ids are kept");
    let url = cluster.members[follower].admin_url("/v1/kv/while-away");
    let answer = http::call(reqwest::Method::GET, &url, &[], "")
        .await
        .expect("an answer");
    assert_eq!(answer.text().await.expect("a body"), "x");
}

#[tokio::test]
async fn whole_cluster_restarts_with_its_state() {
    let mut cluster = TestCluster::three().await;
    let at = cluster.follower().await;
    let service = json!({"name": "kept", "builtin": "echo"});
    let revision = cluster.put(at, "service", service).await;
    for member in &mut cluster.members {
        assert!(member.stop().success(), "{}", member.log_tail());
    }
    for member in &mut cluster.members {
        member.start(&[]);
    }
    cluster.voters(3).await;
    for member in &cluster.members {
        let url = member.admin_url("/v1/config/service/kept");
        let answer = http::call(reqwest::Method::GET, &url, &[], "")
            .await
            .expect("an answer");
        let etag = answer.headers()["etag"].to_str().expect("a tag").to_owned();
        assert_eq!(etag, format!("\"{revision}\""));
    }
}

#[tokio::test]
async fn clusters_that_were_bootstrapped_apart_never_merge() {
    let mut one = TestCluster::start(1, 500, "").await;
    let mut two = TestCluster::start(1, 500, "").await;
    let other = two.members[0].admin_url("");
    assert!(one.members[0].stop().success());
    one.members[0].start(&["--join", &other]);
    let status = one.members[0].wait_exit(SOON);
    assert_eq!(status.code(), Some(1), "{}", one.members[0].log_tail());
    let log = one.members[0].log_tail();
    assert!(log.contains("belongs to"), "says why: {log}");
    // And it still resumes as what it was.
    one.members[0].start(&[]);
    one.voters(1).await;
    two.voters(1).await;
    assert!(two.members[0].stop().success());
}

#[tokio::test]
async fn a_name_is_given_once() {
    let mut cluster = TestCluster::start(1, 500, "").await;
    let at = cluster.add_member();
    let join = cluster.members[0].admin_url("");
    let config = std::fs::read_to_string(cluster.members[at].config()).expect("a file");
    let config = config.replace("member-2", "member-1");
    std::fs::write(cluster.members[at].config(), config).expect("a file");
    cluster.members[at].start(&["--join", &join]);
    let status = cluster.members[at].wait_exit(SOON);
    assert_eq!(status.code(), Some(1));
    let log = cluster.members[at].log_tail();
    assert!(log.contains("member-1"), "names the name: {log}");
}

#[tokio::test]
async fn folder_in_use_is_refused_after_five_seconds() {
    let cluster = TestCluster::start(1, 500, "").await;
    let start = quorate_clock::Instant::now();
    let output = Command::new(&*QUORATE)
        .args(["server", "--config"])
        .arg(cluster.members[0].config())
        .output()
        .expect("a run");
    assert_eq!(output.status.code(), Some(1));
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(9), "{waited:?}");
    let pid = std::fs::read_to_string(cluster.members[0].dir.join("pid")).expect("a pid file");
    assert_eq!(
        pid.trim(),
        cluster.members[0].pid().to_string(),
        "untouched"
    );
}

#[tokio::test]
async fn a_cluster_of_five_tolerates_two() {
    let mut cluster = TestCluster::start(5, 500, "").await;
    let leader = cluster.leader().await;
    let answer = leader_answers(&cluster).await.remove(0);
    assert_eq!(answer["failure_tolerance"], 2);
    cluster.members[leader].kill();
    let next = cluster.leader_but(Some(leader)).await;
    cluster.members[next].kill();
    let last = cluster.leader_but(Some(next)).await;
    let url = cluster.members[last].admin_url("/v1/kv/three-left");
    http::put(&url, "x")
        .await
        .expect("three of five are a quorum");
}

async fn leader_answers(cluster: &TestCluster) -> Vec<serde_json::Value> {
    eventually("the same answer from every member", SOON, || async {
        let mut answers = Vec::new();
        for member in &cluster.members {
            answers.push(http::get_json(&member.admin_url("/v1/cluster/leader")).await?);
        }
        let same = answers.windows(2).all(|pair| pair[0] == pair[1]);
        let acting = answers[0]["connector_server"]["epoch"].is_u64();
        match same && acting {
            true => Ok(answers),
            false => Err(format!("{answers:?}")),
        }
    })
    .await
}

async fn member_ids(cluster: &TestCluster, at: usize) -> Vec<(u64, String)> {
    let member: &MemberProcess = &cluster.members[at];
    let answer = http::get_json(&member.admin_url("/v1/cluster/members"))
        .await
        .expect("members");
    let list = answer["members"].as_array().expect("a list").clone();
    let pair = |m: &serde_json::Value| {
        let name = m["name"].as_str().expect("a name").to_owned();
        (m["id"].as_u64().expect("an id"), name)
    };
    let mut ids: Vec<_> = list.iter().map(pair).collect();
    ids.sort();
    ids
}
