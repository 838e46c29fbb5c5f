//! What one trial gives, and waiting within it.

use std::{collections::BTreeMap, future::Future, time::Duration};

use quorate_clock::{Instant, rng};
use rand::Rng;

/// What was measured in one trial: milliseconds, or a count, by name.
pub type Measured = BTreeMap<String, f64>;

/// A duration as the records hold it.
pub fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Polls until `probe` succeeds; its last complaint after `limit`.
pub async fn eventually<T, F, Fut>(what: &str, limit: Duration, mut probe: F) -> Result<T, String>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let start = Instant::now();
    loop {
        match probe().await {
            Ok(found) => return Ok(found),
            Err(seen) if start.elapsed() > limit => {
                return Err(format!("waited {limit:?} for {what}; seen last: {seen}"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// A pause of random length before the fault, so that it meets the timers at any phase.
pub async fn any_moment() {
    tokio::time::sleep(Duration::from_millis(rng().random_range(50..250))).await;
}
