//! An orderly stop loses no request.

use std::sync::atomic::{AtomicBool, AtomicUsize};

use quorate_clock::Instant;

use super::*;

#[tokio::test]
async fn drain_finishes_running_and_closes_idle() {
    let running = RunningListener::start(quick()).await;
    let mut busy = running.client().await;
    busy.send(post("/obey/1", "slow")).await;
    let mut idle = running.client().await;
    idle.send(get("/zato/ping")).await;
    assert_eq!(idle.answer().await.unwrap().header("connection"), None);
    let mut late = running.client().await;
    late.send(get("/zato/ping")).await;
    late.answer().await.unwrap();
    let services = running.services.clone();
    eventually("it runs", async || services.in_flight() == 1).await;

    running.shutdown.cancel();
    let address = running.address;
    eventually("no new connections", async || {
        tokio::net::TcpStream::connect(address).await.is_err()
    })
    .await;
    late.send(get("/zato/ping")).await;
    let answer = late.answer().await.unwrap();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    assert!(late.is_closed().await);
    let answer = busy.answer().await.unwrap();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    assert_eq!(answer.body, "slowly");
    assert!(idle.is_closed().await);
    assert_eq!(running.drained().await, DrainReport { cut: 0 });
}

#[tokio::test]
async fn headers_that_are_coming_in_are_waited_for() {
    let limits = ClientLimits {
        head_wait: Duration::from_secs(5),
        linger: Duration::from_millis(30),
        ..quick()
    };
    let running = RunningListener::start(limits).await;
    let mut client = running.client().await;
    client.send(get("/zato/ping")).await;
    client.answer().await.unwrap();
    client.send("GET /zato/ping HTTP/1.1\r\n").await;
    // What is sent on another connection afterwards has arrived afterwards.
    running.ask(get("/zato/ping")).await;
    running.shutdown.cancel();
    let address = running.address;
    eventually("no new connections", async || {
        tokio::net::TcpStream::connect(address).await.is_err()
    })
    .await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    client.send("host: h\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert!(client.is_closed().await);
    assert_eq!(running.drained().await, DrainReport { cut: 0 });
}

#[tokio::test]
async fn the_grace_is_bounded() {
    let running = RunningListener::start(ClientLimits {
        grace: Duration::from_millis(300),
        ..quick()
    })
    .await;
    let mut client = running.client().await;
    client.send(post("/obey/1", "hang")).await;
    let services = running.services.clone();
    eventually("it runs", async || services.in_flight() == 1).await;
    let begun = Instant::now();
    assert_eq!(running.drained().await, DrainReport { cut: 1 });
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert!(client.is_closed().await);
}

/// Clients that go on asking over kept connections, each until it is told to close.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_under_load() {
    let running = RunningListener::start(quick()).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let stopping = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..32)
        .map(|_| {
            let (address, answered, stopping) =
                (running.address, answered.clone(), stopping.clone());
            tokio::spawn(async move {
                let mut client = RawClient::connect(address).await;
                loop {
                    client.send(post("/echo", "x")).await;
                    let answer = client.answer().await.expect("each request has an answer");
                    assert_eq!(answer.status, 200);
                    answered.fetch_add(1, Ordering::SeqCst);
                    if answer.header("connection") == Some("close") {
                        assert!(stopping.load(Ordering::SeqCst));
                        return;
                    }
                }
            })
        })
        .collect();
    eventually("all are busy", async || {
        answered.load(Ordering::SeqCst) > 2000
    })
    .await;
    stopping.store(true, Ordering::SeqCst);
    assert_eq!(running.drained().await, DrainReport { cut: 0 });
    for client in clients {
        client.await.unwrap();
    }
}
