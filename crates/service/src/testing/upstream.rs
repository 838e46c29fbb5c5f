//! An HTTP server that does what a test wants of an upstream.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What the server does with a whole request.
#[derive(Clone)]
pub(crate) enum UpstreamBehavior {
    /// Answers with these bytes and keeps the connection.
    Answers(Vec<u8>),
    /// Answers 200 with the server's name.
    SaysItsName,
    /// Closes the connection: the request may have run.
    HangsUp,
    /// Never answers.
    Hangs,
}

/// Counts requests; gone when dropped.
pub(crate) struct TestUpstream {
    pub(crate) address: SocketAddr,
    shared: Arc<TestUpstreamState>,
    task: JoinHandle<()>,
}

struct TestUpstreamState {
    name: String,
    does: Mutex<UpstreamBehavior>,
    requests: Mutex<Vec<String>>,
    connections: AtomicUsize,
    closed: AtomicBool,
}

impl TestUpstream {
    pub(crate) async fn start(name: &str, does: UpstreamBehavior) -> TestUpstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(TestUpstreamState {
            name: name.into(),
            does: Mutex::new(does),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        });
        let task = tokio::spawn({
            let shared = shared.clone();
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(serve(stream, shared.clone()));
                }
            }
        });
        TestUpstream {
            address,
            shared,
            task,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn now(&self, does: UpstreamBehavior) {
        *self.shared.does.lock() = does;
    }

    /// How many requests have arrived.
    pub(crate) fn count(&self) -> usize {
        self.shared.requests.lock().len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The last request, head and body.
    pub(crate) fn last(&self) -> String {
        self.shared
            .requests
            .lock()
            .last()
            .cloned()
            .unwrap_or_default()
    }
}

impl Drop for TestUpstream {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<TestUpstreamState>) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await {
        if shared.closed.load(Ordering::SeqCst) {
            return;
        }
        shared.requests.lock().push(request);
        let does = shared.does.lock().clone();
        let answer = match does {
            UpstreamBehavior::Answers(answer) => answer,
            UpstreamBehavior::SaysItsName => ok(&shared.name),
            UpstreamBehavior::HangsUp => return,
            UpstreamBehavior::Hangs => std::future::pending().await,
        };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

pub(crate) fn ok(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into()
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(buffer).into_owned();
        if let Some(head_end) = text.find("\r\n\r\n") {
            let length = text[..head_end]
                .lines()
                .filter_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length:")?
                        .trim()
                        .parse()
                        .ok()
                })
                .next()
                .unwrap_or(0usize);
            if buffer.len() >= head_end + 4 + length {
                let request = buffer.drain(..head_end + 4 + length).collect::<Vec<u8>>();
                return Some(String::from_utf8_lossy(&request).into_owned());
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}
