//! Keys of issuers by their URL, fetched beside the requests that need them.
//!
//! - A request waits for a fetch only where it can't be decided without it: where no keys are
//!   there, or not the one that its token names; and then for [`WAIT_MAX`] at most.
//! - A set is fetched anew when it is older than [`FRESH`], or when a token names a key that it has
//!   not, and never more often than every [`PAUSE`]: who makes up names of keys brings about no more.
//! - Keys are used for [`STALE_MAX`] after they were fetched, so that an outage of an issuer isn't
//!   ours. After that nobody is let in by them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_resources::json;
use tokio::{sync::watch, time::timeout};

use super::json_web_key::KeySet;
use crate::upstream::{DocumentError, UpstreamClient, get_document};

const FRESH: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_secs(30);
const STALE_MAX: Duration = Duration::from_secs(24 * 3600);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Time for one fetch.
const FETCH_MAX: Duration = Duration::from_secs(5);
/// Longest set, in bytes.
const SET_BYTES_MAX: usize = 1 << 20;
/// URLs that are remembered before those are forgotten that nobody asks for any more.
const URLS_MAX: usize = 256;
/// Time after which nobody asks for a URL any more.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// Reason for which the keys of an issuer are not there.
#[derive(Debug, thiserror::Error)]
#[error("the keys of {url} could not be fetched: {reason}")]
pub(super) struct KeysUnavailable {
    url: String,
    reason: String,
}

/// Reason for which one fetch gave no keys.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("it is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it has no list `keys` (RFC 7517)")]
    NoKeys,
}

/// Sets of keys of one member.
pub(in crate::http) struct JwksCache {
    http: UpstreamClient,
    sources: Mutex<HashMap<String, Arc<KeysSource>>>,
}

/// One URL.
struct KeysSource {
    url: String,
    http: UpstreamClient,
    fetched: watch::Sender<FetchedKeys>,
    attempts: Mutex<FetchAttempts>,
}

#[derive(Default)]
struct FetchAttempts {
    last: Option<Instant>,
    is_running: bool,
    asked: Option<Instant>,
}

/// What the last fetches gave.
#[derive(Clone, Default)]
struct FetchedKeys {
    keys: Option<(Arc<KeySet>, Instant)>,
    failure: Option<String>,
}

impl FetchedKeys {
    /// Returns the keys that may still be used, with their age.
    fn usable(&self, now: Instant) -> Option<(Arc<KeySet>, Duration)> {
        let (keys, at) = self.keys.as_ref()?;
        let age = now.duration_since(*at);
        (age < STALE_MAX).then(|| (keys.clone(), age))
    }
}

impl JwksCache {
    pub(super) fn new(http: UpstreamClient) -> JwksCache {
        JwksCache {
            http,
            sources: Mutex::default(),
        }
    }

    /// Returns the keys of a URL for a token that names this one; where it is not among them, the
    /// issuer has been asked of late.
    pub(super) async fn keys(
        &self,
        url: &str,
        key_id: &str,
    ) -> Result<Arc<KeySet>, KeysUnavailable> {
        let source = self.source(url, Instant::now());
        let mut fetched = source.fetched.subscribe();
        let held = fetched.borrow_and_update().usable(Instant::now());
        let is_known = held
            .as_ref()
            .is_some_and(|(keys, _)| keys.named(key_id).next().is_some());
        let is_fresh = held.as_ref().is_some_and(|(_, age)| *age < FRESH);
        let is_running = !(is_known && is_fresh) && source.fetch(Instant::now());
        if !is_known && is_running {
            // Whatever comes of it: what is there then decides.
            let _ = timeout(WAIT_MAX, fetched.changed()).await;
        }
        let latest = fetched.borrow().clone();
        let usable = latest.usable(Instant::now()).map(|(keys, _)| keys);
        usable.ok_or_else(|| KeysUnavailable {
            url: url.to_owned(),
            reason: latest.failure.unwrap_or_else(|| "not yet".to_owned()),
        })
    }

    fn source(&self, url: &str, now: Instant) -> Arc<KeysSource> {
        let mut sources = self.sources.lock();
        if !sources.contains_key(url) && sources.len() >= URLS_MAX {
            sources.retain(|_, source| source.is_asked(now));
        }
        let source = sources
            .entry(url.to_owned())
            .or_insert_with(|| Arc::new(KeysSource::new(url, self.http.clone())));
        source.attempts.lock().asked = Some(now);
        source.clone()
    }
}

impl KeysSource {
    fn new(url: &str, http: UpstreamClient) -> KeysSource {
        KeysSource {
            url: url.to_owned(),
            http,
            fetched: watch::Sender::new(FetchedKeys::default()),
            attempts: Mutex::default(),
        }
    }

    fn is_asked(&self, now: Instant) -> bool {
        let asked = self.attempts.lock().asked;
        asked.is_some_and(|it| now.duration_since(it) < FORGOTTEN)
    }

    /// Begins a fetch, if one is due. Returns true while one runs.
    fn fetch(self: &Arc<Self>, now: Instant) -> bool {
        let mut attempts = self.attempts.lock();
        let is_due = attempts
            .last
            .is_none_or(|it| now.duration_since(it) >= PAUSE);
        if attempts.is_running || !is_due {
            return attempts.is_running;
        }
        attempts.last = Some(now);
        attempts.is_running = true;
        let source = self.clone();
        tokio::spawn(async move { source.fetch_now().await });
        true
    }

