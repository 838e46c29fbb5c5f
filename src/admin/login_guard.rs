//! Failed logins: a bound on how many each source may have, before anything is checked.
//!
//! There is no lock on an identity or a token: whoever guesses would lock its owner out. A source is
//! an IPv4 address or an IPv6 network of 64 bits; sources beyond the bound share one.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_log::RateLimit;

/// Failures that a source may have at once.
const BURST: u32 = 10;
/// Time after which it may have another one: ten a minute.
const EACH: Duration = Duration::from_secs(6);
/// Sources that are told apart.
const SOURCES_MAX: usize = 4096;
/// Pause between two searches for sources that can be forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// The failures of all sources.
pub(super) struct LoginGuard {
    sources: Mutex<KnownSources>,
    log_limit: RateLimit,
}

#[derive(Default)]
struct KnownSources {
    /// By source, the time at which all of its failures are forgotten.
    forgotten_at: BTreeMap<IpAddr, Instant>,
    searched_at: Option<Instant>,
}

impl Default for LoginGuard {
    fn default() -> Self {
        LoginGuard {
            sources: Mutex::default(),
            log_limit: RateLimit::new(Duration::from_secs(60)),
        }
    }
}

impl LoginGuard {
    /// Returns how long a source with too many failures has to wait; `None`: it may try.
    pub(super) fn wait(&self, address: IpAddr) -> Option<Duration> {
        self.wait_at(address, Instant::now())
    }

    /// Notes a failure, with one line in the log for each source and minute.
    pub(super) fn failed(&self, address: IpAddr, reason: &'static str) {
        metrics::counter!("quorate_auth_failures_total", "face" => "admin", "reason" => reason)
            .increment(1);
        let source = self.failed_at(address, Instant::now());
        if let Some(left_out) = self.log_limit.due(&source.to_string()) {
            tracing::warn!(%source, reason, left_out, "a login at the admin port failed");
        }
    }

    fn wait_at(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let sources = self.sources.lock();
        let source = sources.place_of(source(address));
        let left = sources.forgotten_at.get(&source)?;
        let left = left.saturating_duration_since(now);
        let over = left.checked_sub(EACH * (BURST - 1))?;
        (!over.is_zero()).then_some(over)
    }

    fn failed_at(&self, address: IpAddr, now: Instant) -> IpAddr {
        let mut sources = self.sources.lock();
        sources.forget(now);
        let source = sources.place_of(source(address));
        let until = sources.forgotten_at.entry(source).or_insert(now);
        *until = (*until).max(now) + EACH;
        source
    }
}

impl KnownSources {
    /// Returns the source under which another one is counted once there are too many.
    fn place_of(&self, source: IpAddr) -> IpAddr {
        let is_full = self.forgotten_at.len() >= SOURCES_MAX;
        if is_full && !self.forgotten_at.contains_key(&source) {
            return Ipv6Addr::UNSPECIFIED.into();
        }
        source
    }

    fn forget(&mut self, now: Instant) {
        let is_due = self.searched_at.is_none_or(|it| now >= it + FORGET_EVERY);
        if is_due && self.forgotten_at.len() >= SOURCES_MAX {
            self.searched_at = Some(now);
            self.forgotten_at.retain(|_, until| *until > now);
        }
    }
}

fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(network).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Security test 51, for the admin port.
    #[test]
    fn eleventh_failure_in_a_minute_waits() {
        let guard = LoginGuard::default();
        let now = Instant::now();
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for _ in 0..BURST {
            assert_eq!(guard.wait_at(one, now), None);
            guard.failed_at(one, now);
        }
        assert_eq!(guard.wait_at(one, now), Some(EACH));
        assert_eq!(guard.wait_at(other, now), None);
        assert_eq!(
            guard.wait_at("::ffff:10.0.0.1".parse().unwrap(), now),
            Some(EACH)
        );
        assert_eq!(guard.wait_at(one, now + EACH), None);
        guard.failed_at(one, now + EACH);
        assert_eq!(guard.wait_at(one, now + EACH), Some(EACH));
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_source() {
        let guard = LoginGuard::default();
        let now = Instant::now();
        for host in 0..BURST {
            guard.failed_at(format!("2001:db8::{host}").parse().unwrap(), now);
        }
        assert!(
            guard
                .wait_at("2001:db8::ffff".parse().unwrap(), now)
                .is_some()
        );
        assert!(
            guard
                .wait_at("2001:db8:0:1::1".parse().unwrap(), now)
                .is_none()
        );
    }

    #[test]
    fn sources_are_bounded_and_forgotten() {
        let guard = LoginGuard::default();
        let now = Instant::now();
        let address = |n: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(n));
        for n in 0..2 * SOURCES_MAX as u32 {
            guard.failed_at(address(n), now);
        }
        assert_eq!(guard.sources.lock().forgotten_at.len(), SOURCES_MAX + 1);
        guard.failed_at(address(9_999), now + EACH + FORGET_EVERY);
        assert!(guard.sources.lock().forgotten_at.len() <= SOURCES_MAX);
    }
}
