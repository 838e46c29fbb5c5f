//! Waiting until somebody else has let go of what only one may consume.
//!
//! A refused attempt costs the broker a channel and a line in its log, so while it lasts the
//! broker is only asked whether anybody consumes there, and that often: when a host has
//! vanished, the queue stays taken until the broker's heartbeat runs out, and every
//! millisecond from then on is one in which nobody consumes.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_types::backoff::ProportionalBackoff;
use tokio::time::{sleep, sleep_until, timeout};

/// Between two looks; at first shorter, as most are gone in a moment.
const FIRST: Duration = Duration::from_millis(2);
const LAST: Duration = Duration::from_millis(40);

/// With a broker that takes its time for an answer, the pause is so many times as long, so
/// that asking is never most of what it does.
const PAUSE_PER_ANSWER: u32 = 4;

/// After so long opening is tried again, whatever the broker says of its consumers; also the
/// longest pause between two tries.
const TRY_ANYWAY: Duration = Duration::from_secs(1);

/// How long a queue has been taken.
pub struct ExclusiveWait {
    looks: ProportionalBackoff,
    tries: ProportionalBackoff,
}

impl ExclusiveWait {
    /// Nothing was refused yet.
    pub fn new() -> Self {
        ExclusiveWait {
            looks: ProportionalBackoff::new(FIRST, LAST),
            tries: ProportionalBackoff::new(FIRST, TRY_ANYWAY),
        }
    }

    /// It was let in, or wants something else by now.
    pub fn reset(&mut self) {
        self.looks.reset();
        self.tries.reset();
    }

    /// Returns when it is worth another try: once the broker has said that somebody is there
    /// and then that nobody is. Where it says neither, or seems to be wrong, only trying can
    /// tell, which is done less and less often. Can be dropped.
    pub async fn wait(&mut self, taken_now: impl AsyncFn() -> Option<bool>) {
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
