//! A program of a user's own that embeds a member (`examples/embedded.rs`).

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http,
    programs::built,
};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn embedding_program_joins_and_its_service_is_reachable() {
    let mut cluster = TestCluster::start(1, 500, "").await;
    let at = cluster.add_member();
    let join = cluster.members[0].admin_url("");
    let mut embedded = Command::new(built("examples/embedded"))
        .arg(cluster.members[at].config())
        .args(["--join", &join])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(cluster.members[at].log()).expect("a log"))
        .spawn()
        .expect("the embedding program");
    eventually("the embedding member", SOON, || async {
        let ready = cluster.members[at].admin_url("/health/ready");
        let answer = http::call(Method::GET, ready, &[], "").await?;
        (answer.status() == 200)
            .then_some(())
            .ok_or(answer.status().to_string())
    })
    .await;
    let status = http::get_json(&cluster.members[0].admin_url("/v1/cluster/status")).await;
    let status = status.expect("a status").to_string();
    assert!(status.contains("greet"), "{status}");
    let channel = json!({"name": "hello", "path": "/hello/{name}", "service": "greet"});
    cluster.put(0, "http_channel", channel).await;
    // Of the two programs one carries the service; both answer.
    for member in &cluster.members {
        let url = member.http_url("/hello/world");
        let answer = http::call(Method::GET, url, &[], "")
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200, "{}", member.name);
        let text = answer.text().await.expect("a body");
        assert!(text.contains("world"), "{text}");
    }
    kill(Pid::from_raw(embedded.id() as i32), Signal::SIGTERM).expect("a signal");
    let ended = eventually("its end", Duration::from_secs(10), || {
        let ended = embedded.try_wait().expect("its status");
        async move { ended.ok_or("it runs") }
    })
    .await;
    assert!(ended.success(), "{}", cluster.members[at].log_tail());
}
