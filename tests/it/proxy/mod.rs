//! What `docs/http.md` says of the way through a member and through the balancer, against a
//! real upstream.

mod client;
mod edges;
mod slow;
mod upstream;

use std::net::SocketAddr;

use serde_json::json;

use self::client::{Answer, Client};
use quorate_testkit::{
    balancer::BalancerProcess,
    cluster::{SOON, TestCluster},
    eventually::eventually,
};

/// A member and the balancer in front of it.
struct Ways {
    cluster: TestCluster,
    balancer: BalancerProcess,
    upstream: SocketAddr,
}

const PATHS: [&str; 20] = [
    "echo",
    "count",
    "events",
    "large",
    "late",
    "long-head",
    "many-heads",
    "range",
    "unchanged",
    "nothing",
    "early",
    "away",
    "socket",
    "nowhere",
    "trailers",
    "breaks-at-once",
    "breaks-short",
    "breaks-long",
    "breaks-chunked",
    "needs-upgrade",
];

impl Ways {
    async fn start() -> Ways {
        let cluster = TestCluster::start(1, 500, "http.body_wait_ms = 1000").await;
        let upstream = upstream::start().await;
        for path in PATHS {
            let url = format!("http://{upstream}/{path}");
            // Less than some of the answers take as a whole.
            let timeout_ms = if path == "late" { 5000 } else { 1000 };
            let service = json!({"name": path, "upstream": url, "timeout_ms": timeout_ms});
            cluster.put(0, "service", service).await;
            let channel = json!({"name": path, "path": format!("/{path}"), "service": path,
                                 "max_body_bytes": 16 << 20});
            cluster.put(0, "http_channel", channel).await;
        }
        for (name, service, most) in [
            (
                "client-host",
                json!({"upstream": format!("http://{upstream}/echo"), "host": "client"}),
                1,
            ),
            (
                "client-away",
                json!({"upstream": format!("http://{upstream}/away"), "host": "client"}),
                1,
            ),
            (
                "small",
                json!({"upstream": format!("http://{upstream}/echo")}),
                1000,
            ),
            (
                "small-again",
                json!({"upstream": format!("http://{upstream}/echo"), "retries": 1}),
                1000,
            ),
            ("small-code", json!({"builtin": "echo"}), 1000),
        ] {
            let mut service = service;
            service["name"] = name.into();
            cluster.put(0, "service", service).await;
            let channel = json!({"name": name, "path": format!("/{name}"), "service": name,
                                 "max_body_bytes": most});
            cluster.put(0, "http_channel", channel).await;
        }
        // Shorter than any service: the cluster's word counts.
        let balancer = BalancerProcess::start_with(&cluster, "server_timeout_ms = 500").await;
        let ways = Ways {
            cluster,
            balancer,
            upstream,
        };
        eventually("the longest service at the balancer", SOON, || async {
            let path = ways.cluster.root.path().join("balancer/haproxy.cfg");
            let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
            let told = text.contains("timeout server 65000ms");
            told.then_some(()).ok_or(text)
        })
        .await;
        ways
    }

