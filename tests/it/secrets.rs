//! Secrets as an attacker would look for them, and as an operator keeps them: sealed on disk, lost
//! keys, rotation and recovery.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::{NotYet, eventually},
    http,
    process::family,
    programs::QUORATE,
    rabbitmq::RabbitBroker,
    upstream::UpstreamServer,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

/// Secrets that stand nowhere else. What JSON and URLs write otherwise is in them.
const CANARIES: [&str; 6] = [
    "canary-basic-7f3a/\"x",
    "canary-key-91b2",
    "canary-broker-c4d8+&",
    "canary-management-55e0",
    "canary-named-6a1f\\",
    "canary-second-d20c",
];

/// Runs the program with these arguments and this input; returns stdout of a success.
async fn quorate(cluster: &TestCluster, args: &str, input: &str) -> Result<String, String> {
    let admin: Vec<String> = cluster
        .members
        .iter()
        .filter(|it| it.running())
        .map(|it| it.admin_url(""))
        .collect();
    let mut command = tokio::process::Command::new(&*QUORATE);
    command
        .args(args.split_whitespace())
        .args(["--admin", &admin.join(",")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input.as_bytes()).await.expect("its input");
    drop(stdin);
    let output = child.wait_with_output().await.expect("its end");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(text(&output.stderr))
}

/// Lists all files below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// Returns every form in which a text may be written: as it is, in JSON, in a URL, and in base64
/// at each of the three places where it can begin.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let json = serde_json::to_string(secret).expect("JSON");
    let url: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut forms = vec![
        secret.as_bytes().to_vec(),
        json.trim_matches('"').as_bytes().to_vec(),
        url.into_bytes(),
    ];
    for skipped in 0..3 {
        let padded = [&vec![b'x'; skipped][..], secret.as_bytes()].concat();
        let encoded = BASE64_STANDARD.encode(padded);
        // Without what its neighbours change.
        let inner = encoded.trim_end_matches('=');
        forms.push(
            inner[4 * usize::from(skipped > 0)..inner.len() - 1]
                .as_bytes()
                .to_vec(),
        );
    }
    forms
}

/// Panics where a canary stands in what was found somewhere.
fn nothing_shows(place: &str, content: &[u8]) {
    for secret in CANARIES {
        for form in forms(secret) {
            let found = content.windows(form.len()).any(|it| it == form);
            assert!(!found, "{secret} is readable in {place}");
        }
    }
}

async fn put_all(cluster: &TestCluster) {
    let put = async |at, kind, resource| cluster.put(at, kind, resource).await;
    put(0, "service", json!({"name": "echo-it", "builtin": "echo"})).await;
    put(
        1,
        "basic_auth",
        json!({"name": "ann", "username": "ann", "password": CANARIES[0]}),
    )
    .await;
    put(2, "api_key", json!({"name": "key", "key": CANARIES[1]})).await;
    for (name, security) in [("basic", "basic_auth/ann"), ("keyed", "api_key/key")] {
        let channel = json!({
            "name": name, "path": format!("/{name}"), "service": "echo-it", "security": security,
        });
        put(0, "http_channel", channel).await;
    }
    let management = format!("http://admin:{}@127.0.0.1:1", CANARIES[3]);
    let connection = json!({
        "name": "nowhere", "host": "127.0.0.1", "port": 1, "username": "u",
        "password": CANARIES[2], "management_url": management,
    });
    put(1, "amqp_connection", connection).await;
    let channel = json!({
        "name": "orders", "connection": "nowhere", "queue": "orders", "service": "echo-it",
    });
    put(2, "amqp_channel", channel).await;
}

/// Asks a channel of a member by its key.
async fn keyed(cluster: &TestCluster, at: usize, key: &str) -> Result<u16, NotYet> {
    let url = cluster.members[at].http_url("/keyed");
    let answer = http::call(Method::POST, &url, &[("x-api-key", key)], "hello").await?;
    Ok(answer.status().as_u16())
}

async fn answers(cluster: &TestCluster, at: usize, key: &str, status: u16) {
    eventually(&format!("{status} at member {at}"), SOON, || async {
        match keyed(cluster, at, key).await? {
            it if it == status => Ok(()),
            it => Err(NotYet::from(it.to_string())),
        }
    })
    .await;
}

