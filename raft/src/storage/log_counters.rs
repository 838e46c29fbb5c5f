//! Counters of what the log has done since it was opened.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Time from which a write that does not wait for the disk was held up by it all the same.
const STALL: Duration = Duration::from_millis(10);

/// Counters of one log; also published as metrics.
#[derive(Debug, Default)]
pub(crate) struct LogCounters {
    entries: AtomicU64,
    fsyncs: AtomicU64,
    /// For the planted bug `ack-before-commit`.
    #[cfg(feature = "mutants")]
    pub(crate) early: crate::uncommitted_answers::UncommittedAnswers,
}

impl LogCounters {
    /// Returns the number of entries appended.
    pub(crate) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Returns the number of fsyncs of the log, each for all that was appended before it.
    pub(crate) fn fsyncs(&self) -> u64 {
        self.fsyncs.load(Ordering::Relaxed)
    }

    pub(super) fn count_entries(&self, n: u64) {
        self.entries.fetch_add(n, Ordering::Relaxed);
        metrics::counter!("quorate_log_entries_total").increment(n);
    }

    /// Counts a write to RocksDB. A write that is held up holds up what is to last, and nothing
    /// else until the backlog is full.
    pub(super) fn count_write(&self, took: Duration) {
        metrics::histogram!("quorate_log_write_seconds").record(took.as_secs_f64());
        if took >= STALL {
            metrics::counter!("quorate_log_stalls_total").increment(1);
        }
    }

    pub(super) fn count_fsync(&self, seconds: f64) {
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("quorate_log_fsyncs_total").increment(1);
        metrics::histogram!("quorate_log_fsync_seconds").record(seconds);
    }
}
