//! From the promise that the user makes to the timers that keep it.
//!
//! A follower campaigns `election_max + rand(election_min..election_max)` after the
//! last heartbeat that it saw, and voters refuse for `election_max` after theirs
//! (openraft's leader lease). So a silent loss costs up to twice `election_max`,
//! plus a tick, the votes and the first commit; everything is derived from that.

use std::time::Duration;

/// The smallest promise that can be made, in milliseconds.
pub const FAILOVER_MS_MIN: u64 = 100;
/// The largest promise that can be made, in milliseconds.
pub const FAILOVER_MS_MAX: u64 = 60_000;

/// Timers derived from one promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The promise: from the loss of the leader to its successor's first commit.
    pub failover: Duration,
    /// How often a leader lets itself be heard.
    pub heartbeat: Duration,
    /// The lower end of the random part of the election timeout.
    pub election_min: Duration,
    /// The upper end, and the time for which voters stand by a leader.
    pub election_max: Duration,
    /// How long after the *sending* of a heartbeat round that a quorum answered
    /// the leader may act alone. Shorter than `election_max` by more than two
    /// clocks that differ by 1 % can disagree.
    pub lease: Duration,
}

/// A promise that can't be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("failover_ms is {0}; it must be from {FAILOVER_MS_MIN} to {FAILOVER_MS_MAX}")]
pub struct TimingError(pub u64);

impl Timing {
    /// Derives the timers from `failover_ms`.
    pub fn from_failover_ms(failover_ms: u64) -> Result<Self, TimingError> {
        if !(FAILOVER_MS_MIN..=FAILOVER_MS_MAX).contains(&failover_ms) {
            return Err(TimingError(failover_ms));
        }
        let election_max = failover_ms * 36 / 100;
        Ok(Timing {
            failover: Duration::from_millis(failover_ms),
            heartbeat: Duration::from_millis((election_max / 6).max(5)),
            election_min: Duration::from_millis(election_max / 2),
            election_max: Duration::from_millis(election_max),
            lease: Duration::from_micros(election_max * 960),
        })
    }
}
