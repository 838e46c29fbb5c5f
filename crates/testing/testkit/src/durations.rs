//! Figures of several times that were measured.

use std::time::Duration;

/// Returns the value in the middle; `values` need not be sorted.
pub fn median(values: &[Duration]) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}
