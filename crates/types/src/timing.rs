//! From the promise that the user makes to the timers that keep it.
//!
//! What is done with them, beside openraft, whose own timers are off:
//! - a leader is heard every `heartbeat` (`node/heartbeat_sender`); an answer that takes longer
//!   than `answer` does not count (`network/peer_link`);
//! - a follower counts its patience, `election_max`, from the arrival of an append, the leader
//!   its lease from the sending of one that a quorum answered;
//! - a voter refuses every vote and pre-vote while its patience lasts, unless its leader has
//!   released it or has died (`election/vote_granting`);
//! - a follower campaigns once its patience is over and then a random time from
//!   `election_min..election_max`, drawn anew for each campaign (`election/election_timer`).
//!
//! So after a silent loss the first survivor campaigns at most `2 x election_max` after the
//! last append that it saw. With `election_max` at a third of the promise another third is
//! left for a pre-vote, a vote and a first entry, of which the last two wait for two disks,
//! and for whatever the successor has to begin. Two survivors that campaign at once don't
//! tie: of two votes in one term the higher member's wins. A survivor that lacks entries of
//! another's is refused by it, and the other's own timer has run out by then or does so
//! within the same bound.

use std::time::Duration;

use quorate_clock::Instant;

/// The smallest promise that can be made, in milliseconds.
pub const FAILOVER_MS_MIN: u64 = 100;
/// The largest promise that can be made, in milliseconds.
pub const FAILOVER_MS_MAX: u64 = 60_000;

/// The longest time between two heartbeats, in milliseconds: that of a promise of 500. By
/// heartbeats it is noticed who has fallen silent, and the next one is asked instead; nobody
/// who allows a leader's loss a longer time wants that to take longer.
const HEARTBEAT_MS_MAX: u64 = 27;

/// Two clocks that differ in rate by 1 % can disagree on a lease by this factor, in percent.
const SKEW_PERCENT: u32 = 102;

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

/// The timers in force: those of one promise or, while it changes, of two. No member may use
/// a lease that outlives the patience of another, so a change keeps the smaller of the two
/// promises for leases and the larger for patience until every member has taken it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveTiming {
    /// For a leader's lease and how often it is heard.
    pub lease: Timing,
    /// For how long voters stand by a leader, and what else waits for one.
    pub patience: Timing,
}

impl From<Timing> for EffectiveTiming {
    fn from(timing: Timing) -> Self {
        EffectiveTiming {
            lease: timing,
            patience: timing,
        }
    }
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
        let election_max = failover_ms * 33 / 100;
        Ok(Timing {
            failover: Duration::from_millis(failover_ms),
            heartbeat: Duration::from_millis((election_max / 6).clamp(5, HEARTBEAT_MS_MAX)),
            election_min: Duration::from_millis(election_max / 2),
            election_max: Duration::from_millis(election_max),
            lease: Duration::from_micros(election_max * 960),
        })
    }

    /// How long the answer to a heartbeat may take.
    pub fn answer(&self) -> Duration {
        self.election_min - Duration::from_millis(1)
    }

    /// The longest steady round trip with which a leader keeps its lease. One heartbeat is
    /// under way at a time: when its answer comes the next one leaves, and the lease must last
    /// until that is answered too. It runs from when the first was due, up to a period before
    /// it left.
    pub fn round_trip_max(&self) -> Duration {
        (self.lease - self.heartbeat) / 2
    }
}

/// The leases that a leader sends its appends with, over time.
///
/// An append says how long its lease is when it is put together, which is after its sending
/// time was taken. So what runs from a sending time is the shortest that was in force then or
/// later: it is never longer than what the append says.
#[derive(Debug)]
pub struct LeaseHistory(Vec<(Instant, Duration)>);

impl LeaseHistory {
    /// Changes that are remembered; of what was before them, the shortest.
    const MAX: usize = 8;

