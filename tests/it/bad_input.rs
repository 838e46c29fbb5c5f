//! Bad input over REST, the command line, the configuration file and the services' HTTP port:
//! what each is answered. Nothing panics, nothing is written.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use quorate_testkit::{cluster::TestCluster, http, programs::QUORATE};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Rows of a table: one JSON array a line, between lines of comment.
fn rows(table: &str) -> Vec<Vec<Value>> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

/// A string as it is, else JSON.
fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn rest_cases() -> Vec<Vec<Value>> {
    let mut cases = rows(include_str!("bad_input/rest.jsonl"));
    let big = "x".repeat(1 << 20);
    let Value::Array(big) = json!(["PUT", "/v1/kv/big", format!("{big}x"), 413, "too_large", ""])
    else {
        unreachable!("an array")
    };
    cases.push(big);
    cases
}

async fn bed() -> TestCluster {
    let cluster = TestCluster::start(1, 500, "").await;
    cluster
        .put(0, "service", json!({"name": "kept", "builtin": "echo"}))
        .await;
    let channel = json!({"name": "kept", "path": "/kept", "service": "kept", "methods": ["POST"], "max_body_bytes": 1000});
    cluster.put(0, "http_channel", channel).await;
    cluster
}

/// The whole configuration and all keys: what must not have changed.
async fn everything(cluster: &TestCluster) -> String {
    let mut all = String::new();
    for path in ["/v1/config", "/v1/kv"] {
        let answer = http::call(Method::GET, cluster.members[0].admin_url(path), &[], "")
            .await
            .expect("an answer");
        let mut value: Value = answer.json().await.expect("JSON");
        if let Some(object) = value.as_object_mut() {
            object.remove("revision");
        }
        all += &value.to_string();
    }
    all
}