async fn keys(cluster: &TestCluster) -> Value {
    let text = quorate(cluster, "secret status --output json", "").await;
    serde_json::from_str(&text.expect("the keys")).expect("JSON")
}

/// The states of the members in the keyring.
fn states(keys: &Value) -> Vec<&str> {
    let members = keys["members"].as_array().expect("members");
    members
        .iter()
        .map(|it| it["state"].as_str().expect("a state"))
        .collect()
}

/// Security tests 38 and 47: no secret is readable where anybody could look for it, whatever the
/// members did with it.
// guarantee: SECURITY-20
#[tokio::test]
async fn canary_secrets_are_readable_nowhere() {
    const EXTRA: &str = "log.level = \"trace\"\nsnapshot.entries = 100\nsnapshot.keep = 0";
    let mut cluster = TestCluster::start(3, 500, EXTRA).await;
    put_all(&cluster).await;
    quorate(&cluster, "secret set named", CANARIES[4])
        .await
        .expect("a secret");
    let by_name = json!({"name": "key-2", "key": {"secret": "named"}});
    cluster.put(0, "api_key", by_name).await;
    let second = json!({"name": "key", "key": CANARIES[5]});
    cluster.put(1, "api_key", second).await;
    quorate(&cluster, "secret rotate", "")
        .await
        .expect("a rotation");
    // Enough for a snapshot, which is read after a crash.
    for n in 0..150 {
        let url = cluster.members[0].admin_url(&format!("/v1/kv/k{n}"));
        http::put(&url, "v").await.expect("a write");
    }
    let at = cluster.leader().await;
    cluster.members[at].kill();
    cluster.members[at].start(&[]);
    cluster.voters(3).await;
    for at in 0..3 {
        answers(&cluster, at, CANARIES[5], 200).await;
        answers(&cluster, at, CANARIES[1], 401).await;
    }
    // The connector's process has its password.
    cluster.connector_in(0, "orders", "failed").await;
    for member in &cluster.members {
        for pid in family(member.pid()) {
            for what in ["cmdline", "environ"] {
                let place = format!("/proc/{pid}/{what}");
                nothing_shows(&place, &fs::read(&place).unwrap_or_default());
            }
        }
        for path in [
            "/v1/config",
            "/v1/config/api_key/key",
            "/v1/config/secret/named",
            "/v1/cluster/status",
            "/v1/connectors",
            "/v1/security/keys",
            "/v1/security/keys/boxes",
            "/metrics",
        ] {
            let url = member.admin_url(path);
            let answer = http::call(Method::GET, &url, &[], "").await;
            let body = answer.expect("an answer").bytes().await.expect("a body");
            nothing_shows(path, &body);
        }
    }
    let export = quorate(&cluster, "export", "").await.expect("an export");
    assert!(export.contains("secret: named"), "{export}");
    nothing_shows("the export", export.as_bytes());
    let all = files(cluster.root.path());
    for file in &all {
        nothing_shows(
            &file.display().to_string(),
            &fs::read(file).unwrap_or_default(),
        );
    }
    let is_below = |part: &str| all.iter().any(|it| it.to_string_lossy().contains(part));
    assert!(is_below("data/log") && is_below("data/snapshots") && is_below("keys/seal.key"));
}

