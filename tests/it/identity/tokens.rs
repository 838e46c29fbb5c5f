//! Tokens and the local socket: how people come in, and how they are kept out.

use std::{fs, os::unix::process::CommandExt, process::Command, time::Duration};

use quorate_testkit::{http, programs::QUORATE};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};

use super::{SecureCluster, code, done, is_ready, quorate};

fn id(token: &str) -> &str {
    token.split('_').nth(1).expect("an id")
}

/// Security test 31: a token that was revoked at one revision writes at no later one, also where its
/// request was checked before.
// guarantee: ACCESS-2
#[tokio::test(flavor = "multi_thread")]
async fn revoked_token_writes_nothing_more() {
    let secure = SecureCluster::start(3).await;
    let token = secure.identity("ed", &["editor"]).await;
    let bearer = format!("Bearer {token}");
    let mut writers = JoinSet::new();
    for n in 0..24 {
        let url = secure.cluster.members[n % 3].admin_url(&format!("/v1/kv/race/{n}"));
        let bearer = bearer.clone();
        writers.spawn(async move {
            let mut last = 0;
            loop {
                let request = http::client().put(&url).header("authorization", &bearer);
                let answer = request.body("x").send().await.expect("an answer");
                match answer.status().as_u16() {
                    200 => last = http::revision(&answer).expect("a revision"),
                    401 | 403 | 429 => return last,
                    other => panic!("{other}"),
                }
            }
        });
    }
    let root = secure.root.clone();
    let state = async |key: &str| {
        let answer = secure
            .call(0, &root, &format!("GET /v1/kv/race/{key}"), "")
            .await;
        answer.status() == 200
    };
    while !state("0").await {}
    let call = format!("DELETE /v1/security/tokens/{}", id(&token));
    let answer = secure.call(1, &root, &call, "").await;
    assert_eq!(answer.status(), 200);
    let revoked = http::revision(&answer).expect("a revision");
    let ended = timeout(Duration::from_secs(20), writers.join_all()).await;
    let last = ended.expect("all writers are refused");
    assert!(last.iter().any(|it| *it > 0), "{last:?}");
    assert!(last.iter().all(|it| *it < revoked), "{last:?} {revoked}");
    let keys = secure.json(0, &root, "/v1/kv?prefix=race/").await;
    for entry in keys["entries"].as_array().expect("the keys") {
        let revision = entry["revision"].as_u64().expect("a revision");
        assert!(revision < revoked, "{entry} {revoked}");
    }
}

/// Security test 33: the local socket is the way back, and of its own users alone.
// guarantee: ACCESS-6
#[tokio::test]
async fn local_socket_is_the_way_back() {
    let secure = SecureCluster::start(1).await;
    let member = &secure.cluster.members[0];
    let config = member.config();
    let config = config.to_str().expect("a path in UTF-8");
    let socket = member.dir.join("run/admin.sock");
    let socket = socket.to_str().expect("a path in UTF-8");
    let whoami = done(&quorate(&[
        "whoami", "--config", config, "--output", "json",
    ]));
    let whoami: Value = serde_json::from_str(&whoami).expect("JSON");
    assert_eq!(
        (&whoami["name"], &whoami["via"]),
        (&json!("local"), &json!("local_socket"))
    );
    done(&quorate(&["admin", "revoke-all", "--config", config]));
    let lost = secure
        .call(0, &secure.root, "GET /v1/cluster/leader", "")
        .await;
    assert_eq!(code(lost).await, (401, "unauthenticated".into()));
    let status = done(&quorate(&[
        "status", "--socket", socket, "--output", "json",
    ]));
    assert!(status.contains("no administrator yet"), "{status}");
    let again = quorate(&["admin", "create", "--name", "root", "--socket", socket]);
    assert_eq!(again.0, Some(1));
    assert!(
        again.2.contains("quorate token create --identity root"),
        "{again:?}"
    );
    let token = done(&quorate(&[
        "token",
        "create",
        "--identity",
        "root",
        "--socket",
        socket,
    ]));
    let back = secure.call(0, &token, "GET /v1/cluster/leader", "").await;
    assert_eq!(back.status(), 200);
    let status = done(&quorate(&[
        "status", "--socket", socket, "--output", "json",
    ]));
    assert!(!status.contains("no administrator yet"), "{status}");
    if nix::unistd::geteuid().is_root() {
        let other = Command::new(&*QUORATE)
            .args(["whoami", "--socket", socket])
            .uid(65_534)
            .gid(65_534)
            .output()
            .expect("the program runs");
        assert!(!other.status.success(), "{other:?}");
    }
}

