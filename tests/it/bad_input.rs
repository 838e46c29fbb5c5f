//! Bad input over REST, the command line, the configuration file and the services' face:
//! what each is answered. Nothing panics, nothing is written.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use quorate_testkit::{cluster::Cluster, http, programs::QUORATE};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Status, `code` and a word that the problem must say.
struct Rest {
    method: Method,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: String,
    status: u16,
    code: &'static str,
    says: &'static str,
}

fn rest(
    method: Method,
    path: &'static str,
    body: impl ToString,
    status: u16,
    code: &'static str,
    says: &'static str,
) -> Rest {
    Rest {
        method,
        path,
        headers: &[],
        body: body.to_string(),
        status,
        code,
        says,
    }
}

fn rest_cases() -> Vec<Rest> {
    let put = || Method::PUT;
    let service = |v: serde_json::Value| v.to_string();
    vec![
        rest(
            put(),
            "/v1/config/service/a",
            "{",
            400,
            "bad_request",
            "JSON",
        ),
        rest(put(), "/v1/config/service/a", "", 400, "bad_request", ""),
        rest(put(), "/v1/config/nonsense/a", "{}", 404, "", "nonsense"),
        rest(
            put(),
            "/v1/config/service/a",
            json!({"name": "b", "builtin": "echo"}),
            422,
            "invalid",
            "name",
        ),
        rest(
            put(),
            "/v1/config/service/a",
            json!({"name": "a"}),
            422,
            "invalid",
            "upstream",
        ),
        rest(
            put(),
            "/v1/config/service/a",
            json!({"name": "a", "builtin": "echo", "upstream": "http://x/"}),
            422,
            "invalid",
            "builtin",
        ),
        rest(
            put(),
            "/v1/config/service/a",
            json!({"name": "a", "upstream": "ftp://x/"}),
            422,
            "invalid",
            "ftp",
        ),
        rest(
            put(),
            "/v1/config/service/a",
            json!({"name": "a", "builtin": "echo", "colour": "red"}),
            422,
            "invalid",
            "colour",
        ),
        rest(
            put(),
            "/v1/config/service/a",
            json!({"name": "a", "builtin": "echo", "timeout_ms": -1}),
            422,
            "invalid",
            "timeout_ms",
        ),
        rest(
            put(),
            "/v1/config/service/a",
            json!({"name": "a", "builtin": "nobody-has-it"}),
            422,
            "invalid",
            "nobody-has-it",
        ),
        rest(
            put(),
            "/v1/config/service/a%20b",
            json!({"name": "a b", "builtin": "echo"}),
            422,
            "invalid",
            "name",
        ),
        rest(
            put(),
            "/v1/config/http_channel/a",
            json!({"name": "a", "path": "orders", "service": "kept"}),
            422,
            "invalid",
            "path",
        ),
        rest(
            put(),
            "/v1/config/http_channel/a",
            json!({"name": "a", "path": "/{", "service": "kept"}),
            422,
            "invalid",
            "path",
        ),
        rest(
            put(),
            "/v1/config/http_channel/a",
            json!({"name": "a", "path": "/zato/ping", "service": "kept"}),
            422,
            "invalid",
            "/zato",
        ),
        rest(
            put(),
            "/v1/config/http_channel/a",
            json!({"name": "a", "path": "/a", "service": "nobody"}),
            422,
            "invalid",
            "nobody",
        ),
        rest(
            put(),
            "/v1/config/http_channel/a",
            json!({"name": "a", "path": "/kept", "service": "kept"}),
            422,
            "invalid",
            "/kept",
        ),
        rest(
            put(),
            "/v1/config/http_channel/a",
            json!({"name": "a", "path": "/a", "service": "kept", "security": "basic_auth/none"}),
            422,
            "invalid",
            "basic_auth/none",
        ),
        rest(
            put(),
            "/v1/config/amqp_connection/a",
            json!({"name": "a", "host": "h", "username": "u"}),
            422,
            "invalid",
            "password",
        ),
        rest(
            put(),
            "/v1/config/amqp_connection/a",
            json!({"name": "a", "host": "h", "port": 99999, "username": "u", "password": "p"}),
            422,
            "invalid",
            "port",
        ),
        rest(
            put(),
            "/v1/config/amqp_channel/a",
            json!({"name": "a", "connection": "none", "queue": "q", "service": "kept"}),
            422,
            "invalid",
            "none",
        ),
        rest(
            Method::DELETE,
            "/v1/config/service/kept",
            "",
            409,
            "conflict",
            "http_channel/kept",
        ),
        rest(
            Method::DELETE,
            "/v1/config/service/nobody",
            "",
            404,
            "not_found",
            "",
        ),
        rest(
            Method::GET,
            "/v1/config/service/nobody",
            "",
            404,
            "not_found",
            "",
        ),
        rest(Method::GET, "/v1/kv/nobody", "", 404, "not_found", ""),
        rest(Method::DELETE, "/v1/kv/nobody", "", 404, "not_found", ""),
        rest(
            put(),
            "/v1/kv/big",
            service(json!("x".repeat(1 << 20))),
            413,
            "too_large",
            "",
        ),
        rest(put(), "/v1/kv/%FF%FE", "x", 400, "bad_request", "UTF-8"),
        rest(
            Method::GET,
            "/v1/kv/k?consistency=maybe",
            "",
            400,
            "bad_request",
            "consistency",
        ),
        rest(
            Method::GET,
            "/v1/kv?limit=lots",
            "",
            400,
            "bad_request",
            "limit",
        ),
        rest(
            Method::POST,
            "/v1/cluster/transfer-leadership",
            json!({"to": "nobody"}),
            404,
            "not_found",
            "nobody",
        ),
        rest(
            Method::POST,
            "/v1/cluster/transfer-leadership",
            "[",
            400,
            "bad_request",
            "",
        ),
        rest(
            Method::PATCH,
            "/v1/cluster/leader",
            "",
            405,
            "method_not_allowed",
            "",
        ),
        rest(Method::GET, "/v2/nothing", "", 404, "not_found", ""),
        Rest {
            headers: &[("if-match", "7")],
            ..rest(put(), "/v1/kv/k", "x", 400, "bad_request", "If-Match")
        },
        Rest {
            headers: &[("if-match", "\"7\"")],
            ..rest(put(), "/v1/kv/k", "x", 412, "precondition_failed", "")
        },
        Rest {
            headers: &[("if-match", "\"7\""), ("if-none-match", "*")],
            ..rest(put(), "/v1/kv/k", "x", 400, "bad_request", "")
        },
    ]
}

