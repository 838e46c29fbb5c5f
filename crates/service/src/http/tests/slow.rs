//! Clients that take their time.

use quorate_clock::Instant;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    proxy::{Played, UPLOAD},
    *,
};
use crate::{Origin, testing};

#[tokio::test]
async fn slow_clients_exhaust_only_client_places() {
    let patient = ClientLimits {
        body_wait: Duration::from_secs(60),
        ..quick()
    };
    let running = RunningListener::start_with(patient, 3).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = running.client().await;
        client
            .send(post("/obey/1", "he").replace(": 2", ": 5"))
            .await;
        clients.push(client);
    }
    let services = running.services.clone();
    eventually("all places are taken", async || services.in_flight() == 3).await;
    for _ in 0..2 {
        let told = running.ask(get("/zato/ping")).await;
        assert_eq!(told.status, 503, "{told:?}");
        assert_eq!(told.header("retry-after"), Some("1"));
        let details = &told.json()["zato_env"]["details"];
        assert!(details.as_str().unwrap().starts_with("as many requests"));
    }
    let handled = services.call("obey", testing::message(1)).await.unwrap();
    assert_eq!(handled.status, 200);
    let refused = services.call("obey", testing::request(Origin::Http(None)));
    assert!(matches!(refused.await, Err(ServiceError::NotRun(_))));
    // A place is free again once its client goes on, or away.
    clients[0].send("llo").await;
    assert_eq!(clients[0].answer().await.unwrap().status, 200);
    assert_eq!(running.ask(get("/zato/ping")).await.status, 200);
}

#[tokio::test]
async fn messages_exhaust_only_message_places() {
    let running = RunningListener::start_with(quick(), 2).await;
    let services = running.services.clone();
    let hanging: Vec<_> = (0..2)
        .map(|_| {
            let services = services.clone();
            tokio::spawn(async move {
                let mut message = testing::message(1);
                message.body = "hang".into();
                services.call("obey", message).await
            })
        })
        .collect();
    eventually("both run", async || services.in_flight() == 2).await;
    let third = services.call("obey", testing::message(1)).await;
    assert!(matches!(third, Err(ServiceError::NotRun(_))), "{third:?}");
    assert_eq!(running.ask(get("/zato/ping")).await.status, 200);
    hanging.iter().for_each(|it| it.abort());
}

#[tokio::test]
async fn request_body_below_minimum_rate_times_out() {
    let played = Played::start(json!({"timeout_ms": 60_000})).await;
    // Ten times as long as a client may say nothing.
    let slow = quick().body_wait * 10;
    for path in ["/up", "/obey/1"] {
        let begun = Instant::now();
        let mut client = played.running.client().await;
        client.send(UPLOAD.replace("/up", path)).await;
        let (mut reading, mut writing) = client.stream.into_split();
        let dribbling = tokio::spawn(async move {
            while writing.write_all(b"1\r\nx\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let mut answer = vec![0; 1000];
        let n = reading.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{path}: {answer}");
        let details = "the body came with less than 512 bytes a second for 2 s";
        assert!(answer.contains(details), "{path}: {answer}");
        assert!(begun.elapsed() >= slow, "{path}: {:?}", begun.elapsed());
        dribbling.abort();
    }
    let services = played.running.services.clone();
    eventually("no place is kept", async || services.in_flight() == 0).await;
}

#[tokio::test]
async fn response_read_below_minimum_rate_times_out() {
    let played = Played::start(json!({})).await;
    let (mut client, mut side) = played.asked(&get("/up")).await;
    SockRef::from(&client.stream)
        .set_recv_buffer_size(2048)
        .unwrap();
    let serving = async {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 64 << 20);
        side.says(head).await;
        side.sends(64 << 20).await
    };
    let services = played.running.services.clone();
    let dribbling = async {
        let begun = Instant::now();
        let mut byte = [0];
        while let Ok(1..) = client.stream.read(&mut byte).await {
            if services.in_flight() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        begun.elapsed()
    };
    let (took, served) = tokio::join!(dribbling, serving);
    assert!(!served, "it is not taken whole");
    assert!(took >= quick().body_wait * 10, "{took:?}");
}

#[tokio::test]
async fn websockets_leave_half_of_the_connections_to_others() {
    let limits = ClientLimits {
        connections_max: 4,
        ..quick()
    };
    let running = RunningListener::start(limits).await;
    let played = Played::start_on(running, json!({})).await;
    let upgrade = get("/up").replace(
        "\r\n\r\n",
        "\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let mut open = Vec::new();
    for _ in 0..2 {
        let (mut client, mut side) = played.asked(&upgrade).await;
        side.says(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        )
        .await;
        assert_eq!(client.head().await.unwrap().status, 101);
        open.push((client, side));
    }
    let told = played.running.ask(&upgrade).await;
    assert_eq!(told.status, 503, "{told:?}");
    assert_eq!(told.header("retry-after"), Some("1"));
    assert!(told.body.contains("2 WebSockets are open"), "{told:?}");
    assert_eq!(played.running.ask(get("/zato/ping")).await.status, 200);
    // One that ends leaves its place to another.
    open.pop();
    let next = async || {
        let mut client = played.running.client().await;
        client.send(&upgrade).await;
        let answering = async {
            let mut side = played.side().await;
            side.says("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
                .await;
            side
        };
        tokio::select! {
            _side = answering => client.head().await.unwrap().status,
            told = client.head() => told.unwrap().status,
        }
    };
    eventually("a place for another", async || next().await == 101).await;
}

#[tokio::test]
async fn whole_bodies_share_bounded_memory() {
    let limits = ClientLimits {
        bodies_bytes_max: 8 << 10,
        ..quick()
    };
    let running = RunningListener::start(limits).await;
    let service = json!({"retries": 1, "most": 1 << 20});
    let played = Played::start_on(running, service).await;
    let long = "x".repeat(9 << 10);
    let told = played.running.ask(post("/obey/1", &long)).await;
    assert_eq!(told.status, 503, "{told:?}");
    assert_eq!(told.header("retry-after"), Some("1"));
    // What is released is there for the next one, and an upstream needs none.
    for _ in 0..3 {
        let fits = played.running.ask(post("/obey/1", &long[..8 << 10])).await;
        assert_eq!(fits.status, 200, "{fits:?}");
    }
    let (mut client, mut side) = played.asked(&post("/up", &long)).await;
    side.until(&long).await;
    side.says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.unwrap().status, 200);
}
