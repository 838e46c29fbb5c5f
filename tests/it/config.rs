//! Config and keys through each member, with preconditions, and HTTP without a quorum.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    http,
};
use reqwest::Method;
use serde_json::json;

// guarantee: DATA-2
#[tokio::test]
async fn writes_through_each_member_are_visible_everywhere() {
    let cluster = TestCluster::three().await;
    for (n, writer) in cluster.members.iter().enumerate() {
        let url = writer.admin_url(&format!("/v1/config/service/from-{n}"));
        let body = json!({"name": format!("from-{n}"), "builtin": "echo"});
        let revision = http::put(&url, body.to_string()).await.expect("a write");
        let channel = json!({"name": format!("path-{n}"), "path": format!("/path-{n}/{{id}}"), "service": format!("from-{n}")});
        cluster.put(n, "http_channel", channel).await;
        let key = format!("/v1/kv/dir%2Fkey-{n}/end");
        let value = vec![n as u8; 100];
        http::put(&writer.admin_url(&key), value.clone())
            .await
            .expect("a write");
        for reader in &cluster.members {
            let path = format!("/v1/config/service/from-{n}");
            let answer = http::call(Method::GET, &reader.admin_url(&path), &[], "")
                .await
                .expect("an answer");
            assert_eq!(answer.headers()["etag"], format!("\"{revision}\""));
            let answer = http::call(Method::GET, &reader.admin_url(&key), &[], "")
                .await
                .expect("an answer");
            assert_eq!(answer.bytes().await.expect("a body"), value);
            // Once the answer is there, every live member serves the new path.
            let url = reader.http_url(&format!("/path-{n}/7"));
            let answer = http::call(Method::POST, &url, &[], "hello")
                .await
                .expect("an answer");
            assert_eq!(answer.status(), 200);
            assert!(answer.headers().contains_key("x-zato-cid"));
            assert_eq!(answer.text().await.expect("a body"), "hello");
        }
    }
}

#[tokio::test]
async fn preconditions_hold_or_nothing_is_written() {
    let cluster = TestCluster::three().await;
    let at = cluster.follower().await;
    let url = cluster.members[at].admin_url("/v1/kv/counter");
    let none_match = [("if-none-match", "*")];
    let first = http::call(Method::PUT, &url, &none_match, "1")
        .await
        .expect("an answer");
    let revision = http::revision(&first).expect("a revision");
    let again = http::call(Method::PUT, &url, &none_match, "2")
        .await
        .expect("an answer");
    assert_eq!(again.status(), 412);
    let wrong = [("if-match", "\"1\"")];
    let stale = http::call(Method::PUT, &url, &wrong, "3")
        .await
        .expect("an answer");
    assert_eq!(stale.status(), 412);
    assert_eq!(stale.headers()["content-type"], "application/problem+json");
    let tag = format!("\"{revision}\"");
    let right = [("if-match", tag.as_str())];
    let done = http::call(Method::PUT, &url, &right, "4")
        .await
        .expect("an answer");
    assert!(done.status().is_success());
    let value = http::call(Method::GET, &url, &[], "")
        .await
        .expect("an answer");
    assert_eq!(value.text().await.expect("a body"), "4");
    let gone = http::call(Method::DELETE, &url, &right, "")
        .await
        .expect("an answer");
    assert_eq!(gone.status(), 412, "the revision is an older one");

    let service = cluster.members[at].admin_url("/v1/config/service/once");
    let body = json!({"name": "once", "builtin": "echo"}).to_string();
    let made = http::call(Method::PUT, &service, &none_match, body.clone())
        .await
        .expect("an answer");
    assert!(
        made.status().is_success(),
        "{}",
        made.text().await.unwrap_or_default()
    );
    let twice = http::call(Method::PUT, &service, &none_match, body)
        .await
        .expect("an answer");
    assert_eq!(twice.status(), 412);
}

/// Compare-and-set from all members at once: each increment counts exactly once.
// guarantee: DATA-3
#[tokio::test]
async fn concurrent_compare_and_set_loses_nothing() {
    let cluster = TestCluster::three().await;
    let urls: Vec<_> = cluster
        .members
        .iter()
        .map(|m| m.admin_url("/v1/kv/total"))
        .collect();
    http::put(&urls[0], "0").await.expect("a write");
    let workers = urls.iter().cycle().take(6).cloned().map(|url| {
        tokio::spawn(async move {
            let mut done = 0;
            while done < 20 {
                let now = http::call(Method::GET, &url, &[], "")
                    .await
                    .expect("an answer");
                let tag = now.headers()["etag"].to_str().expect("a tag").to_owned();
                let value: u64 = now.text().await.expect("a body").parse().expect("a number");
                let next = (value + 1).to_string();
                let answer = http::call(Method::PUT, &url, &[("if-match", &tag)], next)
                    .await
                    .expect("an answer");
                match answer.status().as_u16() {
                    412 => continue,
                    status if status < 300 => done += 1,
                    status => panic!("{status}: {}", answer.text().await.unwrap_or_default()),
                }
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.expect("a worker");
    }
    let answer = http::call(Method::GET, &urls[2], &[], "")
        .await
        .expect("an answer");
    assert_eq!(answer.text().await.expect("a body"), "120");
}

// guarantee: DATA-3, HTTP-1
#[tokio::test]
async fn without_quorum_services_answer_and_writes_are_refused() {
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
    cluster.members[0].kill();
    cluster.members[1].kill();
    let alone = &cluster.members[2];
    eventually("the lone member to miss its leader", SOON, || async {
        let answer =
            http::call(Method::GET, &alone.admin_url("/v1/cluster/leader"), &[], "").await?;
        match answer.status().as_u16() {
            503 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    for path in ["/zato/ping", "/echo"] {
        let answer = http::call(Method::GET, &alone.http_url(path), &[], "")
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
    }
    let ready = http::call(Method::GET, &alone.admin_url("/health/ready"), &[], "")
        .await
        .expect("an answer");
    assert_eq!(ready.status(), 200, "it still serves");
    let start = Instant::now();
    let write = http::call(Method::PUT, &alone.admin_url("/v1/kv/k"), &[], "v")
        .await
        .expect("an answer");
    let took = start.elapsed();
    let status = write.status();
    let problem: serde_json::Value = write.json().await.expect("a problem");
    assert_eq!(
        (status.as_u16(), problem["code"].as_str()),
        (503, Some("no_quorum"))
    );
    assert!(
        took <= Duration::from_millis(1000),
        "{took:?} is more than 2 x failover_ms"
    );
    let read = http::call(Method::GET, &alone.admin_url("/v1/kv/k"), &[], "")
        .await
        .expect("an answer");
    assert_eq!(read.status(), 503);
    let stale = http::call(
        Method::GET,
        &alone.admin_url("/v1/kv/k?consistency=stale"),
        &[],
        "",
    )
    .await
    .expect("an answer");
    assert_eq!(stale.status(), 404, "the stale read answers");
    cluster.members[0].start(&[]);
    cluster.members[1].start(&[]);
    cluster.voters(3).await;
}