    /// The ports of both.
    fn ports(&self) -> [(&'static str, u16); 2] {
        [
            ("member", self.cluster.members[0].http),
            ("balancer", self.balancer.port()),
        ]
    }
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: shop.example\r\n{headers}\r\n")
}

async fn ask(port: u16, request: impl AsRef<[u8]>) -> Answer {
    let mut client = Client::connect(port).await;
    client.send(request).await;
    client.answer().await
}

#[track_caller]
fn is_envelope(way: &str, answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{way}: {answer:?}");
    let cid = answer.header("x-zato-cid").unwrap_or_default();
    assert_eq!(cid.len(), 40, "{way}: {answer:?}");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("an envelope");
    assert_eq!(body["zato_env"]["cid"], cid, "{way}");
    assert_eq!(body["zato_env"]["result"], "ZATO_ERROR", "{way}");
}

// guarantee: HTTP-5, HTTP-7
#[tokio::test]
async fn bodies_stream_through_member_and_balancer_alike() {
    let ways = Ways::start().await;
    for (way, port) in ways.ports() {
        let mut client = Client::connect(port).await;
        client.send(get("/events", "")).await;
        assert_eq!(client.head().await.status, 200, "{way}");
        for n in 0..3 {
            client.until(format!("data: {n}\n\n").as_bytes()).await;
        }
        client.until(b"0\r\n\r\n").await;

        let answer = ask(port, get("/large", "")).await;
        assert_eq!(answer.body.len(), 20 << 20, "{way}");
        assert_eq!(ask(port, get("/late", "")).await.text(), "late", "{way}");

        // Longer as a whole than the upstream may be silent.
        let mut client = Client::connect(port).await;
        let head = "POST /count HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
        client.send(head).await;
        for _ in 0..8 {
            client.send("5\r\nhello\r\n").await;
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        client.send("0\r\n\r\n").await;
        assert_eq!(client.answer().await.text(), "40", "{way}");

        for _ in 0..5 {
            let body = vec![b'x'; 9 << 20];
            let head = format!(
                "POST /early HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let mut client = Client::connect(port).await;
            client.send([head.as_bytes(), &body].concat()).await;
            let answer = client.answer().await;
            assert_eq!(
                (answer.status, answer.text()),
                (413, "big!".into()),
                "{way}"
            );
        }
    }
}

#[tokio::test]
async fn heads_are_passed_on_changed_and_refused_alike() {
    let ways = Ways::start().await;
    for (way, port) in ways.ports() {
        let forged = "x-forwarded-proto: https\r\nconnection: x-forwarded-for, authorization\r\n\
                      authorization: Bearer q\r\n";
        let text = ask(port, get("/echo?q=a%20b", forged)).await.text();
        assert!(
            text.starts_with("GET /echo?q=a%20b HTTP/1.1\r\n"),
            "{way}: {text}"
        );
        for line in [
            format!("\r\nhost: {}\r\n", ways.upstream),
            "\r\nauthorization: Bearer q\r\n".into(),
            "\r\nx-forwarded-for: 127.0.0.1".into(),
            "\r\nx-forwarded-host: shop.example\r\n".into(),
            "\r\nforwarded: for=127.0.0.1;host=\"shop.example\";proto=".into(),
            "\r\nx-zato-cid: K".into(),
        ] {
            assert!(text.contains(&line), "{way}: {line:?} in {text}");
        }
        assert!(!text.contains("\r\naccept"), "{way}: {text}");
        if way == "balancer" {
            assert!(text.contains("\r\nx-forwarded-proto: http\r\n"), "{text}");
        }

        let range = ask(port, get("/range", "range: bytes=2-4\r\n")).await;
        assert_eq!((range.status, range.text()), (206, "234".into()), "{way}");
        assert_eq!(range.header("content-range"), Some("bytes 2-4/10"), "{way}");
        for method in ["GET", "HEAD"] {
            let asked = |path, headers| get(path, headers).replacen("GET", method, 1);
            let unchanged = ask(port, asked("/unchanged", "if-none-match: \"1\"\r\n")).await;
            assert_eq!(unchanged.status, 304, "{way} {method}");
            assert_eq!(unchanged.header("etag"), Some("\"1\""), "{way} {method}");
            assert_eq!(unchanged.header("content-length"), None, "{way} {method}");
            let nothing = ask(port, asked("/nothing", "")).await;
            assert_eq!(nothing.status, 204, "{way} {method}");
            assert_eq!(nothing.header("content-length"), None, "{way} {method}");
        }
        let mut client = Client::connect(port).await;
        client
            .send(get("/large", "").replacen("GET", "HEAD", 1))
            .await;
        let large = client.head().await;
        assert_eq!(large.header("content-length"), Some("20971520"), "{way}");

        let away = ask(port, get("/away", "")).await;
        assert_eq!(
            away.header("location"),
            Some("http://shop.example/login"),
            "{way}"
        );
        let long = ask(port, get("/long-head", "")).await;
        assert_eq!(long.header("x-long").map(str::len), Some(16_000), "{way}");
        assert_eq!(
            ask(port, get("/many-heads", "")).await.count("x-one"),
            300,
            "{way}"
        );
    }
}

#[tokio::test]
async fn large_heads_and_bad_requests_get_same_envelope() {
    let ways = Ways::start().await;
    let header = |bytes: usize| format!("x-a: {}\r\n", "a".repeat(bytes));
    let many = |count: usize| {
        (0..count)
            .map(|n| format!("x-{n}: 1\r\n"))
            .collect::<String>()
    };
    for (way, port) in ways.ports() {
        for (name, request) in [
            ("20 KB of header", get("/echo", &header(20_000))),
            ("30 KB of header", get("/echo", &header(30_000))),
            (
                "20 KB of URL",
                get(&format!("/echo?{}", "a".repeat(20_000)), ""),
            ),
            ("101 headers", get("/echo", &many(101))),
            ("UTF-8 in the path", get("/echo?q=grün", "")),
        ] {
            assert_eq!(ask(port, request).await.status, 200, "{way}: {name}");
        }
        for (name, status, request) in [
            ("40 KB of header", 431, get("/echo", &header(40_000))),
            (
                "40 KB of URL",
                431,
                get(&format!("/echo?{}", "a".repeat(40_000)), ""),
            ),
            ("64 KB of header", 431, get("/echo", &header(64 << 10))),
            ("300 headers", 431, get("/echo", &many(300))),
            ("3000 headers", 431, get("/echo", &many(3000))),
            ("space in a name", 400, get("/echo", "a b: c\r\n")),
            ("no host", 400, "GET /echo HTTP/1.1\r\n\r\n".into()),
            (
                "another expectation",
                417,
                get("/echo", "expect: 200-ok\r\n"),
            ),
            ("unknown path", 404, get("/unknown", "")),
        ] {
            let answer = ask(port, request).await;
            is_envelope(&format!("{way}: {name}"), &answer, status);
        }
    }
}

#[tokio::test]
async fn a_websocket_goes_through_member_and_balancer() {
    let ways = Ways::start().await;
    let upgrade = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (way, port) in ways.ports() {
        let mut client = Client::connect(port).await;
        client.send(get("/socket", upgrade)).await;
        let head = client.head().await;
        assert_eq!(head.status, 101, "{way}: {head:?}");
        for n in 0..3 {
            client.send(format!("frame {n}\n")).await;
            client.until(format!("frame {n}\n").as_bytes()).await;
        }
    }
}

#[tokio::test]
async fn balancer_reports_whether_any_member_is_ready() {
    let mut ways = Ways::start().await;
    let [_, (_, port)] = ways.ports();
    let ready = ask(port, get("/zato-lb-ready", "")).await;
    assert_eq!(ready.status, 200, "{ready:?}");
    ways.cluster.members[0].kill();
    eventually("no member is ready", SOON, || async {
        let answer = ask(port, get("/zato-lb-ready", "")).await;
        (answer.status == 503)
            .then_some(answer)
            .ok_or("still ready")
    })
    .await;
    let answer = ask(port, get("/zato-lb-ready", "")).await;
    is_envelope("nobody", &answer, 503);
    assert_eq!(ask(port, get("/zato-lb-alive", "")).await.status, 200);
}
