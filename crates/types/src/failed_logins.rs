//! Failed logins: when one who guesses is no longer heard.
//!
//! A source (an IPv4 address, or the /64 of an IPv6 one) may fail ten times a minute; then it is
//! refused before anything is checked, so that what it learns and what it costs are bounded.
//! Nobody's account is ever locked: that would let a stranger shut the owner out. For the same
//! reason the bound on all sources together refuses only sources that have failed of late.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use quorate_clock::Instant;

use crate::token_bucket::{BucketRate, BucketTable, TokenBucket};

/// Failures that one source may make a minute.
pub const FAILURES_A_MINUTE: u32 = 10;
/// Failures that all sources may make a second.
const FAILURES_A_SECOND: u32 = 1_000;
/// Sources that are remembered: some 10 MiB.
const SOURCES_MAX: usize = 100_000;

/// Failed logins of one face of a member, of the last minute.
#[derive(Debug)]
pub struct FailedLogins {
    sources: BucketTable<IpAddr>,
    /// Sources that a line of the log was written for within the last minute.
    told: BucketTable<IpAddr>,
    all: TokenBucket,
}

impl Default for FailedLogins {
    fn default() -> FailedLogins {
        FailedLogins {
            sources: BucketTable::new(SOURCES_MAX),
            told: BucketTable::new(SOURCES_MAX),
            all: TokenBucket::default(),
        }
    }
}

impl FailedLogins {
    /// Returns how long a source has to wait before its credentials are looked at again; `None`
    /// where they are looked at now.
    pub fn wait(&self, source: IpAddr, now: Instant) -> Option<Duration> {
        let bucket = self.sources.get(&source_network(source));
        if bucket.is_full(now) {
            return None;
        }
        let wait = bucket.wait(source_rate(), now);
        Some(wait.max(self.all.wait(total_rate(), now))).filter(|it| !it.is_zero())
    }

    /// Notes a failure. Returns true where it is the first of its source in a minute that is worth
    /// a line in the log.
    pub fn record(&mut self, source: IpAddr, now: Instant) -> bool {
        let source = source_network(source);
        // Where there is no token left the bound holds already.
        let _ = self.sources.try_take(&source, source_rate(), now);
        let _ = self.all.try_take(total_rate(), now);
        let line = BucketRate::new(1, Duration::from_secs(60), 1);
        self.told.try_take(&source, line, now).is_ok()
    }
}

fn source_rate() -> BucketRate {
    let minute = Duration::from_secs(60);
    BucketRate::new(FAILURES_A_MINUTE, minute, FAILURES_A_MINUTE)
}

fn total_rate() -> BucketRate {
    let second = Duration::from_secs(1);
    BucketRate::new(FAILURES_A_SECOND, second, FAILURES_A_SECOND)
}

/// Returns what counts as one source: an IPv4 address, or the /64 of an IPv6 one, of which
/// whoever has one address has all.
pub fn source_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(it) => {
            let network = u128::from(it) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Test 51 of the security design, the part that is the same at each face.
    #[test]
    fn eleventh_failure_in_a_minute_waits() {
        let (mut failed, start) = (FailedLogins::default(), Instant::now());
        let (guesser, other) = (address("10.0.0.1"), address("10.0.0.2"));
        for n in 0..10 {
            assert_eq!(failed.wait(guesser, start), None, "{n}");
            assert_eq!(failed.record(guesser, start), n == 0, "one line a minute");
        }
        let wait = failed.wait(guesser, start).unwrap();
        assert_eq!(wait, Duration::from_secs(6));
        assert_eq!(failed.wait(other, start), None);
        assert_eq!(failed.wait(guesser, start + wait), None);
        let later = start + Duration::from_secs(61);
        assert!(failed.record(guesser, later), "the next minute has a line");
    }

    #[test]
    fn ipv6_neighbours_are_one_source() {
        let same = |a, b| source_network(address(a)) == source_network(address(b));
        assert!(same("2001:db8::1", "2001:db8::ffff:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
    }

    #[test]
    fn flood_of_sources_locks_nobody_out() {
        let (mut failed, now) = (FailedLogins::default(), Instant::now());
        for n in 0..2_000_u32 {
            failed.record(IpAddr::V4((0x0a00_0000 + n).into()), now);
        }
        assert!(failed.wait(address("10.0.0.1"), now).is_some());
        assert_eq!(failed.wait(address("192.0.2.1"), now), None);
    }
}
