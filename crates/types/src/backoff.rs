//! Backoff: waits that grow with each try.

use std::time::Duration;

use quorate_clock::Instant;

/// Backoff that doubles from `first` up to `last`.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    tries: u32,
}

impl Backoff {
    /// Returns a backoff that starts with `first` and never waits longer than `last`.
    pub fn new(first: Duration, last: Duration) -> Self {
        Backoff {
            first,
            last,
            tries: 0,
        }
    }

    /// Returns the wait before the next try.
    pub fn step(&mut self) -> Duration {
        let wait = nth(self.first, self.last, self.tries);
        self.tries = self.tries.saturating_add(1);
        wait
    }

    /// Starts anew after a success: the next wait is the first again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

/// Backoff by a share of the time that has passed since the first try: soon for a condition that
/// may be over any moment, seldom for one that lasts. The end of the condition is noticed at most
/// that share later than it could be.
#[derive(Clone, Debug)]
pub struct ProportionalBackoff {
    first: Duration,
    last: Duration,
    since: Option<Instant>,
}

impl ProportionalBackoff {
    /// Returns a backoff that never waits less than `first` or longer than `last`.
    pub fn new(first: Duration, last: Duration) -> Self {
        ProportionalBackoff {
            first,
            last,
            since: None,
        }
    }

    /// Returns the wait before the next try.
    pub fn step(&mut self, now: Instant) -> Duration {
        let since = *self.since.get_or_insert(now);
        (now.duration_since(since) / 4).clamp(self.first, self.last)
    }

    /// Starts anew after a success or for another condition: the next wait is the first again.
    pub fn reset(&mut self) {
        self.since = None;
    }
}

/// Returns the wait after `n` earlier ones.
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
    fn proportional_backoff_grows_with_elapsed_time() {
        let ms = Duration::from_millis;
        let mut share = ProportionalBackoff::new(ms(2), ms(1000));
        let start = Instant::now();
        assert_eq!(share.step(start), ms(2));
        assert_eq!(share.step(start + ms(2)), ms(2));
        assert_eq!(share.step(start + ms(40)), ms(10));
        assert_eq!(share.step(start + ms(60_000)), ms(1000));
        share.reset();
        assert_eq!(share.step(start + ms(60_000)), ms(2));
        // Few tries for something that lasts.
        let (mut share, mut now, mut tries) = (ProportionalBackoff::new(ms(2), ms(1000)), start, 0);
        while now < start + ms(5000) {
            now += share.step(now);
            tries += 1;
        }
        assert!(tries < 40, "{tries}");
    }

    #[test]
    fn never_overflows() {
        let last = Duration::from_secs(30);
        assert_eq!(nth(Duration::from_millis(200), last, u32::MAX), last);
        assert_eq!(nth(Duration::MAX, last, 3), last);
        assert_eq!(nth(Duration::ZERO, last, 40), Duration::ZERO);
    }
}
