//! Who did what: the trail on each member's disk.

use std::{fs, path::PathBuf};

use quorate_testkit::eventually::eventually;
use serde_json::{Value, json};

use super::{SOON, SecureCluster, done, quorate};

fn lines(file: &PathBuf) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("JSON")
}

/// Security test 59: the same line on every member, with who it was and no value.
// guarantee: AUDIT-1
#[tokio::test]
async fn each_member_writes_the_same_trail() {
    let secure = SecureCluster::start(3).await;
    let editor = secure.identity("ed", &["editor"]).await;
    let key = json!({"name": "partner", "key": "hunter2"});
    for (n, call, body) in [
        (0, "PUT /v1/config/api_key/partner", key.to_string()),
        (1, "PUT /v1/kv/a", "hunter2".to_owned()),
        (2, "DELETE /v1/kv/a", String::new()),
    ] {
        let status = secure.call(n, &editor, call, body).await.status();
        assert_eq!(status, 200, "{call}");
    }
    let files = secure.cluster.members.iter();
    let files: Vec<PathBuf> = files.map(|it| it.dir.join("audit/audit.jsonl")).collect();
    for file in &files {
        eventually("the trail is written", SOON, async || {
            let by_ed = lines(file)
                .into_iter()
                .filter(|it| it["line"]["actor"] == "ed");
            let count = by_ed.count();
            (count == 3).then_some(()).ok_or_else(|| count.to_string())
        })
        .await;
        done(&quorate(&[
            "audit",
            "verify",
            file.to_str().expect("UTF-8"),
        ]));
        let text = fs::read_to_string(file).expect("the trail");
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(lines(file), lines(&files[0]));
    }
    let put = lines(&files[0])
        .into_iter()
        .find(|it| it["line"]["kind"] == "api_key");
    let put = &put.expect("the put")["line"];
    assert_eq!(put["fields"], json!(["key", "name"]));
    assert_eq!(
        (&put["via"], &put["source"]),
        (&json!("token"), &json!("127.0.0.1"))
    );
    let told = secure
        .json(2, &secure.root, "/v1/audit?actor=ed&limit=2")
        .await;
    assert_eq!(told["lines"].as_array().map(Vec::len), Some(2));
}

/// Security test 60, in part: a trail that can't be written holds up nothing.
// guarantee: AUDIT-2
#[tokio::test]
async fn unwritable_trail_holds_up_no_write() {
    let secure = SecureCluster::start_with(1, "audit.file = \"quorate.toml/audit.jsonl\"").await;
    for n in 0..5 {
        let call = format!("PUT /v1/kv/{n}");
        assert_eq!(secure.call(0, &secure.root, &call, "x").await.status(), 200);
    }
    eventually("the failure is counted", SOON, async || {
        let metrics = secure.call(0, &secure.root, "GET /metrics", "").await;
        let text = metrics.text().await.unwrap_or_default();
        let is_counted = text.contains("quorate_audit_errors_total 1");
        is_counted.then_some(()).ok_or(text)
    })
    .await;
}
