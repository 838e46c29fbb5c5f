//! Slow clients of the administration port.

use axum::{
    body::Bytes,
    routing::{get, put},
};
use quorate_clock::Instant;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::{TcpListener, TcpStream, ToSocketAddrs},
    time::interval,
};

use super::*;

const WAIT: Duration = Duration::from_millis(300);

// guarantee: WATCH-4
#[tokio::test]
async fn stalled_reader_is_cut_off_slow_reader_kept() {
    let (mut client, ours) = duplex(8);
    let mut ours = with_write_timeout(ours, WAIT);
    let writer = tokio::spawn(async move {
        let error = ours.write_all(&[1; 64]).await.expect_err("cut off");
        (error, Instant::now())
    });
    let mut pause = interval(WAIT / 3);
    let mut byte = [0; 4];
    for _ in 0..12 {
        pause.tick().await;
        client.read_exact(&mut byte).await.unwrap();
    }
    let last = Instant::now();
    let (error, at) = writer.await.unwrap();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(at - last >= WAIT * 9 / 10, "{:?}", at - last);
}

/// The time in which a balancer wants the answer of a check.
const CHECK: Duration = Duration::from_millis(500);

/// A server with a path for health and one that takes a body.
async fn server() -> (std::net::SocketAddr, CancellationToken) {
    let router = Router::new()
        .route("/health/ready", get(async || "ready"))
        .route("/v1/body", put(async |body: Bytes| body.len().to_string()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let users = LoopbackUsers::SameUser;
    tokio::spawn(serve(
        FaceListener::new(listener, None),
        router,
        users,
        shutdown.clone(),
        Duration::ZERO,
    ));
    (address, shutdown)
}

/// Opens so many connections, each of which sends this and nothing more.
async fn slow(to: impl ToSocketAddrs + Copy, count: usize, sends: &str) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(sends.as_bytes()).await.unwrap();
        all.push(stream);
    }
    all
}

/// Asks once, and returns the status and the time that it took.
async fn ask(to: impl ToSocketAddrs, request: &str) -> (String, Duration) {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    let status = answer.split_whitespace().nth(1).unwrap_or_default();
    (status.to_owned(), begun.elapsed())
}

const HEALTH: &str = "GET /health/ready HTTP/1.1\r\nhost: quorate\r\nconnection: close\r\n\r\n";
const SLOW_BODY: &str = "PUT /v1/body HTTP/1.1\r\nhost: quorate\r\ncontent-length: 9\r\n\r\nx";

// Test 56.
// guarantee: SECURITY-42
#[tokio::test(flavor = "multi_thread")]
async fn health_is_answered_beside_slow_heads() {
    let (address, shutdown) = server().await;
    let _slow = slow(address, 1000, "GET /heal").await;
    for _ in 0..5 {
        let (status, took) = ask(address, HEALTH).await;
        assert_eq!(status, "200");
        assert!(took < CHECK, "{took:?}");
    }
    shutdown.cancel();
}

// Test 56.
// guarantee: SECURITY-42
#[tokio::test(flavor = "multi_thread")]
async fn health_is_answered_beside_slow_bodies() {
    let (address, shutdown) = server().await;
    let slow = slow(address, 600, SLOW_BODY).await;
    // Once all of them are known to be requests.
    let full = async || (ask(address, SLOW_BODY).await.0 == "503").then_some(());
    quorate_testkit::eventually::some("there is no place", Duration::from_secs(10), full).await;
    let (status, took) = ask(address, HEALTH).await;
    assert_eq!(status, "200");
    assert!(took < CHECK, "{took:?}");
    // Places come back.
    drop(slow);
    let request = SLOW_BODY.replace('9', "1");
    let free = async || (ask(address, &request).await.0 == "200").then_some(());
    quorate_testkit::eventually::some("a place is free", Duration::from_secs(10), free).await;
    shutdown.cancel();
}