    /// One length, in force since then.
    pub fn new(since: Instant, lease: Duration) -> Self {
        LeaseHistory(vec![(since, lease)])
    }

    /// Appends that are put together from `since` on say `lease`.
    pub fn change(&mut self, since: Instant, lease: Duration) {
        self.0.push((since, lease));
        if self.0.len() > Self::MAX {
            let (first, lease) = self.0.remove(0);
            self.0[0] = (first, lease.min(self.0[0].1));
        }
    }

    /// What runs from a sending time.
    pub fn from(&self, sent: Instant) -> Duration {
        let ends = self.0.iter().skip(1).map(|(since, _)| Some(*since));
        let in_force = self.0.iter().zip(ends.chain([None]));
        let since = in_force.filter(|(_, end)| end.is_none_or(|end| end > sent));
        let leases = since.map(|((_, lease), _)| *lease);
        leases.min().unwrap_or_default()
    }
}

/// How long, by another's clock, a lease of that length may run.
pub fn lease_elsewhere(lease: Duration) -> Duration {
    lease * SKEW_PERCENT / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Timing> {
        let promises = (FAILOVER_MS_MIN..2_000).chain((2_000..=FAILOVER_MS_MAX).step_by(97));
        promises.map(|ms| Timing::from_failover_ms(ms).unwrap())
    }

    #[test]
    fn only_promises_that_can_be_kept_are_taken() {
        for ms in [FAILOVER_MS_MIN, 500, FAILOVER_MS_MAX] {
            let timing = Timing::from_failover_ms(ms).unwrap();
            assert_eq!(timing.failover, Duration::from_millis(ms));
        }
        for ms in [0, FAILOVER_MS_MIN - 1, FAILOVER_MS_MAX + 1, u64::MAX] {
            assert_eq!(Timing::from_failover_ms(ms), Err(TimingError(ms)));
        }
    }

    // guarantee: LEASE-1
    #[test]
    fn lease_ends_before_any_voter_elects_another() {
        for t in all() {
            assert!(lease_elsewhere(t.lease) < t.election_max, "{t:?}");
            assert!(t.lease > t.heartbeat * 4, "{t:?}");
        }
    }

    #[test]
    fn longer_lease_counts_only_for_later_rounds() {
        let ms = Duration::from_millis;
        let start = Instant::now();
        let mut leases = LeaseHistory::new(start, ms(100));
        leases.change(start + ms(10), ms(400));
        assert_eq!(leases.from(start + ms(9)), ms(100));
        assert_eq!(leases.from(start + ms(10)), ms(400));
        leases.change(start + ms(20), ms(50));
        assert_eq!(leases.from(start + ms(15)), ms(50));
        leases.change(start + ms(30), ms(400));
        assert_eq!(leases.from(start), ms(50));
        assert_eq!(leases.from(start + ms(29)), ms(50));
        assert_eq!(leases.from(start + ms(30)), ms(400));
        for i in 0..20 {
            leases.change(start + ms(40 + i), ms(300));
        }
        assert_eq!(leases.from(start + ms(9)), ms(50));
        assert_eq!(leases.from(start + ms(60)), ms(300));
    }

    #[test]
    fn several_heartbeats_may_be_lost() {
        for t in all() {
            assert!(t.heartbeat * 5 <= t.election_max, "{t:?}");
            assert!(t.heartbeat < t.election_min, "{t:?}");
            assert!(t.election_min < t.election_max, "{t:?}");
        }
    }

    #[test]
    fn round_trip_of_eighth_of_promise_is_tolerated() {
        for t in all() {
            assert!(t.round_trip_max() * 8 >= t.failover, "{t:?}");
            assert!(t.round_trip_max() <= t.answer(), "{t:?}");
        }
    }

    #[test]
    fn nearly_third_of_promise_remains_for_election() {
        for t in all() {
            let campaign = t.election_max * 2;
            assert!(campaign <= t.failover * 7 / 10, "{t:?}");
        }
    }
}
