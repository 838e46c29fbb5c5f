//! Interval between the heartbeats of a connector process.
//!
//! Each heartbeat costs the process a wake-up and a write, and its parent a read. That is nothing
//! for one process, and a processor for a thousand: the more there are, the less often each sends
//! one, so that all together cost the same from [`FULL_RATE_PROCESSES_MAX`] on. The price is time
//! until a process that hangs is replaced, and no safety: that is the lease's.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use quorate_types::EffectiveTiming;
use tokio::sync::watch;

use super::silence;

/// Number of processes up to which each sends heartbeats as often as the timing asks for.
const FULL_RATE_PROCESSES_MAX: usize = 200;

/// Interval for processes that are started now.
pub(crate) struct HeartbeatInterval {
    timing: watch::Receiver<EffectiveTiming>,
    processes: AtomicUsize,
}

impl HeartbeatInterval {
    /// Follows `timing`: four heartbeats in the longest silence that it allows, while processes are
    /// few.
    pub(crate) fn new(timing: watch::Receiver<EffectiveTiming>) -> Self {
        HeartbeatInterval {
            timing,
            processes: AtomicUsize::new(0),
        }
    }

    /// Sets the number of processes. Those that run already keep their interval.
    pub(crate) fn set_process_count(&self, processes: usize) {
        self.processes.store(processes, Ordering::Relaxed);
    }

    /// Returns the time between two heartbeats of a process that is started now.
    pub(crate) fn every(&self) -> Duration {
        let processes = self.processes.load(Ordering::Relaxed);
        let times = processes.div_ceil(FULL_RATE_PROCESSES_MAX).max(1);
        silence(&self.timing) / 4 * u32::try_from(times).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use quorate_types::Timing;

    use super::*;

    #[test]
    fn heartbeats_of_many_processes_never_exceed_full_rate() {
        let full = Duration::from_millis(125);
        let timing = Timing::from_failover_ms(500).unwrap();
        let signs = HeartbeatInterval::new(watch::channel(timing.into()).1);
        assert_eq!(signs.every(), full);
        for processes in [1, 2, 199, 200, 201, 399, 400, 1000, 10_000] {
            signs.set_process_count(processes);
            let a_second = processes as f64 / signs.every().as_secs_f64();
            let most = FULL_RATE_PROCESSES_MAX as f64 / full.as_secs_f64();
            assert!(a_second <= most, "{processes}: {a_second} of {most}");
            assert!(signs.every() >= full);
        }
        signs.set_process_count(1000);
        assert_eq!(signs.every(), full * 5);
    }
}
