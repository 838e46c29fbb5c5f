//! What is answered as asked.

use super::*;
use crate::testing::upstream::{TestUpstream, UpstreamBehavior};

#[tokio::test]
async fn the_ping_is_exactly_the_contracts() {
    let running = RunningListener::start(quick()).await;
    let answer = running.ask(get("/zato/ping")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let cid = answer.header("x-zato-cid").unwrap().to_owned();
    assert_eq!(cid.len(), 40);
    assert_eq!(
        answer.body,
        format!(
            r#"{{"zato_env": {{"details": "", "result": "ZATO_OK", "cid": "{cid}"}}, "zato_ping_response": {{"pong": "zato"}}}}"#
        )
    );
    let other = running.ask(get("/zato/ping?x=1")).await;
    assert_ne!(other.header("x-zato-cid"), Some(cid.as_str()));
    assert_eq!(
        running.ask(get("http://somewhere/zato/ping")).await.status,
        200,
        "absolute form"
    );
}

#[tokio::test]
async fn good_cid_is_kept_bad_one_replaced() {
    let running = RunningListener::start(quick()).await;
    let good = "K123456789012345678901234567890123456789";
    for (sent, kept) in [(good, true), ("K1", false), ("<script>", false)] {
        let answer = running
            .ask(format!(
                "GET /zato/ping HTTP/1.1\r\nhost: h\r\nx-zato-cid: {sent}\r\n\r\n"
            ))
            .await;
        assert_eq!(answer.header("x-zato-cid") == Some(sent), kept, "{sent}");
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn service_sees_request_without_internal_headers() {
    let running = RunningListener::start(quick()).await;
    let request = "POST /obey/a%2Fb?q=1 HTTP/1.1\r\nhost: h\r\nx-mine: 1\r\nconnection: x-hop\r\nx-hop: 1\r\n\
                   quorate-epoch: 99\r\nquorate-message-id: m\r\ncontent-length: 2\r\n\r\nhi";
    let answer = running.ask(request).await;
    let cid = answer.header("x-zato-cid").unwrap().to_owned();
    let seen = answer.json();
    assert_eq!(seen["method"], "POST");
    assert_eq!(seen["path"], "/obey/a%2Fb");
    assert_eq!(seen["query"], "q=1");
    assert_eq!(seen["params"], json!({"id": "a/b"}));
    assert_eq!(seen["body"], "hi");
    let mut headers: Vec<_> = seen["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap().to_owned())
        .collect();
    headers.sort();
    let with_cid = format!("x-zato-cid: {cid}");
    assert_eq!(
        headers,
        [
            "content-length: 2",
            "forwarded: for=127.0.0.1;host=\"h\";proto=http",
            "host: h",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: h",
            "x-forwarded-proto: http",
            "x-mine: 1",
            &with_cid
        ]
    );
}

#[tokio::test]
async fn credentials_open_and_stay_here() {
    let running = RunningListener::start(quick()).await;
    for request in [
        "GET /basic HTTP/1.1\r\nhost: h\r\nauthorization: Basic YW5uOnNlY3JldA==\r\n\r\n",
        "GET /keyed HTTP/1.1\r\nhost: h\r\nX-API-Key: k3y\r\n\r\n",
    ] {
        let answer = running.ask(request).await;
        assert_eq!(answer.status, 200);
        for secret in ["YW5u", "k3y"] {
            assert!(!answer.body.contains(secret), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn connections_are_kept_and_requests_pipelined() {
    let running = RunningListener::start(quick()).await;
    let mut client = running.client().await;
    for _ in 0..3 {
        client.send(post("/echo", "one")).await;
        assert_eq!(client.answer().await.unwrap().body, "one");
    }
    client
        .send(
            post("/echo", "a")
                + &get("/nowhere")
                + &post("/echo", "b")
                + &post("/nowhere", "unwanted"),
        )
        .await;
    client.send(post("/echo", "c")).await;
    let mut answers = Vec::new();
    for _ in 0..5 {
        let answer = client.answer().await.unwrap();
        answers.push((answer.status, answer.body));
    }
    assert_eq!(
        (
            answers[0].1.as_str(),
            answers[2].1.as_str(),
            answers[4].1.as_str()
        ),
        ("a", "b", "c")
    );
    assert_eq!((answers[1].0, answers[3].0), (404, 404));
    client.send("POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().body, "abcde");
    client.send("GET /zato/ping HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert!(client.is_closed().await, "HTTP/1.0 ends a connection");
}

#[tokio::test]
async fn a_head_is_a_get_without_its_body() {
    let running = RunningListener::start(quick()).await;
    for path in ["/zato/ping", "/obey/1", "/nowhere"] {
        let got = running.ask(get(path)).await;
        let mut client = running.client().await;
        client.send(get(path).replace("GET", "HEAD")).await;
        let head = client.answer_to("HEAD").await.unwrap();
        assert_eq!(head.status, got.status, "{path}");
        assert!(
            head.header("content-length")
                .unwrap()
                .parse::<usize>()
                .unwrap()
                > 0,
            "{path}"
        );
        client.send(get("/zato/ping")).await;
        assert_eq!(
            client.answer().await.unwrap().status,
            200,
            "the connection goes on"
        );
    }
}

#[tokio::test]
async fn head_response_invents_no_content_length() {
    let mut running = RunningListener::start(quick()).await;
    let upstream = TestUpstream::start("up", UpstreamBehavior::SaysItsName).await;
    running
        .group
        .service("up", json!({"upstream": upstream.url("/")}));
    running.group.put(
        Kind::HttpChannel,
        "up",
        json!({"path": "/up", "service": "up"}),
    );
    for (answer, length) in [
        ("204 No Content", None),
        ("304 Not Modified\r\netag: \"1\"", None),
        ("304 Not Modified\r\ncontent-length: 7", Some("7")),
        ("200 OK\r\ntransfer-encoding: chunked", None),
        ("200 OK\r\ncontent-length: 7", Some("7")),
    ] {
        let whole = format!("HTTP/1.1 {answer}\r\n\r\n");
        upstream.now(UpstreamBehavior::Answers(whole.into()));
        let mut client = running.client().await;
        client.send(get("/up").replace("GET", "HEAD")).await;
        let head = client.answer_to("HEAD").await.unwrap();
        assert_eq!(head.header("content-length"), length, "{answer}");
        client.send(get("/zato/ping")).await;
        assert_eq!(client.answer().await.unwrap().status, 200, "{answer}");
    }
}

#[tokio::test]
async fn odd_answers_of_services_are_made_proper() {
    let running = RunningListener::start(quick()).await;
    let answer = running.ask(post("/obey/1", "204")).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert_eq!(answer.header("x-gone"), None);
    assert_eq!(running.ask(post("/obey/1", "continue")).await.status, 500);
}

#[tokio::test]
async fn catalog_change_counts_from_next_request() {
    let mut running = RunningListener::start(quick()).await;
    let mut client = running.client().await;
    for round in 0..50 {
        let path = format!("/new/{round}");
        client.send(get(&path)).await;
        assert_eq!(client.answer().await.unwrap().status, 404);
        running.group.put(
            Kind::HttpChannel,
            "new",
            json!({"path": path, "service": "echo"}),
        );
        client.send(get(&path)).await;
        assert_eq!(client.answer().await.unwrap().status, 200);
        running.group.put(
            Kind::HttpChannel,
            "new",
            json!({"path": path, "service": "echo", "security": "api_key/key"}),
        );
        client.send(get(&path)).await;
        assert_eq!(client.answer().await.unwrap().status, 401);
        running
            .group
            .put(Kind::ApiKey, "key", json!({"key": format!("k{round}")}));
        client
            .send(format!(
                "GET {path} HTTP/1.1\r\nhost: h\r\nx-api-key: k{round}\r\n\r\n"
            ))
            .await;
        assert_eq!(client.answer().await.unwrap().status, 200);
        running.group.delete(Kind::HttpChannel, "new");
    }
}

#[tokio::test]
async fn upstream_failures_have_a_status_each() {
    let mut running = RunningListener::start(quick()).await;
    let upstream = TestUpstream::start("up", UpstreamBehavior::SaysItsName).await;
    running.group.service(
        "up",
        json!({"upstream": upstream.url("/base/{id}"), "timeout_ms": 200}),
    );
    running.group.put(
        Kind::HttpChannel,
        "up",
        json!({"path": "/up/{id}", "service": "up"}),
    );
    let answer = running.ask(post("/up/7?x=y", "body")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "up"));
    assert!(
        upstream.last().starts_with("POST /base/7?x=y HTTP/1.1\r\n"),
        "{}",
        upstream.last()
    );
    assert!(
        upstream
            .last()
            .contains(answer.header("x-zato-cid").unwrap())
    );

    upstream.now(UpstreamBehavior::Answers(
        b"HTTP/1.1 500 X\r\ncontent-length: 4\r\n\r\noops".into(),
    ));
    let answer = running.ask(post("/up/7", "")).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (500, "oops"),
        "an answer is an answer"
    );
    upstream.now(UpstreamBehavior::HangsUp);
    assert_eq!(running.ask(post("/up/7", "")).await.status, 502);
    upstream.now(UpstreamBehavior::Hangs);
    assert_eq!(running.ask(post("/up/7", "")).await.status, 504);
    let address = upstream.address;
    drop(upstream);
    eventually("it is gone", async || {
        tokio::net::TcpStream::connect(address).await.is_err()
    })
    .await;
    let answer = running.ask(post("/up/7", "")).await;
    assert_eq!(answer.status, 503);
    assert!(
        !answer.body.contains("127.0.0.1"),
        "addresses are nobody's business: {answer:?}"
    );
}

#[tokio::test]
async fn leaving_client_cancels_its_call() {
    let running = RunningListener::start(quick()).await;
    let mut client = running.client().await;
    client.send(post("/obey/1", "hang")).await;
    let services = running.services.clone();
    eventually("it runs", async || services.in_flight() == 1).await;
    drop(client);
    eventually("it is dropped", async || services.in_flight() == 0).await;
}

#[tokio::test]
async fn connections_beyond_bound_are_answered_503() {
    let running = RunningListener::start(ClientLimits {
        connections_max: 1,
        ..quick()
    })
    .await;
    let mut first = running.client().await;
    first.send(get("/zato/ping")).await;
    assert_eq!(first.answer().await.unwrap().status, 200);
    let told = running.ask(get("/zato/ping")).await;
    assert_eq!(told.status, 503, "{told:?}");
    assert_eq!(told.header("retry-after"), Some("1"));
    assert_eq!(told.header("connection"), Some("close"));
    let details = &told.json()["zato_env"]["details"];
    assert!(
        details
            .as_str()
            .unwrap()
            .starts_with("1 connections are open")
    );
    // The one that is there goes on.
    first.send(get("/zato/ping")).await;
    assert_eq!(first.answer().await.unwrap().status, 200);
    drop(first);
    eventually("there is room", async || {
        running.ask(get("/zato/ping")).await.status == 200
    })
    .await;
}