    async fn fetch_now(&self) {
        let outcome = self.get().await;
        // Before it is told: who hears of it may want another one.
        self.attempts.lock().is_running = false;
        self.fetched.send_modify(|fetched| match outcome {
            Ok(keys) => {
                *fetched = FetchedKeys {
                    keys: Some((Arc::new(keys), Instant::now())),
                    failure: None,
                };
            }
            Err(error) => {
                let url = &self.url;
                tracing::warn!(url, %error, "the keys of an issuer of tokens could not be fetched");
                fetched.failure = Some(error.to_string());
            }
        });
    }

    async fn get(&self) -> Result<KeySet, FetchError> {
        let document = get_document(&self.http, &self.url, SET_BYTES_MAX, FETCH_MAX).await?;
        let set = json::parse(&document)?;
        KeySet::from_json(&set).ok_or(FetchError::NoKeys)
    }
}

#[cfg(test)]
mod tests {
    use quorate_platform::egress::EgressPolicy;
    use serde_json::json;

    use super::*;
    use crate::{
        testing::upstream::{TestUpstream, UpstreamBehavior, nobody, ok},
        upstream::UpstreamClients,
    };

    fn cache() -> JwksCache {
        JwksCache::new(UpstreamClients::new(EgressPolicy::default()).shared())
    }

    fn set(ids: &[&str]) -> UpstreamBehavior {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let key = |id: &&str| json!({"kid": id, "kty": "OKP", "crv": "Ed25519", "x": x});
        let keys: Vec<_> = ids.iter().map(key).collect();
        UpstreamBehavior::Answers(ok(&json!({"keys": keys}).to_string()))
    }

    fn has(keys: &KeySet, id: &str) -> bool {
        keys.named(id).next().is_some()
    }

    /// Makes the last fetch as old as it has to be for another one.
    fn age(cache: &JwksCache, by: Duration) {
        for source in cache.sources.lock().values() {
            let mut attempts = source.attempts.lock();
            attempts.last = attempts.last.map(|it| it - by);
            drop(attempts);
            source.fetched.send_modify(|fetched| {
                fetched.keys = fetched.keys.take().map(|(keys, at)| (keys, at - by));
            });
        }
    }

    #[tokio::test]
    async fn keys_are_fetched_once_for_many() {
        let issuer = TestUpstream::start("issuer", set(&["1"])).await;
        let (cache, url) = (cache(), issuer.url("/keys"));
        let asked = (0..20).map(|_| cache.keys(&url, "1"));
        for keys in futures_util::future::join_all(asked).await {
            assert!(has(&keys.unwrap(), "1"));
        }
        assert_eq!(issuer.count(), 1);
        assert!(issuer.last().starts_with("GET /keys HTTP/1.1\r\n"));
    }

    /// Test 48: keys that were rotated, and names of keys that are made up.
    #[tokio::test]
    async fn unknown_key_asks_again_after_pause() {
        let issuer = TestUpstream::start("issuer", set(&["1"])).await;
        let (cache, url) = (cache(), issuer.url("/keys"));
        assert!(has(&cache.keys(&url, "1").await.unwrap(), "1"));
        issuer.now(set(&["2"]));
        for _ in 0..50 {
            assert!(!has(&cache.keys(&url, "2").await.unwrap(), "2"));
        }
        assert_eq!(issuer.count(), 1, "asked within the pause");
        age(&cache, PAUSE);
        let keys = cache.keys(&url, "2").await.unwrap();
        assert!(
            has(&keys, "2") && !has(&keys, "1"),
            "the new set takes the old one's place"
        );
        assert_eq!(issuer.count(), 2);
    }

    /// Test 48: an issuer that is down.
    #[tokio::test]
    async fn stale_keys_serve_for_a_day() {
        let issuer = TestUpstream::start("issuer", set(&["1"])).await;
        let (cache, url) = (cache(), issuer.url("/keys"));
        cache.keys(&url, "1").await.unwrap();
        issuer.now(UpstreamBehavior::HangsUp);
        age(&cache, STALE_MAX - Duration::from_secs(60));
        assert!(has(&cache.keys(&url, "1").await.unwrap(), "1"));
        age(&cache, Duration::from_secs(61));
        let error = cache.keys(&url, "1").await.unwrap_err().to_string();
        assert!(error.contains(&url), "{error}");
    }

    #[tokio::test]
    async fn bad_answers_of_issuers_give_no_keys() {
        let long = format!("{{\"keys\": [], \"x\": \"{}\"}}", "y".repeat(SET_BYTES_MAX));
        let elsewhere = b"HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n";
        for (answer, says) in [
            (ok("<html>"), "no JSON"),
            (ok("{}"), "no list `keys`"),
            (ok(r#"{"keys": [], "keys": []}"#), "no JSON"),
            (ok(&long), "bytes"),
            (elsewhere.to_vec(), "302"),
        ] {
            let issuer = TestUpstream::start("issuer", UpstreamBehavior::Answers(answer)).await;
            let cache = cache();
            let error = cache.keys(&issuer.url("/keys"), "1").await.unwrap_err();
            let error = error.to_string();
            assert!(error.contains(says), "{says} is not in: {error}");
            assert_eq!(issuer.count(), 1, "{says}");
        }
        let url = format!("http://{}/keys", nobody().await);
        assert!(cache().keys(&url, "1").await.is_err());
    }
}
