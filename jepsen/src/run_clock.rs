//! Clock of a run: CLOCK_MONOTONIC, in nanoseconds since the run began.

use std::time::Duration;

use quorate_clock::Instant;

/// Clock that is cheap to copy; all copies count from the same moment.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    begun: Instant,
}

impl RunClock {
    /// The run begins now.
    pub fn start() -> RunClock {
        RunClock {
            begun: Instant::now(),
        }
    }

    /// Nanoseconds since the run began.
    pub fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    /// The moment that is so long after the beginning.
    pub fn at(&self, after: Duration) -> Instant {
        self.begun + after
    }
}
