//! The table of bad requests, with the answer that each gets.

use super::*;

/// Sends a request and holds its answer to the envelope.
async fn refused(running: &RunningListener, name: &str, request: &[u8]) -> RawAnswer {
    let mut client = running.client().await;
    client.send(request).await;
    let answer = client
        .answer()
        .await
        .unwrap_or_else(|| panic!("{name}: no answer"));
    let cid = answer
        .header("x-zato-cid")
        .unwrap_or_else(|| panic!("{name}: {answer:?}"))
        .to_owned();
    assert_eq!(cid.len(), 40, "{name}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{name}"
    );
    let envelope = &answer.json()["zato_env"];
    assert_eq!(envelope["result"], "ZATO_ERROR", "{name}");
    assert_eq!(envelope["cid"], cid.as_str(), "{name}");
    assert!(
        envelope["details"]
            .as_str()
            .is_some_and(|details| !details.is_empty()),
        "{name}"
    );
    answer
}

#[tokio::test]
async fn bad_request_is_answered_and_leaves_next_unharmed() {
    let running = RunningListener::start(quick()).await;
    let with = |header: &str| format!("GET /zato/ping HTTP/1.1\r\nhost: h\r\n{header}\r\n\r\n");
    let chunked = |path: &str, chunks: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n{chunks}")
    };
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let client_hello = [
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..],
        &[7; 60],
        b"\r\n\r\n",
    ]
    .concat();
    let table: Vec<(&str, Vec<u8>, u16)> = vec![
        ("unknown path", get("/nowhere").into(), 404),
        ("unknown path below /zato", get("/zato/pong").into(), 404),
        ("inactive channel", get("/off").into(), 404),
        ("path in other case", get("/ECHO").into(), 404),
        ("dots", get("/x/../echo").into(), 404),
        ("wrong method", get("/echo").replace("GET", "DELETE").into(), 405),
        ("method in lower case", get("/echo").replace("GET", "get").into(), 405),
        ("made-up method", get("/echo").replace("GET", "BREW").into(), 405),
        ("ping with POST", post("/zato/ping", "").into(), 405),
        ("no host", "GET /zato/ping HTTP/1.1\r\n\r\n".into(), 400),
        ("two hosts", with("host: b").into(), 400),
        ("host with a path", get("/zato/ping").replace("host: h", "host: h/x").into(), 400),
        ("host with a space", get("/zato/ping").replace("host: h", "host: a b").into(), 400),
        ("host with a user", get("/zato/ping").replace("host: h", "host: u@h").into(), 400),
        ("two expectations", with("expect: 100-continue\r\nexpect: x").into(), 417),
        ("another expectation", with("expect: 200-ok").into(), 417),
        ("OPTIONS *", get("*").replace("GET", "OPTIONS").into(), 400),
        ("CONNECT", get("h:80").replace("GET", "CONNECT").into(), 400),
        ("escape cut short", get("/obey/%2").into(), 400),
        ("escape without digits", get("/obey/%zz").into(), 400),
        ("escape that is not UTF-8", get("/obey/%ff").into(), 400),
        ("no HTTP", b"hello\r\n\r\n".into(), 400),
        ("TLS", client_hello, 400),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".into(), 400),
        ("HTTP/0.9", b"GET /zato/ping\r\n\r\n".into(), 400),
        ("HTTP/3.0", b"GET /zato/ping HTTP/3.0\r\n\r\n".into(), 400),
        ("space in the path", get("/a b").into(), 400),
        ("header without colon", with("no colon").into(), 400),
        ("space in a header's name", with("a b: c").into(), 400),
        ("NUL in a header", with("a: b\0c").into(), 400),
        ("folded header", with("a: b\r\n c: d").into(), 400),
        ("length that is no number", with("content-length: x").into(), 400),
        ("negative length", with("content-length: -1").into(), 400),
        ("two lengths", with("content-length: 1\r\ncontent-length: 2").into(), 400),
        ("unknown transfer coding", with("transfer-encoding: gzip").into(), 400),
        ("chunk size that is no number", chunked("/echo", "xyz\r\n").into(), 400),
        ("chunk without its end", chunked("/echo", "3\r\nabcdef\r\n0\r\n\r\n").into(), 400),
        ("one huge header", with(&format!("a: {}", "x".repeat(64 << 10))).into(), 431),
        ("huge headers without end", format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(20_000)).into(), 431),
        ("many headers", with(&many).into(), 431),
        ("long path", get(&format!("/{}", "x".repeat(60 << 10))).into(), 431),
        ("body too large", post("/tiny", "12345678901").into(), 413),
        ("body far too large", post("/tiny", &"x".repeat(3 << 20)).into(), 413),
        ("body too large in chunks", chunked("/tiny", "6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n").into(), 413),
        ("endless chunks", chunked("/tiny", &"4\r\nabcd\r\n".repeat(100_000)).into(), 413),
        (
            "large body, asking first",
            "POST /tiny HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n".into(),
            413,
        ),
        ("no credentials", get("/basic").into(), 401),
        ("credentials that are none", get("/basic").replace("host: h", "host: h\r\nauthorization: x").into(), 401),
        ("wrong password", get("/basic").replace("host: h", "host: h\r\nauthorization: Basic YW5uOnNlY3JlVA==").into(), 401),
        ("no key", get("/keyed").into(), 401),
        ("wrong key", get("/keyed").replace("host: h", "host: h\r\nx-api-key: k3z").into(), 401),
        ("service that fails", post("/obey/1", "fail").into(), 500),
        ("service that panics", post("/obey/1", "panic").into(), 500),
        ("headers that never end", b"GET /zato/ping HTTP/1.1\r\nhost: h".into(), 408),
        ("body that never ends", post("/echo", "x").replace("length: 1", "length: 2").into(), 408),
        ("chunks that never end", chunked("/echo", "3\r\nabc\r\n").into(), 408),
    ];
    for (name, request, status) in &table {
        let answer = refused(&running, name, request).await;
        assert_eq!(answer.status, *status, "{name}: {answer:?}");
        match status {
            401 => assert!(answer.header("www-authenticate").is_some(), "{name}"),
            405 => assert!(answer.header("allow").unwrap().starts_with("GET"), "{name}"),
            _ => {}
        }
        assert!(!answer.body.contains("secret"), "{name}: {answer:?}");
        assert_eq!(
            running.ask(get("/zato/ping")).await.status,
            200,
            "after {name}"
        );
    }
    let services = running.services.clone();
    eventually("nothing is left running", async || {
        services.in_flight() == 0
    })
    .await;
    assert_eq!(running.drained().await, DrainReport { cut: 0 });
}

