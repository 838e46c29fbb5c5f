//! Client of the members for the harness' own questions: who leads, who is ready, what is held.

use std::{
    collections::hash_map::DefaultHasher,
    error::Error,
    hash::{Hash, Hasher},
    sync::OnceLock,
    time::Duration,
};

use quorate_clock::Instant;
use reqwest::{Client, ClientBuilder, Method, redirect, retry};
use serde_json::Value;

use super::error::ClusterError;

/// Begins a client that asks whom it is told to ask, and once: it knows no proxy, follows no
/// redirect and repeats nothing.
pub fn client_builder() -> ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
}

/// Returns the one client for all of the harness' own questions.
pub fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        client_builder()
            .timeout(Duration::from_secs(3))
            .pool_max_idle_per_host(0)
            .build()
            .expect("invariant: the client's options are right")
    })
}

/// Sends one request; gives status and body.
pub async fn call(method: Method, url: &str, body: String) -> Result<(u16, String), ClusterError> {
    let unanswered = |source: reqwest::Error| ClusterError::Unanswered {
        url: url.to_owned(),
        source: source.without_url(),
    };
    let request = client()
        .request(method, url)
        .header("content-type", "application/json")
        .body(body);
    let response = request.send().await.map_err(unanswered)?;
    let status = response.status().as_u16();
    let text = response.text().await.map_err(unanswered)?;
    Ok((status, text))
}

/// A GET that must give JSON.
pub async fn get(url: &str) -> Result<Value, ClusterError> {
    let url = url.to_owned();
    let (status, text) = call(Method::GET, &url, String::new()).await?;
    if status != 200 {
        return Err(ClusterError::Refused { url, status, text });
    }
    serde_json::from_str(&text).map_err(|source| ClusterError::Unreadable { url, text, source })
}

/// Probes again until it succeeds. Fails when it doesn't within `limit`, with what was seen last.
pub async fn until<T, E, F>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> F,
) -> Result<T, ClusterError>
where
    E: Into<Box<dyn Error + Send + Sync>>,
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + limit;
    loop {
        match probe().await {
            Ok(it) => return Ok(it),
            Err(seen) if Instant::now() > deadline => {
                return Err(ClusterError::TimedOut {
                    what: what.to_owned(),
                    limit,
                    seen: seen.into(),
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Returns the log index that a member has applied, and a hash of all keys and resources and of the
/// reign there. Fails when the member hears no leader, or its state changes meanwhile.
pub async fn held(admin: &str) -> Result<(u64, String), ClusterError> {
    let before = applied(admin).await?.0;
    let mut hasher = DefaultHasher::new();
    let mut last_key = String::new();
    loop {
        let url = format!("{admin}/v1/kv?consistency=stale&limit=1000&after={last_key}");
        let page = get(&url).await?;
        let entries = page["entries"].as_array().cloned().unwrap_or_default();
        for entry in &entries {
            entry.to_string().hash(&mut hasher);
        }
        match (page["more"].as_bool(), entries.last()) {
            (Some(true), Some(last)) => {
                last_key = last["key"].as_str().unwrap_or_default().to_owned();
            }
            _ => break,
        }
    }
    let config = get(&format!("{admin}/v1/config?consistency=stale")).await?;
    config["resources"].to_string().hash(&mut hasher);
    let (after, reign) = applied(admin).await?;
    reign.to_string().hash(&mut hasher);
    if before != after {
        return Err(ClusterError::StateMoved { before, after });
    }
    Ok((after, format!("{:016x}", hasher.finish())))
}

/// Returns the last index that was applied, and the connector server with its epoch. That stands in
/// the replicated state too, but is told only by a member that hears the leader.
async fn applied(admin: &str) -> Result<(u64, Value), ClusterError> {
    let mut status = get(&format!("{admin}/v1/cluster/status")).await?;
    let applied = status["applied"].as_u64();
    match applied.filter(|_| !status["leader"].is_null()) {
        Some(applied) => Ok((applied, status["connector_server"].take())),
        None => Err(ClusterError::NotYet(format!(
            "no index or no leader in {status}"
        ))),
    }
}
