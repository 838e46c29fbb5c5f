//! Figures of one trial, and the pause before it.

use std::{collections::BTreeMap, time::Duration};

use quorate_clock::rng;
use rand::Rng;

/// What was measured in one trial: milliseconds, or a count, by name.
pub type Measured = BTreeMap<String, f64>;

/// A duration as the records hold it.
pub fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// A pause of random length before the fault, so that it meets the timers at any phase.
pub async fn any_moment() {
    tokio::time::sleep(Duration::from_millis(rng().random_range(50..250))).await;
}
