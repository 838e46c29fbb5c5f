//! What the log has done since it was opened.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one log; also published as metrics.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    entries: AtomicU64,
    fsyncs: AtomicU64,
}

impl Stats {
    /// Entries appended.
    pub(crate) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Fsyncs of the log, each for all that was appended before it.
    pub(crate) fn fsyncs(&self) -> u64 {
        self.fsyncs.load(Ordering::Relaxed)
    }

    pub(super) fn count_entries(&self, n: u64) {
        self.entries.fetch_add(n, Ordering::Relaxed);
        metrics::counter!("quorate_log_entries_total").increment(n);
    }

    pub(super) fn count_fsync(&self, seconds: f64) {
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("quorate_log_fsyncs_total").increment(1);
        metrics::histogram!("quorate_log_fsync_seconds").record(seconds);
    }
}
