//! Bodies that flow between a client and an upstream.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

/// A member with a channel `/up` to a server that the test plays.
pub(super) struct Played {
    pub(super) running: RunningListener,
    listener: TcpListener,
}

impl Played {
    pub(super) async fn start(service: serde_json::Value) -> Played {
        Played::start_on(RunningListener::start(quick()).await, service).await
    }

    pub(super) async fn start_on(
        mut running: RunningListener,
        service: serde_json::Value,
    ) -> Played {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/up", listener.local_addr().unwrap());
        let mut spec = json!({"upstream": url, "timeout_ms": 1000});
        let (fields, more) = (spec.as_object_mut().unwrap(), service);
        fields.extend(more.as_object().unwrap().clone());
        // Short where a test has nothing to do with it.
        let most = spec
            .as_object_mut()
            .unwrap()
            .remove("most")
            .unwrap_or(json!(1000));
        running.group.service("up", spec);
        running.group.put(
            Kind::HttpChannel,
            "up",
            json!({"path": "/up", "service": "up", "max_body_bytes": most}),
        );
        Played { running, listener }
    }

    /// A client that has sent this, and the upstream's side of it with the head that came.
    pub(super) async fn asked(&self, request: &str) -> (RawClient, Side) {
        let mut client = self.running.client().await;
        client.send(request).await;
        (client, self.side().await)
    }

    /// The upstream's side of the next connection, with the head that came.
    pub(super) async fn side(&self) -> Side {
        let (stream, _) = self.listener.accept().await.unwrap();
        let mut side = Side {
            stream,
            read: Vec::new(),
        };
        side.until("\r\n\r\n").await;
        side
    }
}

/// The upstream's end of a connection.
pub(super) struct Side {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Side {
    /// Reads on until this has come.
    pub(super) async fn until(&mut self, text: &str) {
        let holds = |read: &[u8]| read.windows(text.len()).any(|it| it == text.as_bytes());
        while !holds(&self.read) {
            let reading = self.stream.read_buf(&mut self.read);
            let n = tokio::time::timeout(Duration::from_secs(10), reading).await;
            assert!(n.unwrap().unwrap() > 0, "{text:?} in {:?}", self.text());
        }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).to_ascii_lowercase()
    }

    /// Whether so many bytes are taken of it.
    pub(super) async fn sends(&mut self, bytes: usize) -> bool {
        let piece = vec![b'x'; 1 << 16];
        for _ in 0..bytes >> 16 {
            if self.stream.write_all(&piece).await.is_err() {
                return false;
            }
        }
        true
    }

    pub(super) async fn says(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).await.unwrap();
    }
}

pub(super) const STREAM: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
pub(super) const UPLOAD: &str =
    "POST /up HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn upstream_answer_arrives_while_streaming() {
    let played = Played::start(json!({})).await;
    let (mut client, mut side) = played.asked(&get("/up")).await;
    side.says(STREAM).await;
    let head = client.head().await.unwrap();
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    assert_eq!(played.running.services.in_flight(), 1, "it is under way");
    for n in 0..3 {
        side.says(format!("8\r\ndata: {n}\n\r\n")).await;
        assert_eq!(client.chunk().await.unwrap(), format!("data: {n}\n"));
    }
    side.says("0\r\n\r\n").await;
    assert_eq!(client.chunk().await, None);
    let services = played.running.services.clone();
    eventually("it is over", async || services.in_flight() == 0).await;
    client.send(get("/zato/ping")).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn long_download_arrives_whole() {
    let played = Played::start(json!({})).await;
    let (mut client, mut side) = played.asked(&get("/up")).await;
    let length = 20 << 20;
    let sending = async {
        side.says(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"
        ))
        .await;
        side.says(vec![b'x'; length]).await;
    };
    let (answer, ()) = tokio::join!(client.answer(), sending);
    assert_eq!(answer.unwrap().body.len(), length);
}

