//! Lapses of the lease under a connector server that kept its reign or was replaced.
//!
//! Connectors stand still during a lapse and go on after it. In one that lasts they give back what
//! they hold, and it is handed out and handled again. Channels that keep order give it back in each
//! lapse, since a successor's messages could overtake what they hold.

use std::time::Duration;

use metrics::counter;
use quorate_clock::Instant;
use tokio::sync::watch;

/// Lapses of one member since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseLapses {
    /// Number of lapses.
    pub count: u64,
    /// Number of lapses in which messages in flight were given back: those that lasted, and all of
    /// them where a channel that keeps order was at work.
    pub gave_back: u64,
    /// Longest lapse.
    pub longest: Duration,
    /// End of the last lapse.
    pub last_at: Option<Instant>,
}

/// Tracker of lapses.
pub(super) struct LapseTracker {
    granted: Option<LastGrant>,
    seen: watch::Sender<LeaseLapses>,
}

/// Last grant of the lease.
struct LastGrant {
    epoch: u64,
    until: Instant,
    /// Time beyond the end of the lease for which connectors hold what they have.
    respite: Duration,
}

impl LapseTracker {
    pub(crate) fn new(seen: watch::Sender<LeaseLapses>) -> LapseTracker {
        let granted = None;
        LapseTracker { granted, seen }
    }

    /// Notes that the lease of `epoch` runs until `until`. Connectors hold what they have for
    /// `respite` beyond its end; `in_order` returns true when any of them keeps order.
    pub(crate) fn granted(
        &mut self,
        epoch: u64,
        until: Instant,
        respite: Duration,
        now: Instant,
        in_order: impl Fn() -> bool,
    ) {
        let granted = LastGrant {
            epoch,
            until,
            respite,
        };
        if let Some(before) = self.granted.replace(granted)
            && before.epoch == epoch
        {
            self.note(&before, now, in_order);
        }
    }

    /// Notes that this member no longer reigns.
    pub(crate) fn over(&mut self, now: Instant, in_order: impl Fn() -> bool) {
        if let Some(last) = self.granted.take() {
            self.note(&last, now, in_order);
        }
    }

    /// Counts a lapse, if the last grant had run out.
    fn note(&self, granted: &LastGrant, now: Instant, in_order: impl Fn() -> bool) {
        let lasted = now.saturating_duration_since(granted.until);
        if lasted.is_zero() {
            return;
        }
        let outlasted = lasted >= granted.respite;
        let gave_back = outlasted || in_order();
        self.seen.send_modify(|seen| {
            seen.count += 1;
            seen.gave_back += u64::from(gave_back);
            seen.longest = seen.longest.max(lasted);
            seen.last_at = Some(now);
        });
        let messages = if gave_back { "given_back" } else { "kept" };
        counter!("quorate_lease_lapses_total", "messages" => messages).increment(1);
        if outlasted {
            tracing::warn!(
                lasted_ms = lasted.as_millis() as u64,
                "the lease of the connectors lapsed for so long that what was in flight was given back: it is handled again"
            );
        } else if gave_back {
            tracing::warn!(
                lasted_ms = lasted.as_millis() as u64,
                "the lease of the connectors lapsed, and channels with `ordered` gave back what was in flight: it is handled again"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPITE: Duration = Duration::from_millis(100);

    fn at(ms: u64) -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now) + Duration::from_millis(ms)
    }

    #[test]
    fn expired_lease_is_a_lapse_and_gives_back() {
        let (seen, lapses) = watch::channel(LeaseLapses::default());
        let mut tracker = LapseTracker::new(seen);
        let none = || false;
        tracker.granted(7, at(100), RESPITE, at(0), none);
        tracker.granted(7, at(200), RESPITE, at(90), none);
        assert_eq!(*lapses.borrow(), LeaseLapses::default());
        tracker.granted(7, at(300), RESPITE, at(250), none);
        let short = *lapses.borrow();
        assert_eq!((short.count, short.gave_back), (1, 0));
        assert_eq!(short.longest, Duration::from_millis(50));
        tracker.granted(7, at(500), RESPITE, at(400), none);
        let long = *lapses.borrow();
        assert_eq!((long.count, long.gave_back), (2, 1));
        assert_eq!(long.last_at, Some(at(400)));
        // Let go of while it ran, and another reign of the same member later.
        tracker.over(at(450), none);
        tracker.granted(9, at(900), RESPITE, at(800), none);
        assert_eq!(*lapses.borrow(), long);
        // Replaced after it had run out.
        tracker.over(at(950), none);
        assert_eq!(lapses.borrow().count, 3);
        tracker.over(at(990), none);
        assert_eq!(lapses.borrow().count, 3);
    }

    // guarantee: LEASE-6
    #[test]
    fn each_lapse_gives_ordered_messages_back() {
        let (seen, lapses) = watch::channel(LeaseLapses::default());
        let mut tracker = LapseTracker::new(seen);
        tracker.granted(7, at(100), RESPITE, at(0), || true);
        tracker.granted(7, at(200), RESPITE, at(90), || true);
        assert_eq!(lapses.borrow().gave_back, 0);
        tracker.granted(7, at(300), RESPITE, at(210), || true);
        assert_eq!((lapses.borrow().count, lapses.borrow().gave_back), (1, 1));
        tracker.over(at(301), || true);
        assert_eq!((lapses.borrow().count, lapses.borrow().gave_back), (2, 2));
    }
}
