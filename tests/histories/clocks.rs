//! A host's clocks, over the true time that only the world knows. All in microseconds.

use std::{sync::OnceLock, time::Duration};

use quorate_clock::Instant;
use quorate_supervisor::decision_core::BootInstant;

/// A point on a host's CLOCK_MONOTONIC as the deciders know it.
pub fn instant(mono: u64) -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now) + Duration::from_micros(mono)
}

/// The same way back.
pub fn micros(instant: Instant) -> u64 {
    instant.duration_since(self::instant(0)).as_micros() as u64
}

/// A point on a host's CLOCK_BOOTTIME.
pub fn boot_instant(boot: u64) -> BootInstant {
    BootInstant::from_nanos(boot * 1000)
}

pub struct Clocks {
    /// How much faster than true time, in millionths.
    ppm: i64,
    /// True time at the last change.
    since: u64,
    mono: u64,
    boot: u64,
    asleep: bool,
    /// When it slept, by its CLOCK_MONOTONIC, and what the other clock was ahead by before.
    slept: Vec<(u64, u64)>,
    /// What the wall clock is ahead of CLOCK_BOOTTIME by.
    pub wall: i64,
}

impl Clocks {
    /// No two hosts have begun at the same time.
    pub fn new(host: u64, ppm: i64) -> Clocks {
        let mono = (1_000 + host * 137) * 1_000_000;
        Clocks {
            ppm,
            since: 0,
            mono,
            boot: mono + 500_000,
            asleep: false,
            slept: Vec::new(),
            wall: 0,
        }
    }

    fn passed(&self, now: u64) -> u64 {
        let true_time = (now - self.since) as i64;
        (true_time + true_time * self.ppm / 1_000_000) as u64
    }

    pub fn mono(&self, now: u64) -> u64 {
        match self.asleep {
            true => self.mono,
            false => self.mono + self.passed(now),
        }
    }

    pub fn boot(&self, now: u64) -> u64 {
        self.boot + self.passed(now)
    }

    /// When CLOCK_MONOTONIC stood there, what did CLOCK_BOOTTIME say? Where it stood there
    /// for the whole of a sleep, it is the beginning that counts.
    pub fn boot_at(&self, mono: u64) -> u64 {
        let later = self.slept.iter().find(|(at, _)| mono <= *at);
        mono + later.map_or(self.boot - self.mono, |(_, ahead)| *ahead)
    }

    /// How much true time passes, awake, until CLOCK_MONOTONIC stands there.
    pub fn until(&self, due: u64, now: u64) -> u64 {
        let left = due.saturating_sub(self.mono(now)) as i64;
        // One more, so that it is not a moment too early.
        (left - left * self.ppm / 1_000_000).max(0) as u64 + u64::from(left > 0)
    }

    pub fn sleep(&mut self, now: u64) {
        self.settle(now);
        self.asleep = true;
        self.slept.push((self.mono, self.boot - self.mono));
    }

    pub fn wake(&mut self, now: u64) {
        self.settle(now);
        // So that no moment after it is one before it.
        (self.mono, self.boot) = (self.mono + 1, self.boot + 1);
        self.asleep = false;
    }

    pub fn asleep(&self) -> bool {
        self.asleep
    }

    fn settle(&mut self, now: u64) {
        (self.mono, self.boot) = (self.mono(now), self.boot(now));
        self.since = now;
    }
}
