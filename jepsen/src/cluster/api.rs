//! Client of the members for the harness' own questions: who leads, who is ready, what is held.

use std::{
    collections::hash_map::DefaultHasher,
    error::Error,
    hash::{Hash, Hasher},
    sync::OnceLock,
    time::Duration,
};

use quorate_testkit::{eventually::within, http};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use super::error::ClusterError;

/// Returns the one client for all of the harness' own questions. It repeats nothing.
pub fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        http::builder()
            .timeout(Duration::from_secs(3))
            .build()
            .expect("invariant: the client's options are right")
    })
}

fn request(method: Method, url: &str, body: String) -> RequestBuilder {
    let request = client().request(method, url).body(body);
    request.header("content-type", "application/json")
}

/// Sends one request; gives status and body.
pub async fn call(method: Method, url: &str, body: String) -> Result<(u16, String), ClusterError> {
    Ok(http::status_and_text(request(method, url, body)).await?)
}

/// Sends one request that must be answered by success; gives the body.
pub async fn accepted(method: Method, url: &str, body: String) -> Result<String, ClusterError> {
    Ok(http::body_of(request(method, url, body)).await?)
}

/// A GET that must give JSON.
pub async fn get(url: &str) -> Result<Value, ClusterError> {
    Ok(http::get_json_by(client(), url).await?)
}

/// Probes again until it succeeds. Fails when it doesn't within `limit`, with what was seen last.
pub async fn until<T, E, F>(
    what: &str,
    limit: Duration,
    probe: impl FnMut() -> F,
) -> Result<T, ClusterError>
where
    E: Into<Box<dyn Error + Send + Sync>>,
    F: Future<Output = Result<T, E>>,
{
    Ok(within(what, limit, probe).await?)
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
