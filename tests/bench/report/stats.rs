//! Order statistics.

use crate::trial::Measured;

/// A measure's values in order.
pub fn sorted(trials: &[Measured], measure: &str) -> Vec<f64> {
    let values = trials.iter().filter_map(|trial| trial.get(measure));
    let mut values: Vec<f64> = values.copied().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The smallest value that so many percent don't exceed; 0 of nothing.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}
