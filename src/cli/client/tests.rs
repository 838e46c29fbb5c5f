//! The client against small servers with scripted answers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use http::StatusCode;

/// The behavior of a fake member for each request.
#[derive(Clone, Copy)]
enum FakeBehavior {
    /// Answers with this status and body.
    Answer(u16, &'static str),
    /// Reads the request and closes the connection.
    HangUp,
    /// Reads the request and says nothing.
    Silence,
}

struct FakeMember {
    url: Url,
    requests: Arc<AtomicUsize>,
}

impl FakeMember {
    async fn start(does: FakeBehavior) -> FakeMember {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = [0; 4096];
                if socket.read(&mut head).await.unwrap_or(0) == 0 {
                    continue;
                }
                count.fetch_add(1, Ordering::SeqCst);
                match does {
                    FakeBehavior::Answer(status, body) => {
                        let text = format!(
                            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                            body.len()
                        );
                        socket.write_all(text.as_bytes()).await.unwrap();
                    }
                    FakeBehavior::HangUp => drop(socket),
                    FakeBehavior::Silence => silent.push(socket),
                }
            }
        });
        FakeMember { url, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// A URL at which nobody listens.
fn nobody_there() -> Url {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    Url::parse(&format!("http://{port}")).unwrap()
}

fn client(urls: Vec<Url>) -> AdminClient {
    AdminClient::with_urls(urls, Duration::from_secs(1)).unwrap()
}

fn write() -> ApiCall {
    ApiCall::new(Method::PUT, "/v1/kv/a").raw("b")
}

#[tokio::test]
async fn silent_member_passes_read_to_next_member() {
    for does in [
        FakeBehavior::HangUp,
        FakeBehavior::Silence,
        FakeBehavior::Answer(503, "{\"code\":\"no_leader\"}"),
    ] {
        let (bad, good) = (
            FakeMember::start(does).await,
            FakeMember::start(FakeBehavior::Answer(200, "[1]")).await,
        );
        let client = client(vec![nobody_there(), bad.url.clone(), good.url.clone()]);
        let numbers: Vec<u8> = client.get_json("/x").await.unwrap();
        assert_eq!(numbers, [1]);
        assert!(bad.requests() >= 1);
    }
}

#[tokio::test]
async fn silent_member_delays_read_only_briefly() {
    let silent = FakeMember::start(FakeBehavior::Silence).await;
    let good = FakeMember::start(FakeBehavior::Answer(200, "[1]")).await;
    let patient = AdminClient::with_urls(
        vec![silent.url.clone(), good.url.clone()],
        Duration::from_secs(60),
    )
    .unwrap();
    let read = patient.get("/x");
    let answer = tokio::time::timeout(Duration::from_secs(20), read)
        .await
        .expect("an answer before the deadline")
        .unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!((silent.requests(), good.requests()), (1, 1));
}

#[tokio::test]
async fn costly_call_asks_one_member_at_a_time() {
    let silent = FakeMember::start(FakeBehavior::Silence).await;
    let good = FakeMember::start(FakeBehavior::Answer(200, "[1]")).await;
    let urls = vec![nobody_there(), silent.url.clone(), good.url.clone()];
    let call = ApiCall::new(Method::POST, "/x").raw("y").costly();
    let client = AdminClient::with_urls(urls, Duration::from_millis(200)).unwrap();
    let failure = client.send(call).await.unwrap_err();
    assert_eq!(failure.code(), 3);
    assert!(failure.to_string().contains("--timeout"), "{failure}");
    assert_eq!((silent.requests(), good.requests()), (1, 0));
}

#[tokio::test]
async fn a_write_goes_on_only_where_nobody_listened() {
    let good = FakeMember::start(FakeBehavior::Answer(200, "")).await;
    let answer = client(vec![nobody_there(), good.url.clone()])
        .send(write())
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(good.requests(), 1);
}

#[tokio::test]
async fn possibly_sent_write_is_not_repeated() {
    for does in [FakeBehavior::HangUp, FakeBehavior::Silence] {
        let (bad, good) = (
            FakeMember::start(does).await,
            FakeMember::start(FakeBehavior::Answer(200, "")).await,
        );
        let failure = client(vec![bad.url.clone(), good.url.clone()])
            .send(write())
            .await
            .unwrap_err();
        assert_eq!(failure.code(), 1, "{failure}");
        assert!(failure.to_string().contains("is not known"), "{failure}");
        assert_eq!((bad.requests(), good.requests()), (1, 0));
    }
}

#[tokio::test]
async fn surely_undone_write_goes_to_next_member() {
    let refusing = FakeMember::start(FakeBehavior::Answer(503, "{\"code\":\"no_quorum\"}")).await;
    let good = FakeMember::start(FakeBehavior::Answer(200, "")).await;
    client(vec![refusing.url.clone(), good.url.clone()])
        .send(write())
        .await
        .unwrap()
        .good()
        .unwrap();
    assert_eq!((refusing.requests(), good.requests()), (1, 1));
}

#[tokio::test]
async fn answers_become_exit_codes() {
    let cases = [
        (
            503,
            "{\"code\":\"no_quorum\",\"detail\":\"no quorum within 1000 ms\"}",
            3,
            "no quorum within 1000 ms",
        ),
        (
            504,
            "{\"code\":\"unknown_outcome\",\"detail\":\"it may be done\"}",
            1,
            "it may be done",
        ),
        (404, "{\"title\":\"not found\"}", 1, "not found"),
        (
            422,
            "{\"detail\":\"bad\",\"errors\":[{\"field\":\"port\",\"value\":\"0\",\"problem\":\"must be 1 to 65535\"}]}",
            1,
            "bad\n  port = 0: must be 1 to 65535",
        ),
        (500, "<html>", 1, "the member answered 500"),
    ];
    for (status, body, code, text) in cases {
        let member = FakeMember::start(FakeBehavior::Answer(status, body)).await;
        let failure = client(vec![member.url.clone()])
            .send(write())
            .await
            .unwrap()
            .good()
            .unwrap_err();
        assert_eq!(failure.code(), code, "{status}");
        assert!(failure.to_string().contains(text), "{status}: {failure}");
    }
}

#[tokio::test]
async fn no_answer_is_retryable_and_lists_urls() {
    let (one, two) = (nobody_there(), nobody_there());
    let failure = client(vec![one.clone(), two.clone()])
        .get("/x")
        .await
        .unwrap_err();
    assert_eq!(failure.code(), 3);
    let shown = failure.to_string();
    for part in [bare(&one), bare(&two), "refused", "QUORATE_ADMIN"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
}

#[tokio::test]
async fn non_member_answer_is_reported() {
    let other = FakeMember::start(FakeBehavior::Answer(200, "<html>")).await;
    let failure = client(vec![other.url.clone()])
        .get_json::<Vec<u8>>("/x")
        .await
        .unwrap_err();
    assert!(
        failure
            .to_string()
            .contains("is that URL a member's admin port?"),
        "{failure}"
    );
}
