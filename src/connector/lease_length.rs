//! How long a lease is that was renewed by a round of heartbeats, when that length changes.
//!
//! The members were told with each round how long the lease is that it renews. A longer one
//! therefore counts only for rounds that were sent after it was in force; a shorter one counts
//! at once, since it promises less than they were told.

use std::time::{Duration, Instant};

/// The length of the lease, and what it may soon be.
pub(super) struct LeaseLength {
    told: Duration,
    /// A longer one, and when it was seen to be in force.
    longer: Option<(Duration, Instant)>,
}

impl LeaseLength {
    pub(super) fn new(length: Duration) -> Self {
        LeaseLength {
            told: length,
            longer: None,
        }
    }

    /// The length that counts for the round that was sent at `heard_at`, when `wanted` is
    /// in force at `now`.
    pub(super) fn of(
        &mut self,
        wanted: Duration,
        heard_at: Option<Instant>,
        now: Instant,
    ) -> Duration {
        if wanted <= self.told {
            (self.told, self.longer) = (wanted, None);
            return wanted;
        }
        let since = match self.longer {
            Some((longer, since)) if longer == wanted => since,
            _ => now,
        };
        self.longer = Some((wanted, since));
        if heard_at.is_some_and(|at| at > since) {
            (self.told, self.longer) = (wanted, None);
        }
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_lease_counts_for_rounds_that_were_sent_with_it_and_a_shorter_one_at_once() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let at = |n| start + ms(n);
        let mut length = LeaseLength::new(ms(100));
        assert_eq!(length.of(ms(100), Some(at(0)), at(1)), ms(100));
        assert_eq!(length.of(ms(300), Some(at(5)), at(10)), ms(100));
        // sent before the longer one was in force, heard of after that
        assert_eq!(length.of(ms(300), Some(at(9)), at(20)), ms(100));
        assert_eq!(length.of(ms(300), None, at(21)), ms(100));
        assert_eq!(length.of(ms(300), Some(at(11)), at(22)), ms(300));
        // whoever wants yet another one in the middle begins to wait anew
        assert_eq!(length.of(ms(500), Some(at(12)), at(30)), ms(300));
        assert_eq!(length.of(ms(600), Some(at(31)), at(32)), ms(300));
        assert_eq!(length.of(ms(600), Some(at(33)), at(34)), ms(600));
        assert_eq!(length.of(ms(200), Some(at(33)), at(35)), ms(200));
    }
}
