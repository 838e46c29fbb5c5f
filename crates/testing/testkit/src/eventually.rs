//! Waiting for a condition, with a deadline and with what was seen last.

use std::{error::Error, time::Duration};

use quorate_clock::Instant;

use crate::{error_chain::chain, http::HttpError};

/// What a probe saw instead of what is waited for.
#[derive(Debug, thiserror::Error)]
pub enum NotYet {
    /// Something else.
    #[error("{0}")]
    Seen(String),
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
}

impl From<String> for NotYet {
    fn from(seen: String) -> NotYet {
        NotYet::Seen(seen)
    }
}

impl From<NotYet> for String {
    fn from(seen: NotYet) -> String {
        chain(&seen)
    }
}

/// A condition did not come about in time.
#[derive(Debug, thiserror::Error)]
#[error("waited {limit:?} for {what}; seen last")]
pub struct TimedOut {
    /// The condition.
    pub what: String,
    /// The time limit.
    pub limit: Duration,
    /// What was seen instead.
    #[source]
    pub seen: Box<dyn Error + Send + Sync>,
}

impl From<TimedOut> for String {
    fn from(timed_out: TimedOut) -> String {
        chain(&timed_out)
    }
}

/// Probes until it succeeds.
///
/// # Panics
/// With what was seen last, when it doesn't succeed within `limit`.
pub async fn eventually<T, E, F>(what: &str, limit: Duration, probe: impl FnMut() -> F) -> T
where
    E: Into<Box<dyn Error + Send + Sync>>,
    F: Future<Output = Result<T, E>>,
{
    let found = within(what, limit, probe).await;
    found.unwrap_or_else(|timed_out| panic!("{}", String::from(timed_out)))
}

/// Probes until it succeeds, within `limit`.
pub async fn within<T, E, F>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> F,
) -> Result<T, TimedOut>
where
    E: Into<Box<dyn Error + Send + Sync>>,
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + limit;
    loop {
        match probe().await {
            Ok(found) => return Ok(found),
            Err(seen) if Instant::now() > deadline => {
                return Err(TimedOut {
                    what: what.to_owned(),
                    limit,
                    seen: seen.into(),
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Probes until it gives something.
///
/// # Panics
/// When it gives nothing within `limit`.
pub async fn some<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Probes until it holds, on the test's own thread.
///
/// # Panics
/// When it doesn't hold within `limit`.
pub fn holds(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
