//! Rotation of URLs: each of those that work as often as the others, the others last.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use quorate_clock::{Instant, rng};
use quorate_types::backoff;
use rand::Rng;

const OUT_FIRST: Duration = Duration::from_secs(1);
const OUT_MAX: Duration = Duration::from_secs(30);

/// Rotation over several URLs.
pub(super) struct UrlRotation {
    turn: AtomicUsize,
    urls: Vec<Mutex<UrlHealth>>,
}

#[derive(Clone, Copy, Default)]
struct UrlHealth {
    out_until: Option<Instant>,
    /// Failures since it worked last.
    failures: u32,
}

impl UrlRotation {
    pub(super) fn new(urls: usize) -> UrlRotation {
        UrlRotation {
            // Members must not all begin with the same one.
            turn: AtomicUsize::new(rng().random::<u16>().into()),
            urls: (0..urls).map(|_| Mutex::default()).collect(),
        }
    }

    /// Returns every URL once: those that work in turn, then those that are out, the longest first.
    pub(super) fn order(&self, now: Instant) -> Vec<usize> {
        let mut working = Vec::with_capacity(self.urls.len() + 1);
        let mut out = Vec::new();
        for (index, health) in self.urls.iter().enumerate() {
            match health.lock().out_until {
                Some(until) if until > now => out.push((until, index)),
                _ => working.push(index),
            }
        }
        if !working.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % working.len();
            working.rotate_left(turn);
        }
        out.sort_unstable();
        working.extend(out.into_iter().map(|(_, index)| index));
        working
    }

    /// Leaves a URL out for a while, for longer each time.
    pub(super) fn failed(&self, index: usize, now: Instant) {
        let mut health = self.urls[index].lock();
        health.out_until = Some(now + backoff::nth(OUT_FIRST, OUT_MAX, health.failures));
        health.failures = health.failures.saturating_add(1);
    }

    /// Takes a URL in again.
    pub(super) fn worked(&self, index: usize) {
        *self.urls[index].lock() = UrlHealth::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_first_as_often_as_the_others() {
        let rotation = UrlRotation::new(3);
        let mut first = [0; 3];
        for _ in 0..300 {
            first[rotation.order(Instant::now())[0]] += 1;
        }
        assert_eq!(first, [100, 100, 100]);
    }

    #[test]
    fn failed_url_comes_last() {
        let rotation = UrlRotation::new(3);
        let now = Instant::now();
        rotation.failed(1, now);
        let mut first = [0; 3];
        for _ in 0..300 {
            let order = rotation.order(now);
            assert_eq!(order[2], 1);
            first[order[0]] += 1;
        }
        assert_eq!(first, [150, 0, 150]);
        assert!(
            rotation.order(now + OUT_FIRST)[..2].contains(&1)
                || rotation.order(now + OUT_FIRST)[..2].contains(&1)
        );
    }

    #[test]
    fn exclusion_doubles_and_ends_with_success() {
        let rotation = UrlRotation::new(2);
        let now = Instant::now();
        for _ in 0..10 {
            rotation.failed(0, now);
        }
        assert_eq!(
            rotation.order(now + OUT_MAX - Duration::from_millis(1))[1],
            0
        );
        rotation.worked(0);
        let first: Vec<_> = (0..2).map(|_| rotation.order(now)[0]).collect();
        assert!(first.contains(&0));
    }
}