#[tokio::test]
async fn local_socket_can_be_closed() {
    let mut secure = SecureCluster::start(1).await;
    let member = &mut secure.cluster.members[0];
    member.stop();
    member.start(&["--set", "security.local_admin=false"]);
    is_ready(member).await;
    let socket = member.dir.join("run/admin.sock");
    assert!(!socket.exists());
    let socket = socket.to_str().expect("a path in UTF-8");
    let (code, _, err) = quorate(&["whoami", "--socket", socket]);
    assert_eq!(code, Some(3), "{err}");
    let root = secure
        .call(0, &secure.root, "GET /v1/security/whoami", "")
        .await;
    assert_eq!(root.status(), 200);
}

/// Security test 39: a token is in no log, file or answer, but for the one that shows it.
// guarantee: ACCESS-7
#[tokio::test]
async fn token_is_in_no_log_or_file() {
    let mut secure = SecureCluster::start_with(1, "log.level = \"trace\"").await;
    let ann = secure.identity("ann", &["editor"]).await;
    let secret = |token: &str| token[13..56].to_owned();
    let wrong = ann.replacen("qt1_", "qt2_", 1);
    for (token, call, body) in [
        (&*ann, "PUT /v1/kv/a", "x"),
        (&*ann, "PUT /v1/config/service/a", "{"),
        (&*ann, "GET /v1/config/identity/ann", ""),
        (&*ann, "POST /v1/services/echo/invoke", ""),
        (&*ann, "GET /v1/nothing", ""),
        (&*wrong, "GET /v1/cluster/leader", ""),
        (&*secure.root, "GET /v1/security/tokens", ""),
        (&*secure.root, "GET /metrics", ""),
        (&*secure.root, "GET /v1/config", ""),
        (&*secure.root, "POST /v1/services/ping/invoke", ""),
    ] {
        let answer = secure.call(0, token, call, body).await;
        let text = answer.text().await.expect("a body");
        assert!(!text.contains(&secret(token)), "{call}: {text}");
    }
    let secrets = [secret(&ann), secret(&secure.root)];
    let member = &mut secure.cluster.members[0];
    member.stop();
    let mut folders = vec![member.dir.clone()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|it| it != "token") {
                let bytes = fs::read(&path).expect("a file");
                files += 1;
                for secret in &secrets {
                    let found = bytes
                        .windows(secret.len())
                        .any(|it| it == secret.as_bytes());
                    assert!(!found, "{}", path.display());
                }
            }
        }
    }
    assert!(files > 3, "{files}");
}

/// Security test 51, for the admin port.
#[tokio::test]
async fn guessed_tokens_are_held_up() {
    let secure = SecureCluster::start(1).await;
    for _ in 0..10 {
        let told = secure
            .call(0, "qt1_guessed", "GET /v1/cluster/leader", "")
            .await;
        assert_eq!(told.status(), 401);
    }
    let told = secure
        .call(0, &secure.root, "GET /v1/cluster/leader", "")
        .await;
    assert!(told.headers().contains_key("retry-after"));
    assert_eq!(code(told).await, (429, "too_many_failures".into()));
    // Who has no token at all, and who only looks at the health, is not held up by others.
    assert_eq!(
        secure.call_with(0, &[], "GET /v1/kv", "").await.status(),
        401
    );
    is_ready(&secure.cluster.members[0]).await;
    let socket = secure.cluster.members[0].dir.join("run/admin.sock");
    let socket = socket.to_str().expect("a path in UTF-8");
    done(&quorate(&["leader", "--socket", socket]));
    let log = fs::read_to_string(secure.cluster.members[0].log()).expect("its log");
    let lines = log
        .lines()
        .filter(|it| it.contains("a login at the admin port failed"));
    assert_eq!(lines.count(), 1);
}

/// A third token has to wait for another to be revoked, and an own one can always be replaced.
#[tokio::test]
async fn own_token_can_be_rotated() {
    let secure = SecureCluster::start(1).await;
    let first = secure.identity("ron", &["reader"]).await;
    let own = json!({"identity": "ron"});
    let create = "POST /v1/security/tokens";
    let second: Value = secure
        .call(0, &first, create, &own)
        .await
        .json()
        .await
        .expect("a token");
    let second = second["token"].as_str().expect("a token").to_owned();
    let third = secure.call(0, &second, create, &own).await;
    assert_eq!(code(third).await, (422, "invalid".into()));
    let listed = secure
        .json(0, &second, "/v1/security/tokens?identity=ron")
        .await;
    assert_eq!(listed["tokens"].as_array().map(Vec::len), Some(2));
    let revoke = format!("DELETE /v1/security/tokens/{}", id(&first));
    assert_eq!(secure.call(0, &second, &revoke, "").await.status(), 200);
    assert_eq!(secure.call(0, &first, create, &own).await.status(), 401);
    assert_eq!(secure.call(0, &second, create, &own).await.status(), 201);
    let others = secure
        .call(0, &second, create, json!({"identity": "root"}))
        .await;
    assert_eq!(code(others).await, (403, "forbidden".into()));
}
