//! HTTP calls with a deadline; one client per test process is enough.

use std::{sync::OnceLock, time::Duration};

use quorate_clock::Instant;
use reqwest::{Client, Method, Response};
use serde_json::Value;

/// The client that all tests share; it follows no redirects and retries nothing.
pub fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::builder()
            .timeout(Duration::from_secs(10))
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client")
    })
}

/// One call; `Err` only when there was no answer.
pub async fn call(
    method: Method,
    url: impl AsRef<str>,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> Result<Response, String> {
    let mut request = client().request(method, url.as_ref()).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.map_err(|e| format!("{e:?}"))
}

/// GET that must give JSON with status 200.
pub async fn get_json(url: &str) -> Result<Value, String> {
    let response = call(Method::GET, url, &[], "").await?;
    let status = response.status();
    let text = response.text().await.map_err(|e| e.to_string())?;
    if status != 200 {
        return Err(format!("{url}: {status} {text}"));
    }
    serde_json::from_str(&text).map_err(|e| format!("{url}: {e} in {text}"))
}

/// PUT that must succeed; gives the revision.
pub async fn put(url: impl AsRef<str>, body: impl Into<reqwest::Body>) -> Result<u64, String> {
    let url = url.as_ref();
    let response = call(Method::PUT, url, &[], body).await?;
    let status = response.status();
    let revision = revision(&response);
    let text = response.text().await.map_err(|e| e.to_string())?;
    match revision {
        Some(revision) if status.is_success() => Ok(revision),
        _ => Err(format!("{url}: {status} {text}")),
    }
}

/// The header `Quorate-Revision`.
pub fn revision(response: &Response) -> Option<u64> {
    response
        .headers()
        .get("quorate-revision")?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// When the first write was done. New ones start all the while, as from many clients: one
/// that reached the silent leader has to wait until its fate is known, and says nothing.
pub async fn first_write(url: &str, stopped: Instant) -> Result<Duration, String> {
    let mut writes = tokio::task::JoinSet::new();
    let mut next = tokio::time::interval(Duration::from_millis(5));
    let mut last = String::new();
    while stopped.elapsed() < Duration::from_secs(10) {
        tokio::select! {
            _ = next.tick() => {
                let url = url.to_owned();
                writes.spawn(async move { put(&url, "x").await.map(|_| stopped.elapsed()) });
            }
            Some(done) = writes.join_next() => match done.expect("a write") {
                Ok(gap) => return Ok(gap),
                Err(problem) => last = problem,
            },
        }
    }
    Err(format!("no write in 10 s: {last}"))
}
