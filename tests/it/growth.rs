//! Many resources in one file, and what it costs the cluster.

use quorate_testkit::{cluster::TestCluster, http, programs::QUORATE};
use std::{
    fmt::Write as _,
    path::Path,
    process::{Command, Stdio},
};

/// As in a report of a user: 2,000 services, and 10,000 channels that lead to them.
fn manifest() -> String {
    let mut text = String::new();
    for n in 0..2_000 {
        let _ = writeln!(
            text,
            "---\nkind: service\nname: s{n}\nupstream: http://127.0.0.1:9"
        );
    }
    for n in 0..10_000 {
        let service = n % 2_000;
        let _ = writeln!(
            text,
            "---\nkind: http_channel\nname: c{n}\npath: /c/{n}/{{id}}\nservice: s{service}"
        );
    }
    text
}

fn apply(cluster: &TestCluster, file: &Path, options: &[&str]) -> Command {
    let admin: Vec<_> = cluster.members.iter().map(|m| m.admin_url("")).collect();
    let mut command = Command::new(&*QUORATE);
    command
        .args(["apply", "--admin", &admin.join(","), "--file"])
        .arg(file)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

async fn term(cluster: &TestCluster) -> u64 {
    let url = cluster.members[0].admin_url("/v1/cluster/leader");
    let answer = http::get_json(&url).await.expect("a leader");
    answer["term"].as_u64().expect("a term")
}

#[tokio::test]
async fn two_large_validations_cost_no_term() {
    let cluster = TestCluster::three().await;
    let file = cluster.root.path().join("many.yaml");
    std::fs::write(&file, manifest()).expect("the file");
    let before = term(&cluster).await;
    let two = [0, 1].map(|_| {
        let mut command = apply(&cluster, &file, &["--dry-run"]);
        tokio::task::spawn_blocking(move || command.status().expect("the program"))
    });
    for run in two {
        let status = run.await.expect("no panic");
        assert!(status.success(), "{status}");
    }
    assert_eq!(term(&cluster).await, before);
    let mut command = apply(&cluster, &file, &[]);
    let applied = tokio::task::spawn_blocking(move || command.status().expect("the program"));
    assert!(applied.await.expect("no panic").success());
    assert_eq!(term(&cluster).await, before);
}