/// Security tests 44 and 45: a member without its key works on as far as it can, says so, and is
/// given the cluster's key again only once an operator has accepted its new one.
// guarantee: SECURITY-22
#[tokio::test]
async fn member_without_its_key_is_sealed_until_rewrapped() {
    let mut cluster = TestCluster::three().await;
    put_all(&cluster).await;
    let at = cluster.follower().await;
    answers(&cluster, at, CANARIES[1], 200).await;
    assert!(cluster.members[at].stop().success());
    let folder = cluster.members[at].dir.join("keys");
    let aside = cluster.members[at].dir.join("aside");
    fs::rename(&folder, &aside).expect("the keys moved away");
    cluster.members[at].start(&[]);
    cluster.voters(3).await;
    // It follows, and refuses who can't be checked.
    let url = cluster.members[at].admin_url("/v1/kv/a");
    http::put(&url, "1").await.expect("a write");
    answers(&cluster, at, CANARIES[1], 500).await;
    let name = cluster.members[at].name.clone();
    eventually("the member says that it is sealed", SOON, || async {
        let url = cluster.members[0].admin_url("/v1/cluster/status");
        let status = http::get_json(&url).await?;
        let why = status["sealed"][&name].as_str().unwrap_or_default();
        let warned = status["warnings"].to_string().contains("is sealed");
        if why.contains("another sealing key") && warned {
            return Ok(());
        }
        Err(NotYet::from(status["sealed"].to_string()))
    })
    .await;
    // A put of a secret is refused there, and not written in clear.
    let put = json!({"name": "key", "key": "other"}).to_string();
    let url = cluster.members[at].admin_url("/v1/config/api_key/key");
    let refused = http::call(Method::PUT, &url, &[], put)
        .await
        .expect("an answer");
    assert_eq!(refused.status(), 503);
    let problem: Value = refused.json().await.expect("JSON");
    assert_eq!(problem["code"], "sealed", "{problem}");
    // It hands leadership, and with it the connectors, to one that has its key.
    let url = cluster.members[at].admin_url("/v1/cluster/transfer-leadership");
    let body = json!({"to": name}).to_string();
    let to_it = http::call(Method::POST, &url, &[], body).await;
    assert_eq!(to_it.expect("an answer").status(), 200);
    eventually("another leader", SOON, || async {
        let url = cluster.members[0].admin_url("/v1/cluster/leader");
        let leader = http::get_json(&url).await?["leader"]["name"].clone();
        let is_other = leader != name.as_str();
        is_other
            .then_some(())
            .ok_or(NotYet::from(leader.to_string()))
    })
    .await;
    let now = keys(&cluster).await;
    assert_eq!(
        states(&now).iter().filter(|it| **it == "other_key").count(),
        1
    );
    quorate(&cluster, &format!("secret rewrap {name}"), "")
        .await
        .expect("accepted");
    answers(&cluster, at, CANARIES[1], 200).await;
    assert_eq!(states(&keys(&cluster).await), ["holds"; 3]);
}

/// Security test 44: with the recovery key alone everything comes back, and without it nothing.
#[tokio::test]
async fn recovery_key_alone_brings_secrets_back() {
    let mut cluster = TestCluster::start(1, 500, "").await;
    cluster
        .put(0, "service", json!({"name": "echo-it", "builtin": "echo"}))
        .await;
    cluster
        .put(0, "api_key", json!({"name": "key", "key": CANARIES[1]}))
        .await;
    let channel = json!({
        "name": "keyed", "path": "/keyed", "service": "echo-it", "security": "api_key/key",
    });
    cluster.put(0, "http_channel", channel).await;
    let unknown = quorate(&cluster, "secret recover", "qr1_nonsense").await;
    assert!(unknown.is_err());
    let stale = quorate(&cluster, "secret recovery-key create", "").await;
    let recovery = quorate(&cluster, "secret recovery-key create", "").await;
    let (stale, recovery) = (stale.expect("a key"), recovery.expect("a key"));
    quorate(&cluster, "secret rotate", "")
        .await
        .expect("a rotation");
    assert!(cluster.members[0].stop().success());
    fs::remove_dir_all(cluster.members[0].dir.join("keys")).expect("the keys removed");
    cluster.members[0].start(&[]);
    cluster.voters(1).await;
    answers(&cluster, 0, CANARIES[1], 500).await;
    let name = cluster.members[0].name.clone();
    // To accept the key is not enough where nobody has the cluster's.
    let wrong = quorate(&cluster, "secret recover", &stale)
        .await
        .unwrap_err();
    assert!(wrong.contains("is not the recovery key"), "{wrong}");
    answers(&cluster, 0, CANARIES[1], 500).await;
    quorate(&cluster, "secret recover", &recovery)
        .await
        .expect("recovered");
    answers(&cluster, 0, CANARIES[1], 200).await;
    assert_eq!(states(&keys(&cluster).await), ["holds"], "{name}");
}

