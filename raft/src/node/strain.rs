//! Signs that this machine is too slow for its promise, before the promise is broken.

use std::time::Instant;

/// What was seen since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strain {
    /// Heartbeats that this member, as follower, got late: more than half of `election_max`
    /// after the one before.
    pub heartbeats_late: u64,
    /// Renewals of its lease that this member, as leader, got late: more than half of the
    /// lease was used up.
    pub renewals_late: u64,
    /// Times that this process did not run for more than half of the lease.
    pub stalls: u64,
    /// The longest of all these gaps, in milliseconds.
    pub worst_ms: u64,
    /// The same, as percent of what was allowed: at 100 the leader is lost.
    pub worst_percent: u64,
    /// When the last of them was seen.
    pub last_at: Option<Instant>,
}