#[tokio::test]
async fn abandoned_half_request_does_no_harm() {
    let running = RunningListener::start(quick()).await;
    let mut silent = running.client().await;
    assert!(
        silent.is_closed().await,
        "a connection that says nothing is closed"
    );
    for half in [
        "",
        "G",
        "GET / HTTP/1.1\r\n",
        "POST /echo HTTP/1.1\r\ncontent-length: 5\r\n\r\nab",
    ] {
        let mut client = running.client().await;
        client.send(half).await;
        drop(client);
    }
    assert_eq!(running.ask(get("/zato/ping")).await.status, 200);
    assert_eq!(running.drained().await, DrainReport { cut: 0 });
}

#[tokio::test]
async fn a_trickle_does_not_buy_time() {
    let running = RunningListener::start(quick()).await;
    let mut client = running.client().await;
    let begun = quorate_clock::Instant::now();
    client.send("GET /zato/ping HTTP/1.1\r\n").await;
    let (mut read, mut write) = client.stream.split();
    let trickle = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if tokio::io::AsyncWriteExt::write_all(&mut write, b"a: b\r\n")
                .await
                .is_err()
            {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut said = Vec::new();
    let listen = async {
        let _ = tokio::io::AsyncReadExt::read_buf(&mut read, &mut said).await;
    };
    tokio::select! { () = trickle => {}, () = listen => {} }
    assert!(
        said.starts_with(b"HTTP/1.1 408 "),
        "{}",
        String::from_utf8_lossy(&said)
    );
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn idle_connections_are_closed_later_than_slow_requests() {
    let limits = ClientLimits {
        idle_wait: Duration::from_millis(600),
        ..quick()
    };
    let running = RunningListener::start(limits).await;
    let mut client = running.client().await;
    client.send(get("/zato/ping")).await;
    client.answer().await.unwrap();
    let begun = quorate_clock::Instant::now();
    assert!(client.is_closed().await);
    assert!(
        begun.elapsed() >= Duration::from_millis(500),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn bad_request_after_good_gets_envelope() {
    let running = RunningListener::start(quick()).await;
    let mut client = running.client().await;
    client
        .send(post("/echo", "HTTP/1.1 400 Bad Request\r\n\r\n"))
        .await;
    assert_eq!(
        client.answer().await.unwrap().body,
        "HTTP/1.1 400 Bad Request\r\n\r\n"
    );
    client.send("bad\r\n\r\n").await;
    let answer = client.answer().await.unwrap();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (400, Some("close"))
    );
    assert!(answer.header("x-zato-cid").is_some());
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn service_nobody_carries_is_reported_not_run() {
    let mut running = RunningListener::start(quick()).await;
    running.group.announce(2, &["far"]);
    running.group.put(
        Kind::HttpChannel,
        "far",
        json!({"path": "/far", "service": "far"}),
    );
    let answer = refused(&running, "far", post("/far", "x").as_bytes()).await;
    assert_eq!(answer.status, 503);
}
