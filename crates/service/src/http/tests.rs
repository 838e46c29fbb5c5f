//! Against a real listener, over real sockets.

mod bad;
mod callers;
mod client;
mod drain;
mod good;
mod proxy;
mod repeated;
mod slow;
mod tls;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::client::{RawAnswer, RawClient};
use super::*;
use crate::{
    Reply, Request, Service, ServiceError, async_trait,
    testing::{StateFixture, eventually},
};

/// Does what its body says.
struct Obedient;

#[async_trait]
impl Service for Obedient {
    async fn handle(&self, request: Request) -> Result<Reply, ServiceError> {
        match &request.body[..] {
            b"fail" => Err(ServiceError::Failed("the secret reason".into())),
            b"panic" => panic!("as asked"),
            b"hang" => std::future::pending().await,
            b"slow" => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                Ok(Reply::text(200, "slowly"))
            }
            b"continue" => Ok(Reply::empty(http::StatusCode::CONTINUE)),
            b"204" => {
                let mut reply = Reply::text(204, "must not be there");
                reply.headers.insert("content-length", 17.into());
                reply
                    .headers
                    .insert("connection", http::HeaderValue::from_static("x-gone"));
                reply.headers.insert("x-gone", 1.into());
                Ok(reply)
            }
            _ => {
                let headers: Vec<String> = request
                    .headers
                    .iter()
                    .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                    .collect();
                Ok(Reply::json(
                    json!({
                        "method": request.method.as_str(),
                        "path": request.path,
                        "query": request.query,
                        "params": *request.params,
                        "rest": request.params.rest().map(|(_, segments)| segments),
                        "headers": headers,
                        "body": String::from_utf8_lossy(&request.body),
                    })
                    .to_string(),
                ))
            }
        }
    }
}

struct RunningListener {
    group: StateFixture,
    services: Arc<Services>,
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<DrainReport>,
}

fn quick() -> ClientLimits {
    ClientLimits {
        head_wait: Duration::from_millis(200),
        body_wait: Duration::from_millis(200),
        idle_wait: Duration::from_secs(30),
        linger: Duration::from_millis(200),
        grace: Duration::from_secs(3),
        ..ClientLimits::default()
    }
}

impl RunningListener {
    async fn start(limits: ClientLimits) -> RunningListener {
        RunningListener::start_with(limits, 8192).await
    }

    /// One with places for so many calls of clients.
    async fn start_with(limits: ClientLimits, calls_max: usize) -> RunningListener {
        RunningListener::start_over(None, limits, calls_max).await
    }

    /// One with TLS.
    async fn start_over(
        tls: Option<Arc<HttpTls>>,
        limits: ClientLimits,
        calls_max: usize,
    ) -> RunningListener {
        let mut group = StateFixture::new();
        group.announce(1, &["echo", "obey", "ping"]);
        group.put(
            Kind::BasicAuth,
            "ann",
            json!({"username": "ann", "password": "secret"}),
        );
        group.put(Kind::ApiKey, "key", json!({"key": "k3y"}));
        for (name, spec) in [
            ("echo", json!({"path": "/echo", "service": "echo"})),
            (
                "obey",
                json!({"path": "/obey/{id}", "service": "obey", "methods": ["GET", "POST", "DELETE"]}),
            ),
            (
                "tiny",
                json!({"path": "/tiny", "service": "echo", "max_body_bytes": 10}),
            ),
            (
                "off",
                json!({"path": "/off", "service": "echo", "active": false}),
            ),
            (
                "basic",
                json!({"path": "/basic", "service": "obey", "security": "basic_auth/ann"}),
            ),
            (
                "keyed",
                json!({"path": "/keyed", "service": "obey", "security": "api_key/key"}),
            ),
        ] {
            group.put(Kind::HttpChannel, name, spec);
        }
        let carried = BTreeMap::from([("obey".to_owned(), Arc::new(Obedient) as Arc<dyn Service>)]);
        let services = Services::with_calls_max(carried, group.watch(), calls_max);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve(
            listener,
            tls,
            services.clone(),
            group.watch(),
            limits,
            shutdown.clone(),
        ));
        RunningListener {
            group,
            services,
            address,
            shutdown,
            task,
        }
    }

    async fn client(&self) -> RawClient {
        RawClient::connect(self.address).await
    }

    /// One request on a connection of its own.
    async fn ask(&self, request: impl AsRef<[u8]>) -> RawAnswer {
        let mut client = self.client().await;
        client.send(request).await;
        client.answer().await.expect("an answer")
    }

    async fn drained(self) -> DrainReport {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task)
            .await
            .expect("drained in time")
            .unwrap()
    }
}

use quorate_resources::Kind;

/// A request line, a Host and what else is given.
fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
