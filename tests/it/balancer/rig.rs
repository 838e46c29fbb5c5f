//! Starts the balancer, asks it things, waits for conditions.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use quorate::balancer::{self, BalancerError};
use quorate_clock::Instant;
use quorate_testkit::ports;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::fake::Fake;

/// How long a condition is waited for before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A balancer under test; what it leaves in its folder outlives it.
pub struct Balancer {
    pub bind: SocketAddr,
    pub dir: PathBuf,
    shutdown: CancellationToken,
    /// None where it is a process of its own.
    task: Option<JoinHandle<Result<(), BalancerError>>>,
}

/// A folder with settings for these members.
pub fn folder(members: &[&Fake]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let urls: Vec<String> = members
        .iter()
        .map(|m| format!("http://{}", m.admin))
        .collect();
    balancer::settings::write_default(dir.path(), free_address(), &urls, "").unwrap();
    set(dir.path(), "poll_ms = 100\n");
    dir
}

/// Puts a line in front of the settings.
pub fn set(dir: &Path, line: &str) {
    let path = dir.join("balancer.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("{line}{text}")).unwrap();
}

/// An address that nobody listens on now.
pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, ports::free()).into()
}

impl Balancer {
    /// Starts it and waits until HAProxy answers.
    pub async fn start(dir: &Path) -> Balancer {
        // Shown with the output of a test that fails.
        let _ = tracing_subscriber::fmt().with_test_writer().try_init();
        let config = dir.join("balancer.toml");
        let bind = balancer::BalancerSettings::load(&config).unwrap().bind;
        let shutdown = CancellationToken::new();
        let task = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { balancer::run(&config, shutdown, mpsc::channel(1).1).await }
        });
        let dir = dir.to_owned();
        let it = Balancer {
            bind,
            dir,
            shutdown,
            task: Some(task),
        };
        until("HAProxy answers", async || {
            let ended = it.task.as_ref().is_some_and(JoinHandle::is_finished);
            assert!(!ended, "the balancer has ended");
            it.get("/zato-lb-alive").await.is_ok()
        })
        .await;
        it
    }

    /// One that somebody else starts and ends.
    pub fn of_a_process(dir: &Path) -> Balancer {
        let config = dir.join("balancer.toml");
        let bind = balancer::BalancerSettings::load(&config).unwrap().bind;
        Balancer {
            bind,
            dir: dir.to_owned(),
            shutdown: CancellationToken::new(),
            task: None,
        }
    }

    /// Waits until HAProxy holds exactly these servers for ready.
    pub async fn serves(&self, members: &[&Fake]) {
        let mut should: Vec<String> = members.iter().map(|m| m.name.clone()).collect();
        should.sort();
        until(&format!("HAProxy serves {should:?}"), async || {
            self.up().await == should
        })
        .await;
    }

    /// The servers that HAProxy holds for ready.
    pub async fn up(&self) -> Vec<String> {
        let Ok(answer) = self.get("/zato-lb-stats;csv").await else {
            return Vec::new();
        };
        let mut up = Vec::new();
        for line in answer.body.lines() {
            let fields: Vec<&str> = line.split(',').collect();
            // The columns: proxy, server, ..., status as the 18th.
            if fields[0] == "members" && fields[1] != "BACKEND" && fields[17].starts_with("UP") {
                up.push(fields[1].to_owned());
            }
        }
        up.sort();
        up
    }

    pub async fn connect(&self) -> Result<Client, hyper::Error> {
        Client::connect(self.bind).await
    }

    /// One request on a connection of its own.
    pub async fn send(&self, method: Method, path: &str) -> Result<Answer, hyper::Error> {
        self.connect().await?.send(method, path).await
    }

    pub async fn get(&self, path: &str) -> Result<Answer, hyper::Error> {
        self.send(Method::GET, path).await
    }

    /// The process that serves now.
    pub async fn process(&self) -> Option<u32> {
        let mut stream = UnixStream::connect(self.dir.join("haproxy.sock"))
            .await
            .ok()?;
        stream.write_all(b"show info\n").await.ok()?;
        let mut info = String::new();
        stream.read_to_string(&mut info).await.ok()?;
        info.lines()
            .find_map(|line| line.strip_prefix("Pid: "))?
            .trim()
            .parse()
            .ok()
    }

    /// Ends it in an orderly way.
    pub async fn stop(self) {
        self.shutdown.cancel();
        if let Some(task) = self.task {
            task.await.unwrap().unwrap();
        }
    }

    /// Asks it to end, without waiting.
    pub fn begin_stop(&self) {
        self.shutdown.cancel();
    }
}

/// One connection; it isn't made anew when it is closed.
pub struct Client(http1::SendRequest<Full<Bytes>>);

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Client {
    async fn connect(to: SocketAddr) -> Result<Client, hyper::Error> {
        let stream = loop {
            // Connecting fails for as long as nobody listens; whoever wants to know for
            // how long asks for `/zato-lb-alive` with a deadline of their own.
            match TcpStream::connect(to).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Client(sender))
    }

    pub async fn send(&mut self, method: Method, path: &str) -> Result<Answer, hyper::Error> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "test")
            .body(Full::from("x"))
            .unwrap();
        let response = self.0.send_request(request).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer, hyper::Error> {
        self.send(Method::GET, path).await
    }
}

/// Waits for a condition.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !tokio::time::timeout_at(deadline, condition())
        .await
        .unwrap_or(false)
    {
        assert!(
            Instant::now() < deadline,
            "waited for {PATIENCE:?} in vain: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
