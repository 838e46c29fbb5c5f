//! Waiting longer after each try.

use std::time::Duration;

/// Doubles from `first` up to `last`.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    tries: u32,
}

impl Backoff {
    /// Starts with `first`, never waits longer than `last`.
    pub fn new(first: Duration, last: Duration) -> Self {
        Backoff {
            first,
            last,
            tries: 0,
        }
    }

    /// How long to wait before the next try.
    pub fn step(&mut self) -> Duration {
        let wait = nth(self.first, self.last, self.tries);
        self.tries = self.tries.saturating_add(1);
        wait
    }

    /// It worked: the next wait is the first again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

/// The wait after `n` earlier ones.
pub fn nth(first: Duration, last: Duration, n: u32) -> Duration {
    first
        .checked_mul(1_u32.checked_shl(n).unwrap_or(u32::MAX))
        .unwrap_or(last)
        .min(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_last_and_starts_again() {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(100));
        let waits: Vec<u64> = (0..5).map(|_| backoff.step().as_millis() as u64).collect();
        assert_eq!(waits, [20, 40, 80, 100, 100]);
        backoff.reset();
        assert_eq!(backoff.step(), Duration::from_millis(20));
    }

    #[test]
    fn never_overflows() {
        let last = Duration::from_secs(30);
        assert_eq!(nth(Duration::from_millis(200), last, u32::MAX), last);
        assert_eq!(nth(Duration::MAX, last, 3), last);
        assert_eq!(nth(Duration::ZERO, last, 40), Duration::ZERO);
    }
}
