//! Distribution of lengths in lines: middle, tail, longest, and how many exceed a limit.

use serde::Serialize;

/// Figures of a set of lengths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LengthFigures {
    pub count: usize,
    pub median: usize,
    pub p90: usize,
    pub p99: usize,
    pub longest: usize,
    /// How many exceed the limit.
    pub over_limit: usize,
}

impl LengthFigures {
    /// Sorts the lengths and takes the figures from their places.
    pub fn new(mut lengths: Vec<usize>, limit: usize) -> LengthFigures {
        lengths.sort_unstable();
        let at = |percent: usize| {
            let place = lengths.len().saturating_sub(1) * percent / 100;
            lengths.get(place).copied().unwrap_or_default()
        };
        LengthFigures {
            count: lengths.len(),
            median: at(50),
            p90: at(90),
            p99: at(99),
            longest: at(100),
            over_limit: lengths.iter().filter(|length| **length > limit).count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_unsorted_give_their_places() {
        let figures = LengthFigures::new((1..=100).rev().collect(), 98);
        let expected = LengthFigures {
            count: 100,
            median: 50,
            p90: 90,
            p99: 99,
            longest: 100,
            over_limit: 2,
        };
        assert_eq!(figures, expected);
        assert_eq!(LengthFigures::new(Vec::new(), 1), LengthFigures::default());
    }
}