fn assert_healthy(cluster: &TestCluster) {
    let log = std::fs::read_to_string(cluster.members[0].log()).expect("a log");
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn rest_errors_name_the_mistake() {
    let cluster = bed().await;
    let before = everything(&cluster).await;
    let mut wrong = Vec::new();
    for case in rest_cases() {
        let [method, path, body, wanted, wanted_code, says] = &case[..6] else {
            panic!("six columns: {case:?}")
        };
        let (method, path, body) = (text(method), text(path), text(body));
        let (wanted_code, says) = (text(wanted_code), text(says));
        assert!(case.len() <= 7, "seven columns at most: {case:?}");
        let headers: Vec<(&str, &str)> = case
            .get(6)
            .map(|headers| headers.as_object().expect("headers"))
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.as_str(), value.as_str().expect("a header's text")))
            .collect();
        let what = format!("{method} {path} {body:.80}");
        let method = method.parse().expect("a method");
        let url = cluster.members[0].admin_url(&path);
        let answer = http::call(method, url, &headers, body)
            .await
            .expect("an answer");
        let status = answer.status().as_u16();
        let kind = answer
            .headers()
            .get("content-type")
            .map(|v| v.to_str().unwrap_or("").to_owned());
        let text = answer.text().await.expect("a body");
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        let code = problem["code"].as_str().unwrap_or("");
        let right = *wanted == status
            && (wanted_code.is_empty() || code == wanted_code)
            && kind.as_deref() == Some("application/problem+json")
            && text.contains(&says);
        println!("{what} -> {status} {text:.200}");
        if !right {
            wrong.push(format!(
                "{what}\n  wanted {wanted} {wanted_code} {says:?}, got {status} {kind:?} {text}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(before, everything(&cluster).await, "nothing was written");
    assert_healthy(&cluster);
}

#[tokio::test]
async fn the_services_face_answers_in_the_envelope() {
    let cluster = bed().await;
    let cases: &[(&str, &[u8], u16)] = &[
        ("unknown path", b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        ("wrong method", b"DELETE /kept HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
        ("wrong method on ping", b"POST /zato/ping HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 405),
        ("too large, told", b"POST /kept HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nConnection: close\r\n\r\n", 413),
        ("bad escape", b"POST /kept%ZZ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 400),
    ];
    for (what, request, status) in cases {
        let text = raw(&cluster, request).await;
        assert!(
            text.starts_with(&format!("HTTP/1.1 {status}")),
            "{what}: {text}"
        );
        let lower = text.to_lowercase();
        assert!(lower.contains("x-zato-cid: k"), "{what}: {text}");
        assert!(text.contains("\"ZATO_ERROR\""), "{what}: {text}");
    }
    // Not HTTP at all: refused, and the next client is served.
    let text = raw(&cluster, b"\x16\x03\x01 this is not HTTP\r\n\r\n").await;
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 400"),
        "{text}"
    );
    let mut chunked = b"POST /kept HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".to_vec();
    chunked.extend(format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2000)).into_bytes());
    let text = raw(&cluster, &chunked).await;
    assert!(
        text.starts_with("HTTP/1.1 413"),
        "too large, untold: {text}"
    );
    let huge = format!(
        "GET /zato/ping HTTP/1.1\r\nHost: x\r\nX-Big: {}\r\n\r\n",
        "x".repeat(300_000)
    );
    let text = raw(&cluster, huge.as_bytes()).await;
    assert!(text.starts_with("HTTP/1.1 431"), "huge head: {text:.200}");
    let answer = http::call(
        Method::GET,
        cluster.members[0].http_url("/zato/ping"),
        &[],
        "",
    )
    .await
    .expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_healthy(&cluster);
}

async fn raw(cluster: &TestCluster, request: &[u8]) -> String {
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", cluster.members[0].http))
        .await
        .expect("a connection");
    // The member may answer and close before it has read everything.
    let _ = socket.write_all(request).await;
    let mut answer = Vec::new();
    let read = socket.read_to_end(&mut answer);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(10), read)
        .await
        .expect("an answer in time");
    String::from_utf8_lossy(&answer).into_owned()
}

struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

fn quorate(arguments: &[&str], admin: &str, stdin: &str) -> Run {
    let mut child = Command::new(&*QUORATE)
        .args(arguments)
        .env("QUORATE_ADMIN", admin)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a run");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(stdin.as_bytes()).expect("input");
    drop(input);
    let output = child.wait_with_output().expect("its end");
    Run {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[tokio::test]
async fn command_errors_name_remedy_and_exit_correctly() {
    let cluster = bed().await;
    let before = everything(&cluster).await;
    let admin = cluster.members[0].admin_url("");
    let good = "kind: service\nname: good\nbuiltin: echo\n";
    for case in rows(include_str!("bad_input/commands.jsonl")) {
        let [arguments, stdin, code, says] = &case[..] else {
            panic!("four columns: {case:?}")
        };
        let arguments = arguments.as_array().expect("arguments");
        let arguments: Vec<&str> = arguments
            .iter()
            .map(|it| it.as_str().expect("an argument"))
            .collect();
        let (stdin, says) = (text(stdin), text(says));
        let run = quorate(&arguments, &admin, &stdin);
        println!(
            "quorate {} -> {:?} {}",
            arguments.join(" "),
            run.code,
            run.err.trim()
        );
        assert_eq!(
            run.code.map(i64::from),
            code.as_i64(),
            "{arguments:?}: {}{}",
            run.out,
            run.err
        );
        assert!(
            run.err.contains(&says),
            "{arguments:?} should say {says:?}: {}",
            run.err
        );
        assert!(
            run.out.is_empty(),
            "{arguments:?}: errors go to stderr: {}",
            run.out
        );
    }
    // One bad document among good ones: none is written.
    let mixed = format!("{good}---\nkind: http_channel\nname: bad\npath: nowhere\nservice: good\n");
    let run = quorate(&["apply", "-f", "-"], &admin, &mixed);
    assert_eq!(run.code, Some(1), "{}", run.err);
    let run = quorate(&["apply", "--dry-run", "-f", "-"], &admin, good);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert_eq!(before, everything(&cluster).await, "nothing was written");
    assert_healthy(&cluster);
}

#[test]
fn a_bad_configuration_file_is_refused_whole() {
    let root = tempfile::tempdir().expect("a folder");
    let cases: &[(&str, &str)] = &[
        ("name = \"a\"\nfailover_ms = 99", "failover_ms"),
        ("name = \"a\"\nfailover_ms = 60001", "60000"),
        ("name = \"a\"\nfailover_ms = \"soon\"", "failover_ms"),
        ("name = \"a b\"", "name"),
        ("name = \"\"", "name"),
        ("name = \"a\"\ncolour = \"red\"", "colour"),
        ("name = \"a\"\nhttp.bind = \"nowhere\"", "http.bind"),
        ("name = \"a\"\nhttp.bind = \"0.0.0.0:17010\"", "insecure"),
        ("name = \"a\"\npeer.bind = \"127.0.0.1:17110\"", "peer.bind"),
        (
            "name = \"a\"\nlog.level = \"loud\"\nlog.format = \"xml\"",
            "log.format",
        ),
        ("name = \"a", "line 1"),
        ("name = \"a\"\nsnapshot.entries = 0", "snapshot.entries"),
    ];
    for (text, says) in cases {
        let config = root.path().join("quorate.toml");
        std::fs::write(&config, text).expect("a file");
        let path = config.to_str().expect("a path");
        let run = quorate(&["server", "--config", path, "--bootstrap"], "", "");
        println!("{text:?} -> {:?} {}", run.code, run.err.trim());
        assert_eq!(run.code, Some(1), "{text}: {}", run.err);
        assert!(
            run.err.contains(says),
            "{text} should say {says:?}: {}",
            run.err
        );
    }
    let left: Vec<_> = std::fs::read_dir(root.path()).expect("a folder").collect();
    assert_eq!(left.len(), 1, "only the configuration is there");
}