async fn bed() -> Cluster {
    let cluster = Cluster::start(1, 500, "").await;
    cluster
        .put(0, "service", json!({"name": "kept", "builtin": "echo"}))
        .await;
    let channel = json!({"name": "kept", "path": "/kept", "service": "kept", "methods": ["POST"], "max_body_bytes": 1000});
    cluster.put(0, "http_channel", channel).await;
    cluster
}

/// The whole configuration and all keys: what must not have changed.
async fn everything(cluster: &Cluster) -> String {
    let mut all = String::new();
    for path in ["/v1/config", "/v1/kv"] {
        let answer = http::call(Method::GET, cluster.members[0].admin_url(path), &[], "")
            .await
            .expect("an answer");
        let mut value: serde_json::Value = answer.json().await.expect("JSON");
        if let Some(object) = value.as_object_mut() {
            object.remove("revision");
        }
        all += &value.to_string();
    }
    all
}

fn assert_healthy(cluster: &Cluster) {
    let log = std::fs::read_to_string(cluster.members[0].log()).expect("a log");
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn rest_names_what_is_wrong() {
    let cluster = bed().await;
    let before = everything(&cluster).await;
    let mut wrong = Vec::new();
    for case in rest_cases() {
        let what = format!("{} {} {:.80}", case.method, case.path, case.body);
        let url = cluster.members[0].admin_url(case.path);
        let answer = http::call(case.method, url, case.headers, case.body)
            .await
            .expect("an answer");
        let status = answer.status().as_u16();
        let kind = answer
            .headers()
            .get("content-type")
            .map(|v| v.to_str().unwrap_or("").to_owned());
        let text = answer.text().await.expect("a body");
        let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let code = problem["code"].as_str().unwrap_or("");
        let right = status == case.status
            && (case.code.is_empty() || code == case.code)
            && kind.as_deref() == Some("application/problem+json")
            && text.contains(case.says);
        println!("{what} -> {status} {text:.200}");
        if !right {
            wrong.push(format!(
                "{what}\n  wanted {} {} {:?}, got {status} {kind:?} {text}",
                case.status, case.code, case.says
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

async fn raw(cluster: &Cluster, request: &[u8]) -> String {
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
async fn the_command_line_says_what_to_do_and_exits_with_the_right_code() {
    let cluster = bed().await;
    let before = everything(&cluster).await;
    let admin = cluster.members[0].admin_url("");
    let nobody = "http://127.0.0.1:9";
    let good = "kind: service\nname: good\nbuiltin: echo\n";
    let cases: &[(&[&str], &str, &str, i32, &str)] = &[
        (&["leeder"], &admin, "", 2, "leeder"),
        (&[], &admin, "", 2, "Usage"),
        (&["leader", "--output", "xml"], &admin, "", 2, "xml"),
        (&["leader"], nobody, "", 3, "127.0.0.1:9"),
        (
            &["leader", "--admin", "not a url"],
            &admin,
            "",
            2,
            "not a url",
        ),
        (&["get", "nonsense"], &admin, "", 2, "nonsense"),
        (&["get", "service", "nobody"], &admin, "", 1, "nobody"),
        (
            &["delete", "service", "kept"],
            &admin,
            "",
            1,
            "http_channel/kept",
        ),
        (&["kv", "get", "nobody"], &admin, "", 1, "nobody"),
        (
            &["apply", "-f", "/nonexistent.yaml"],
            &admin,
            "",
            1,
            "/nonexistent.yaml",
        ),
        (&["apply", "-f", "-"], &admin, ": : :", 1, "line"),
        (&["apply", "-f", "-"], &admin, "", 1, ""),
        (&["apply", "-f", "-"], &admin, "kind: service\n", 1, "name"),
        (
            &["apply", "-f", "-"],
            &admin,
            "kind: nonsense\nname: a\n",
            1,
            "nonsense",
        ),
        (
            &["apply", "-f", "-"],
            &admin,
            "kind: service\nname: bad\nupstream: ftp://x\n",
            1,
            "upstream",
        ),
        (
            &["transfer-leadership", "--to", "nobody"],
            &admin,
            "",
            1,
            "nobody",
        ),
        (
            &["server", "--config", "/nonexistent.toml"],
            &admin,
            "",
            1,
            "/nonexistent.toml",
        ),
        (
            &["balancer", "--config", "/nonexistent.toml"],
            &admin,
            "",
            1,
            "/nonexistent.toml",
        ),
    ];
    for (arguments, admin, stdin, code, says) in cases {
        let run = quorate(arguments, admin, stdin);
        println!(
            "quorate {} -> {:?} {}",
            arguments.join(" "),
            run.code,
            run.err.trim()
        );
        assert_eq!(
            run.code,
            Some(*code),
            "{arguments:?}: {}{}",
            run.out,
            run.err
        );
        assert!(
            run.err.contains(says),
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
