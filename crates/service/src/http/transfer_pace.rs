//! Pace of a body: how slowly a client may move it, either way.
//!
//! A client may do nothing for a while, and be slow for a longer one. A client that is slow for
//! ever, a byte at a time, would keep a place that others wait for, so time is credited: waiting
//! for the client uses it up, and every byte that moves earns some. Only waiting for the client
//! counts, not the time of the other side.

use std::time::Duration;

use quorate_clock::Instant;

/// Bytes a second that use up no credit: a modem of fifty years ago is too slow.
pub(super) const LEAST_RATE: u32 = 512;

/// Pace of one body.
pub(super) struct TransferPace {
    silence: Duration,
    credit_max: Duration,
    credit: Duration,
    waiting_since: Option<Instant>,
}

/// Reason why a client is too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooSlow {
    /// Nothing moved for so long.
    Silent(Duration),
    /// Something did, but for so long less than [`LEAST_RATE`].
    Dribbling(Duration),
}

impl TransferPace {
    /// Creates a pace. `silence`: how long nothing may move. `slow`: how long less than
    /// [`LEAST_RATE`] may.
    pub(super) fn new(silence: Duration, slow: Duration) -> TransferPace {
        TransferPace {
            silence,
            credit_max: slow,
            credit: slow,
            waiting_since: None,
        }
    }

    /// Notes that it is the client that is waited for; returns when it is to be given up, and why.
    pub(super) fn wait(&mut self, now: Instant) -> (Instant, TooSlow) {
        let since = *self.waiting_since.get_or_insert(now);
        let (limit, why) = self.limit();
        (since + limit, why)
    }

    fn limit(&self) -> (Duration, TooSlow) {
        if self.silence <= self.credit {
            (self.silence, TooSlow::Silent(self.silence))
        } else {
            (self.credit, TooSlow::Dribbling(self.credit_max))
        }
    }

    /// Notes that so many bytes have moved.
    pub(super) fn moved(&mut self, bytes: usize, now: Instant) {
        let waited = self.waiting_since.take().map_or(Duration::ZERO, |since| {
            // Any longer time was spent on the other side.
            now.saturating_duration_since(since).min(self.silence)
        });
        let earned = Duration::from_secs(bytes as u64) / LEAST_RATE;
        self.credit = (self.credit + earned)
            .saturating_sub(waited)
            .min(self.credit_max);
    }

    /// Returns true when the client is waited for, and has been too slow.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.waiting_since
            .is_some_and(|since| now >= since + self.limit().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// When a client is given up that moves so many bytes each second, if within two hours.
    fn ends(bytes: usize) -> Option<u32> {
        let mut pace = TransferPace::new(30 * SECOND, 300 * SECOND);
        let begun = Instant::now();
        for second in 0..7200 {
            pace.wait(begun + SECOND * second);
            let now = begun + SECOND * (second + 1);
            if pace.is_overdue(now) {
                return Some(second);
            }
            if bytes > 0 {
                pace.moved(bytes, now);
            }
        }
        None
    }

    #[test]
    fn byte_at_a_time_is_given_up_eventually() {
        assert_eq!(ends(0), Some(29));
        assert!(matches!(ends(1), Some(299..=301)));
        assert!(matches!(ends(LEAST_RATE as usize / 2), Some(597..=601)));
        assert_eq!(ends(LEAST_RATE as usize), None);
    }

    #[test]
    fn fast_transfer_earns_only_the_first_credit() {
        let mut pace = TransferPace::new(30 * SECOND, 300 * SECOND);
        let begun = Instant::now();
        pace.moved(100 << 20, begun);
        assert_eq!(pace.credit, 300 * SECOND);
        pace.wait(begun);
        pace.moved(0, begun + 29 * SECOND);
        assert_eq!(pace.credit, 271 * SECOND);
    }

    #[test]
    fn only_waiting_for_the_client_counts() {
        let mut pace = TransferPace::new(30 * SECOND, 40 * SECOND);
        let begun = Instant::now();
        let silent = TooSlow::Silent(30 * SECOND);
        assert_eq!(pace.wait(begun), (begun + 30 * SECOND, silent));
        assert!(!pace.is_overdue(begun + 29 * SECOND));
        assert!(pace.is_overdue(begun + 30 * SECOND));
        // It had come, but an upstream took nothing for an hour.
        pace.moved(1, begun + 3600 * SECOND);
        assert!(!pace.is_overdue(begun + 7200 * SECOND));
        let (until, why) = pace.wait(begun);
        assert!((10 * SECOND..11 * SECOND).contains(&(until - begun)));
        assert_eq!(why, TooSlow::Dribbling(40 * SECOND));
    }
}