// guarantee: HTTP-5
#[tokio::test]
async fn upload_is_streamed_and_ended_only_by_silence() {
    let played = Played::start(json!({})).await;
    let (mut client, mut side) = played.asked(UPLOAD).await;
    assert!(side.text().contains("transfer-encoding: chunked"));
    // Longer than any silence that is allowed.
    for n in 0..8 {
        client.send("1\r\nx\r\n").await;
        side.until(&"1\r\nx\r\n".repeat(n + 1)).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    client.send("0\r\n\r\n").await;
    side.until("0\r\n\r\n").await;
    side.says("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.answer().await.unwrap().body, "ok");

    let (mut client, _side) = played.asked(UPLOAD).await;
    client.send("1\r\nx\r\n").await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(answer.body.contains("within 200 ms"), "{answer:?}");
}

#[tokio::test]
async fn growing_upload_is_refused_on_its_way() {
    let played = Played::start(json!({})).await;
    let (mut client, _side) = played.asked(UPLOAD).await;
    client
        .send(format!("1f4\r\n{0}\r\n1f5\r\n{0}x\r\n", "x".repeat(500)))
        .await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn upstream_may_answer_before_reading_whole_request() {
    let played = Played::start(json!({})).await;
    for status in ["401 Unauthorized", "413 Payload Too Large"] {
        let (mut client, mut side) = played.asked(UPLOAD).await;
        client.send("1\r\nx\r\n").await;
        side.says(format!(
            "HTTP/1.1 {status}\r\ncontent-length: 4\r\nconnection: close\r\n\r\nnope"
        ))
        .await;
        drop(side);
        let answer = client.answer().await.unwrap();
        assert!(status.starts_with(&answer.status.to_string()), "{answer:?}");
        assert_eq!(answer.body, "nope");
        assert_eq!(answer.header("connection"), Some("close"));
    }
}

#[tokio::test]
async fn idle_upstream_is_given_up_during_upload() {
    let played = Played::start(json!({"timeout_ms": 300})).await;
    let (mut client, _side) = played.asked(&post("/up", "x")).await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 504);
    assert!(answer.body.contains("within 300 ms"), "{answer:?}");
}

#[tokio::test]
async fn broken_answer_is_cut_off_or_fails() {
    let played = Played::start(json!({})).await;
    let (mut client, mut side) = played.asked(&get("/up")).await;
    side.says(STREAM).await;
    side.says("1\r\nx\r\n").await;
    client.head().await.unwrap();
    assert_eq!(client.chunk().await.unwrap(), "x");
    drop(side);
    assert!(client.is_closed().await, "no end of what has none");

    let (mut client, mut side) = played.asked(&get("/up")).await;
    side.says("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        .await;
    drop(side);
    assert_eq!(client.answer().await.unwrap().status, 502);
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let played = Played::start(json!({})).await;
    let request = "POST /up HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\
                   te: trailers\r\nconnection: te\r\n\r\n1\r\nx\r\n0\r\nx-sum: 1\r\n\r\n";
    let (mut client, mut side) = played.asked(request).await;
    side.until("x-sum: 1\r\n\r\n").await;
    assert!(side.text().contains("te: trailers"), "{}", side.text());
    side.says("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n1\r\ny\r\n0\r\nx-t: 2\r\n\r\n")
        .await;
    assert_eq!(client.head().await.unwrap().header("trailer"), Some("x-t"));
    assert_eq!(client.chunk().await.unwrap(), "y");
    assert_eq!(client.line().await, "0");
    assert_eq!(client.line().await, "x-t: 2");
}

const WEBSOCKET: &str = "GET /up HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";

#[tokio::test]
async fn a_websocket_is_passed_on() {
    let played = Played::start(json!({})).await;
    let (mut client, mut side) = played.asked(WEBSOCKET).await;
    for line in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-key: ",
    ] {
        assert!(side.text().contains(line), "{}", side.text());
    }
    side.says("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: a\r\n\r\nhello")
        .await;
    let head = client.head().await.unwrap();
    assert_eq!(head.status, 101);
    assert_eq!(head.header("upgrade"), Some("websocket"));
    assert_eq!(head.header("sec-websocket-accept"), Some("a"));
    client.send("one\r\n").await;
    side.until("one\r\n").await;
    side.says("two\r\n").await;
    assert_eq!(client.line().await, "hellotwo");
    drop(side);
    assert!(client.is_closed().await);
    let services = played.running.services.clone();
    eventually("it is over", async || services.in_flight() == 0).await;
}

#[tokio::test]
async fn a_websocket_ends_when_one_side_does() {
    let played = Played::start(json!({})).await;
    let (mut client, mut side) = played.asked(WEBSOCKET).await;
    side.says("HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(client.head().await.unwrap().status, 101);
    client.send("last words").await;
    client.stream.shutdown().await.unwrap();
    side.until("last words").await;
    side.says("and mine\r\n").await;
    assert_eq!(client.line().await, "and mine");
    // The upstream says no end; it is given a moment, and not the hour of a silent tunnel.
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn lookalike_of_websocket_is_an_ordinary_request() {
    let played = Played::start(json!({})).await;
    let body = "\r\ncontent-length: 1\r\n\r\nx";
    let request = WEBSOCKET.replace("GET", "POST").replace("\r\n\r\n", body);
    let (mut client, mut side) = played.asked(&request).await;
    side.until("\r\n\r\nx").await;
    assert!(!side.text().contains("upgrade"), "{}", side.text());
    side.says("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.answer().await.unwrap().body, "ok");
}

#[tokio::test]
async fn refused_websocket_is_refused_and_code_takes_none() {
    let played = Played::start(json!({})).await;
    let (mut client, mut side) = played.asked(WEBSOCKET).await;
    side.says("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.unwrap().status, 426);
    let answer = played.running.ask(WEBSOCKET.replace("/up", "/echo")).await;
    assert_eq!(answer.status, 501);
    assert!(answer.body.contains("takes no WebSocket"), "{answer:?}");
}

#[tokio::test]
async fn drain_closes_websocket_without_cutting_off() {
    let played = Played::start(json!({})).await;
    let (mut client, mut side) = played.asked(WEBSOCKET).await;
    side.says("HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(client.head().await.unwrap().status, 101);
    assert_eq!(played.running.drained().await, DrainReport { cut: 0 });
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn redirects_and_host_follow_service_host_setting() {
    for (host, shown, location) in [
        ("upstream", "127.0.0.1:", "http://shop.example/login"),
        ("client", "shop.example", "http://UP/login"),
    ] {
        let played = Played::start(json!({"host": host})).await;
        let up = played.listener.local_addr().unwrap().to_string();
        let request = get("/up").replace("host: h", "host: shop.example");
        let (mut client, mut side) = played.asked(&request).await;
        assert!(
            side.text().contains(&format!("\r\nhost: {shown}")),
            "{}",
            side.text()
        );
        side.says(format!(
            "HTTP/1.1 302 Found\r\nlocation: http://{up}/login\r\ncontent-length: 0\r\n\r\n"
        ))
        .await;
        let answer = client.answer().await.unwrap();
        assert_eq!(
            answer.header("location"),
            Some(&*location.replace("UP", &up))
        );
    }
}

#[tokio::test]
async fn connection_header_strips_no_protected_header() {
    let played = Played::start(json!({})).await;
    let request = "POST /up HTTP/1.1\r\nhost: h\r\nauthorization: a\r\ncookie: c\r\ncontent-type: t/x\r\n\
                   content-length: 1\r\nx-own: 1\r\n\
                   connection: close, X-Forwarded-For, X-Forwarded-Host, Forwarded, Content-Type, \
                   Authorization, Cookie, Host, X-Zato-CID, Content-Length, X-Own\r\n\r\nx";
    let (_client, mut side) = played.asked(request).await;
    side.until("\r\n\r\nx").await;
    let text = side.text();
    for kept in [
        "host: 127.0.0.1",
        "authorization: a",
        "cookie: c",
        "content-type: t/x",
        "content-length: 1",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: h",
        "x-forwarded-proto: http",
        "forwarded: for=127.0.0.1",
        "x-zato-cid: k",
    ] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
    assert!(!text.contains("x-own"), "{text}");

    let (mut client, mut side) = played.asked(&get("/up")).await;
    side.says("HTTP/1.1 200 OK\r\nset-cookie: a=1\r\netag: \"1\"\r\nx-own: 1\r\nconnection: set-cookie, etag, x-own\r\ncontent-length: 0\r\n\r\n")
        .await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.header("set-cookie"), Some("a=1"));
    assert_eq!(answer.header("etag"), Some("\"1\""));
    assert_eq!(answer.header("x-own"), None);
}

// guarantee: HTTP-6
#[tokio::test]
async fn path_traversal_beyond_upstream_path_is_bad_request() {
    let mut played = Played::start(json!({})).await;
    let at = played.listener.local_addr().unwrap();
    for (name, path, upstream) in [
        ("one", "/one/{name}", "/pub/{name}"),
        ("all", "/all/{*name}", "/pub/{name}"),
        ("query", "/query/{name}", "/pub?name={name}"),
    ] {
        let group = &mut played.running.group;
        group.service(name, json!({"upstream": format!("http://{at}{upstream}")}));
        let channel = json!({"path": path, "service": name});
        group.put(Kind::HttpChannel, name, channel);
    }
    for path in [
        "/one/..%2Fsecret.txt",
        "/one/..%2fsecret.txt",
        "/one/%2e%2e%2Fsecret.txt",
        "/one/x%2F..%2F..%2Fsecret.txt",
        "/one/..%5Csecret.txt",
        "/one/..",
        "/one/%2e%2e",
        "/one/.",
        "/one/a%00b",
        "/one/a%0Ab",
        "/all/../secret.txt",
        "/all/a/../../secret.txt",
        "/all/a/%2e%2e/b",
        "/all/..%5Ca",
        "/all/a%00",
    ] {
        let answer = played.running.ask(get(path)).await;
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        assert!(answer.json()["zato_env"]["details"].is_string());
    }
    for (path, asked) in [
        ("/query/..", "/pub?name=.."),
        ("/query/a%00", "/pub?name=a%00"),
        ("/one/..%252Fa", "/pub/..%252Fa"),
        ("/one/a%2Fb", "/pub/a%2Fb"),
        ("/all/a/b%2Fc/", "/pub/a/b%2Fc/"),
        ("/all/a//b", "/pub/a//b"),
        ("/all/", "/pub/"),
    ] {
        let (_client, side) = played.asked(&get(path)).await;
        let line = format!("get {} http/1.1\r\n", asked.to_ascii_lowercase());
        assert!(side.text().starts_with(&line), "{path}: {}", side.text());
    }
    assert_eq!(played.running.ask(get("/all")).await.status, 404);
}
