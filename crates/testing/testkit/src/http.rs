//! HTTP calls with a deadline, by one client for a whole test program.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::OnceLock,
    time::Duration,
};

use quorate_clock::Instant;
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response};
use serde_json::Value;

/// Failure of a call.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// There was no answer.
    #[error("{url}")]
    Unanswered {
        /// The address.
        url: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The answer was something else than success.
    #[error("{url}: {status} {text}")]
    Refused {
        /// The address.
        url: String,
        /// The status of the answer.
        status: u16,
        /// The body of the answer.
        text: String,
    },
    /// The answer was something else than JSON.
    #[error("{url} answered {text:?}, which is no JSON")]
    Unreadable {
        /// The address.
        url: String,
        /// The body of the answer.
        text: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

impl HttpError {
    fn unanswered(error: reqwest::Error) -> HttpError {
        HttpError::Unanswered {
            url: error.url().map(ToString::to_string).unwrap_or_default(),
            source: error.without_url(),
        }
    }
}

impl From<HttpError> for String {
    fn from(error: HttpError) -> String {
        crate::error_chain::chain(&error)
    }
}

/// Begins a client as tests want one: it follows no redirects, repeats nothing and keeps no
/// connection.
pub fn builder() -> ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .pool_max_idle_per_host(0)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
}

/// Serves on a free port of this address until the program ends; gives where.
pub async fn serve(address: Ipv4Addr, app: axum::Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind((address, 0)).await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Returns the client that all tests of a program share.
pub fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let built = builder().timeout(Duration::from_secs(10)).build();
        built.expect("a client")
    })
}

/// Makes one call.
pub async fn call(
    method: Method,
    url: impl AsRef<str>,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> Result<Response, HttpError> {
    let mut request = client().request(method, url.as_ref()).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.map_err(HttpError::unanswered)
}

/// Makes one call; gives status and body.
pub async fn status_and_text(request: RequestBuilder) -> Result<(u16, String), HttpError> {
    let response = request.send().await.map_err(HttpError::unanswered)?;
    let status = response.status().as_u16();
    let text = response.text().await.map_err(HttpError::unanswered)?;
    Ok((status, text))
}

/// Makes one call that must give status 200; gives the body.
pub async fn body_of(request: RequestBuilder) -> Result<String, HttpError> {
    let response = request.send().await.map_err(HttpError::unanswered)?;
    let (url, status) = (response.url().to_string(), response.status().as_u16());
    let text = response.text().await.map_err(HttpError::unanswered)?;
    if status == 200 {
        return Ok(text);
    }
    Err(HttpError::Refused { url, status, text })
}

/// Makes a GET that must give JSON with status 200.
pub async fn get_json(url: &str) -> Result<Value, HttpError> {
    get_json_by(client(), url).await
}

/// Makes the same by another client.
pub async fn get_json_by(client: &Client, url: &str) -> Result<Value, HttpError> {
    let text = body_of(client.get(url)).await?;
    let url = url.to_owned();
    serde_json::from_str(&text).map_err(|source| HttpError::Unreadable { url, text, source })
}

/// Makes a GET that must give status 200.
pub async fn succeeds(url: impl AsRef<str>) -> Result<(), HttpError> {
    body_of(client().get(url.as_ref())).await.map(drop)
}

/// Makes a PUT that must succeed; gives the revision.
pub async fn put(url: impl AsRef<str>, body: impl Into<reqwest::Body>) -> Result<u64, HttpError> {
    revision_of(client().put(url.as_ref()).body(body)).await
}

/// Makes a write that must succeed; gives the revision.
pub async fn revision_of(request: RequestBuilder) -> Result<u64, HttpError> {
    let response = request.send().await.map_err(HttpError::unanswered)?;
    let status = response.status();
    match revision(&response) {
        Some(revision) if status.is_success() => Ok(revision),
        _ => Err(HttpError::Refused {
            url: response.url().to_string(),
            status: status.as_u16(),
            text: response.text().await.map_err(HttpError::unanswered)?,
        }),
    }
}

/// Returns the header `Quorate-Revision`.
pub fn revision(response: &Response) -> Option<u64> {
    let header = response.headers().get("quorate-revision")?;
    header.to_str().ok()?.parse().ok()
}

/// Writes until it is done once; gives when, as the time since `stopped`. New writes start all the
/// while, as from many clients: one that reached the silent leader has to wait until its fate is
/// known, and says nothing.
///
/// # Panics
/// When nothing is written within 10 s.
pub async fn first_write(url: &str, stopped: Instant) -> Duration {
    let mut writes = tokio::task::JoinSet::new();
    let mut next = tokio::time::interval(Duration::from_millis(5));
    let mut last = None;
    while stopped.elapsed() < Duration::from_secs(10) {
        tokio::select! {
            _ = next.tick() => {
                let url = url.to_owned();
                writes.spawn(async move { put(&url, "x").await.map(|_| stopped.elapsed()) });
            }
            Some(done) = writes.join_next() => match done.expect("a write") {
                Ok(gap) => return gap,
                Err(problem) => last = Some(problem),
            },
        }
    }
    panic!("no write in 10 s: {last:?}")
}
