//! Waiting for a condition, with a deadline and with what was seen last.

use std::{fmt::Display, future::Future, time::Duration};

use quorate_clock::Instant;

/// Polls `probe` until it gives `Ok`; panics with its last complaint after `limit`.
pub async fn until<T, E, F, Fut>(what: &str, limit: Duration, mut probe: F) -> T
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let start = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(seen) if start.elapsed() > limit => {
                panic!("waited {limit:?} for {what}; seen last: {seen}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// The value in the middle; `values` need not be sorted.
pub fn median(values: &[Duration]) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}
