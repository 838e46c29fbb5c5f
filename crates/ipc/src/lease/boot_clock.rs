//! CLOCK_BOOTTIME, and the conversion of CLOCK_MONOTONIC stamps to it that never gains time.

use std::{collections::VecDeque, time::Duration};

use quorate_clock::{Instant, boot_nanos};
use quorate_planted::{Mutant, planted};

use super::planted::wall_nanos;

/// Point on CLOCK_BOOTTIME, in nanoseconds since the host started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootInstant(pub(super) u64);

impl BootInstant {
    /// Returns the current time. Should the kernel refuse (none does since 2.6.39) it is the end of
    /// time: every lease is over.
    pub fn now() -> Self {
        let nanos = if planted(Mutant::WallClockLease) {
            wall_nanos()
        } else {
            boot_nanos()
        };
        BootInstant(nanos.unwrap_or(u64::MAX))
    }

    /// Returns the point so many nanoseconds after the host started.
    pub fn from_nanos(nanos: u64) -> Self {
        BootInstant(nanos)
    }

    /// Returns the nanoseconds since the host started.
    pub fn nanos(self) -> u64 {
        self.0
    }

    /// Returns the time until then; `None` when it has passed.
    pub fn remaining(self, now: BootInstant) -> Option<Duration> {
        self.0
            .checked_sub(now.0)
            .filter(|left| *left > 0)
            .map(Duration::from_nanos)
    }
}

impl std::ops::Add<Duration> for BootInstant {
    type Output = BootInstant;
    fn add(self, time: Duration) -> BootInstant {
        BootInstant(
            self.0
                .saturating_add(time.as_nanos().try_into().unwrap_or(u64::MAX)),
        )
    }
}

/// Noise of the sampling: a difference that grew by less than this is no suspension. Keeping the
/// older sample costs at most this much of a lease and never adds any.
const NOISE_MAX: Duration = Duration::from_millis(1);

/// Upper bound of the suspensions remembered; stamps from before the oldest convert to nothing.
const SAMPLES_MAX: usize = 16;

/// Samples of the difference between the two clocks, oldest first.
#[derive(Debug, Default)]
pub struct ClockOffsets {
    samples: VecDeque<(Instant, BootInstant)>,
}

impl ClockOffsets {
    /// Takes a sample. Called at each check of the leadership, so that the rounds that are sent
    /// from here on have one from before.
    pub fn sample(&mut self) {
        // In this order: a delay between the two reads makes the difference smaller.
        let boot = BootInstant::now();
        self.add(Instant::now(), boot);
    }

    /// Adds a sample of both clocks, of which `boot` was read first.
    pub fn add(&mut self, mono: Instant, boot: BootInstant) {
        if let Some((last_mono, last_boot)) = self.samples.back() {
            let unsuspended = *last_boot + mono.saturating_duration_since(*last_mono);
            if boot <= unsuspended + NOISE_MAX {
                return;
            }
        }
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((mono, boot));
    }

    /// Returns `at` on CLOCK_BOOTTIME, or earlier; `None` when no sample is old enough.
    pub fn convert(&self, at: Instant) -> Option<BootInstant> {
        let (mono, boot) = self.samples.iter().rev().find(|(mono, _)| *mono <= at)?;
        Some(*boot + at.duration_since(*mono))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn converts_exactly_while_the_host_stays_awake() {
        let start = Instant::now();
        let mut offsets = ClockOffsets::default();
        offsets.add(start, BootInstant(1_000 * MS));
        offsets.add(start + ms(50), BootInstant(1_050 * MS));
        assert_eq!(offsets.samples.len(), 1);
        assert_eq!(
            offsets.convert(start + ms(70)),
            Some(BootInstant(1_070 * MS))
        );
    }

    // guarantee: LEASE-4
    #[test]
    fn stamp_before_suspension_stays_before_suspension() {
        let start = Instant::now();
        let mut offsets = ClockOffsets::default();
        offsets.add(start, BootInstant(1_000 * MS));
        // Suspended for a minute between 10 ms and 11 ms.
        offsets.add(start + ms(11), BootInstant(61_011 * MS));
        assert_eq!(
            offsets.convert(start + ms(10)),
            Some(BootInstant(1_010 * MS))
        );
        assert_eq!(
            offsets.convert(start + ms(12)),
            Some(BootInstant(61_012 * MS))
        );
    }

    // guarantee: LEASE-4
    #[test]
    fn round_between_wake_and_sample_gains_nothing() {
        let start = Instant::now();
        let mut offsets = ClockOffsets::default();
        offsets.add(start, BootInstant(0));
        // Woke at 20 ms, stamped a round at 21 ms, sampled at 25 ms.
        offsets.add(start + ms(25), BootInstant(60_025 * MS));
        let converted = offsets.convert(start + ms(21)).unwrap();
        assert!(converted <= BootInstant(60_021 * MS));
    }

    #[test]
    fn no_sample_from_before_means_nothing() {
        let start = Instant::now();
        let mut offsets = ClockOffsets::default();
        assert_eq!(offsets.convert(start), None);
        offsets.add(start + ms(5), BootInstant(5 * MS));
        assert_eq!(offsets.convert(start), None);
    }

    #[test]
    fn delayed_sample_is_corrected_by_later_one() {
        let start = Instant::now();
        let mut offsets = ClockOffsets::default();
        // 30 ms passed between the two reads.
        offsets.add(start + ms(30), BootInstant(1_000 * MS));
        offsets.add(start + ms(40), BootInstant(1_040 * MS));
        assert_eq!(
            offsets.convert(start + ms(41)),
            Some(BootInstant(1_041 * MS))
        );
    }

    #[test]
    fn the_oldest_sample_goes_first() {
        let start = Instant::now();
        let mut offsets = ClockOffsets::default();
        for n in 0..=SAMPLES_MAX as u64 {
            offsets.add(start + ms(n), BootInstant(n * 60_000 * MS));
        }
        assert_eq!(offsets.samples.len(), SAMPLES_MAX);
        assert_eq!(offsets.convert(start), None);
    }

    #[test]
    fn both_clocks_agree_here_and_now() {
        let mut offsets = ClockOffsets::default();
        offsets.sample();
        let stamp = Instant::now();
        let after = BootInstant::now();
        assert!(offsets.convert(stamp).unwrap() <= after);
    }

    #[test]
    fn nothing_remains_of_the_present() {
        assert_eq!(BootInstant(5).remaining(BootInstant(5)), None);
        assert_eq!(
            BootInstant(7).remaining(BootInstant(5)),
            Some(Duration::from_nanos(2))
        );
    }
}
