//! Wait until another consumer has let go of a source that only one may consume.
//!
//! A refused attempt costs the broker a channel and a line in its log, so while the source is taken
//! the broker is only asked whether anybody consumes there, and that often: when a host has
//! vanished, the queue stays taken until the broker's heartbeat runs out, and every millisecond
//! from then on is one in which nobody consumes.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_types::backoff::ProportionalBackoff;
use tokio::time::{sleep, sleep_until, timeout};

/// Pauses between two queries; at first shorter, as most consumers are gone in a moment.
const FIRST: Duration = Duration::from_millis(2);
const LAST: Duration = Duration::from_millis(40);

/// Ratio of the pause to the time of the broker's answer: queries are never most of what a slow
/// broker does.
const PAUSE_PER_ANSWER: u32 = 4;

/// Time after which opening is tried again, whatever the broker says of its consumers; also the
/// longest pause between two tries.
const TRY_ANYWAY: Duration = Duration::from_secs(1);

/// Schedule of queries and tries while a queue is taken.
pub(crate) struct ExclusiveWait {
    looks: ProportionalBackoff,
    tries: ProportionalBackoff,
}

impl ExclusiveWait {
    /// Returns a schedule for a first refusal.
    pub(crate) fn new() -> Self {
        ExclusiveWait {
            looks: ProportionalBackoff::new(FIRST, LAST),
            tries: ProportionalBackoff::new(FIRST, TRY_ANYWAY),
        }
    }

    /// Starts anew, after the consumer was let in or its settings have changed.
    pub(crate) fn reset(&mut self) {
        self.looks.reset();
        self.tries.reset();
    }

    /// Waits until another try is worthwhile: once the broker has reported a consumer and then
    /// none. Where the broker reports neither, or seems to be wrong, only trying can find out,
    /// which is done less and less often. Cancel safe.
    pub(crate) async fn wait(&mut self, taken_now: impl AsyncFn() -> Option<bool>) {
        let refused = Instant::now();
        let due = refused + self.tries.step(refused);
        let mut least = Duration::ZERO;
        let mut taken = false;
        while refused.elapsed() < TRY_ANYWAY {
            sleep(self.looks.step(Instant::now()).max(least)).await;
            let asked = Instant::now();
            match timeout(TRY_ANYWAY, taken_now()).await {
                Ok(Some(true)) => taken = true,
                Ok(Some(false)) if taken => return,
                _ => return sleep_until(due).await,
            }
            least = asked.elapsed() * PAUSE_PER_ANSWER;
        }
    }
}