/// Security test 43: a rotation under load, with the leader killed in the middle of it.
#[tokio::test]
async fn rotation_survives_the_death_of_its_leader() {
    let mut cluster = TestCluster::three().await;
    put_all(&cluster).await;
    let resources: Vec<Value> = (0..400)
        .map(|n| {
            let name = format!("k{n}");
            let spec = json!({"name": name, "key": format!("key-{n}")});
            json!({"kind": "api_key", "name": name, "spec": spec})
        })
        .collect();
    let url = cluster.members[0].admin_url("/v1/config/apply");
    let json_type = [("content-type", "application/json")];
    let body = json!({"resources": resources}).to_string();
    let applied = http::call(Method::POST, &url, &json_type, body).await;
    assert_eq!(applied.expect("an answer").status(), 200);
    let before = keys(&cluster).await;
    assert_eq!(before["in_clear"], 0, "{before}");
    let leader = cluster.leader().await;
    let url = cluster.members[leader].admin_url("/v1/security/keys/rotate");
    let begun = http::call(Method::POST, &url, &[], "")
        .await
        .expect("an answer");
    assert_eq!(begun.status(), 202);
    cluster.members[leader].kill();
    let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
    eventually("the rotation to end", Duration::from_secs(60), || async {
        for at in &others {
            match keyed(&cluster, *at, CANARIES[1]).await? {
                200 => {}
                status => panic!("a call was answered {status} during a rotation"),
            }
        }
        let now = quorate(&cluster, "secret status --output json", "").await;
        let now: Value = serde_json::from_str(&now.map_err(NotYet::from)?).expect("JSON");
        let versions = now["versions"].as_array().expect("versions").len();
        if versions == 1 && now["version"] == 2 {
            return Ok(());
        }
        Err(NotYet::from(now.to_string()))
    })
    .await;
    cluster.members[leader].start(&[]);
    cluster.voters(3).await;
    for at in 0..3 {
        answers(&cluster, at, CANARIES[1], 200).await;
    }
    let now = keys(&cluster).await;
    assert_eq!(
        now["versions"][0]["secrets"],
        before["versions"][0]["secrets"]
    );
    assert_eq!(states(&now), ["holds"; 3]);
}

/// Security test 46: the password of a broker is changed while messages flow, by its name alone.
#[tokio::test]
async fn secret_changed_under_load_loses_no_message() {
    let cluster = TestCluster::three().await;
    let rabbit = RabbitBroker::start().await;
    let broker = rabbit.client().await;
    broker.declare("orders").await;
    let upstream = UpstreamServer::start().await;
    quorate(&cluster, "secret set rabbit", "guest\n")
        .await
        .expect("a secret");
    let service = json!({"name": "orders", "upstream": upstream.url(), "timeout_ms": 5000});
    cluster.put(0, "service", service).await;
    let connection = json!({
        "name": "rabbit", "host": "127.0.0.1", "port": rabbit.port(), "username": "guest",
        "password": {"secret": "rabbit"},
    });
    cluster.put(0, "amqp_connection", connection).await;
    let channel = json!({
        "name": "orders", "connection": "rabbit", "queue": "orders", "service": "orders",
    });
    cluster.put(0, "amqp_channel", channel).await;
    cluster.connector_in(1, "orders", "active").await;
    let publish = async |from: usize| {
        let bodies = (from..from + 200).map(|n| format!("m{n}"));
        broker.publish("orders", bodies).await;
    };
    publish(0).await;
    rabbit.ctl(&["change_password", "guest", "second"]).await;
    publish(200).await;
    quorate(&cluster, "secret set rabbit", "second")
        .await
        .expect("another value");
    publish(400).await;
    eventually("600 messages handled", Duration::from_secs(60), || async {
        let now = upstream.handled();
        (now >= 600).then_some(()).ok_or(now.to_string())
    })
    .await;
    assert_eq!(upstream.duplicates(), 0);
    let status = cluster.connector_in(1, "orders", "active").await;
    assert_eq!(status["last_error"], Value::Null, "{status}");
}
