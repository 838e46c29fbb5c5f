//! Token buckets: how often something may happen, alone or for each of many keys.
//!
//! A bucket is the time at which it is full again (the generic cell rate algorithm), so that it
//! takes 16 bytes, never drifts, and needs no timer that fills it. A table of them forgets the
//! keys that were not seen for the longest when it is full: memory is bounded whoever asks.

use std::{collections::HashMap, hash::Hash, time::Duration};

use quorate_clock::Instant;

/// Rate of a bucket: so many at once, and then one each interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketRate {
    interval: Duration,
    /// Time that an empty bucket needs to have its last token but one.
    headroom: Duration,
}

impl BucketRate {
    /// Returns the rate of `tokens` in each `window`, of which `burst` may be taken at once. Zeros
    /// count as ones.
    pub fn new(tokens: u32, window: Duration, burst: u32) -> BucketRate {
        let interval = (window / tokens.max(1)).max(Duration::from_nanos(1));
        BucketRate {
            interval,
            headroom: interval.saturating_mul(burst.max(1) - 1),
        }
    }

    /// Returns the time in which an empty bucket gets full.
    pub fn refill(&self) -> Duration {
        self.headroom.saturating_add(self.interval)
    }
}

/// Bucket of tokens, full at first. Its rate is given with each call.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenBucket {
    full_at: Option<Instant>,
}

impl TokenBucket {
    /// Returns the time until there is a token; zero where there is one.
    pub fn wait(&self, rate: BucketRate, now: Instant) -> Duration {
        self.missing(now).saturating_sub(rate.headroom)
    }

    /// Returns true if no token is missing.
    pub fn is_full(&self, now: Instant) -> bool {
        self.missing(now).is_zero()
    }

    /// Takes a token, or returns the time until there is one.
    pub fn try_take(&mut self, rate: BucketRate, now: Instant) -> Result<(), Duration> {
        let wait = self.wait(rate, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        let full_at = self.full_at.map_or(now, |it| it.max(now));
        self.full_at = Some(full_at + rate.interval);
        Ok(())
    }

    fn missing(&self, now: Instant) -> Duration {
        self.full_at
            .map_or(Duration::ZERO, |it| it.saturating_duration_since(now))
    }
}

/// Buckets by key, at most as many as it was made for.
///
/// The keys stand in two halves: when the new one is full it becomes the old one, whose keys are
/// forgotten unless they are seen again. So keys are never searched for their age; one request in
/// half a table's new keys drops the other half.
#[derive(Debug)]
pub struct BucketTable<K> {
    new: HashMap<K, TokenBucket>,
    old: HashMap<K, TokenBucket>,
    half: usize,
}

impl<K: Hash + Eq + Clone> BucketTable<K> {
    /// Creates a table of at most `keys_max` buckets.
    pub fn new(keys_max: usize) -> BucketTable<K> {
        BucketTable {
            new: HashMap::new(),
            old: HashMap::new(),
            half: (keys_max / 2).max(1),
        }
    }

    /// Returns the bucket of a key: a full one where it is not known.
    pub fn get(&self, key: &K) -> TokenBucket {
        let known = self.new.get(key).or_else(|| self.old.get(key));
        known.copied().unwrap_or_default()
    }

    /// Takes a token of a key, or returns the time until there is one.
    pub fn try_take(&mut self, key: &K, rate: BucketRate, now: Instant) -> Result<(), Duration> {
        if let Some(bucket) = self.new.get_mut(key) {
            return bucket.try_take(rate, now);
        }
        let mut bucket = self.old.remove(key).unwrap_or_default();
        let taken = bucket.try_take(rate, now);
        if self.new.len() >= self.half {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(key.clone(), bucket);
        taken
    }

    /// Returns how many keys are known.
    pub fn len(&self) -> usize {
        self.new.len() + self.old.len()
    }

    /// Returns true if no key is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn burst_at_once_then_one_each_interval() {
        let (rate, start) = (BucketRate::new(10, 10 * SECOND, 3), Instant::now());
        let mut bucket = TokenBucket::default();
        for _ in 0..3 {
            assert_eq!(bucket.try_take(rate, start), Ok(()));
        }
        assert_eq!(bucket.try_take(rate, start), Err(SECOND));
        assert_eq!(bucket.wait(rate, start + SECOND / 2), SECOND / 2);
        assert_eq!(bucket.try_take(rate, start + SECOND), Ok(()));
        assert!(bucket.try_take(rate, start + SECOND).is_err());
        assert!(!bucket.is_full(start + 3 * SECOND));
        assert!(bucket.is_full(start + SECOND + rate.refill()));
    }

    #[test]
    fn never_more_than_rate_and_burst() {
        let (rate, start) = (BucketRate::new(7, SECOND, 5), Instant::now());
        let mut bucket = TokenBucket::default();
        let asked = (0..10_000).map(|ms| start + Duration::from_millis(ms));
        let taken = asked.filter(|now| bucket.try_take(rate, *now).is_ok());
        // Ten seconds of seven each, and five that were there at first.
        assert_eq!(taken.count(), 74);
    }

    #[test]
    fn zeros_and_extremes_stay_rates() {
        let now = Instant::now();
        for rate in [
            BucketRate::new(0, Duration::ZERO, 0),
            BucketRate::new(u32::MAX, Duration::from_nanos(1), u32::MAX),
            BucketRate::new(1, Duration::from_secs(86_400), u32::MAX),
        ] {
            let mut bucket = TokenBucket::default();
            assert_eq!(bucket.try_take(rate, now), Ok(()), "{rate:?}");
        }
    }

    #[test]
    fn keys_are_apart_and_bounded() {
        let (rate, now) = (BucketRate::new(1, SECOND, 1), Instant::now());
        let mut table = BucketTable::new(100);
        assert!(table.is_empty());
        assert!(table.try_take(&0, rate, now).is_ok());
        for key in 1..10_000 {
            assert!(table.try_take(&key, rate, now).is_ok());
            assert!(table.try_take(&0, rate, now).is_err(), "who comes is kept");
            assert!(table.len() <= 100);
        }
        assert!(table.get(&1).is_full(now), "who stays away is forgotten");
        assert!(!table.get(&9_999).is_full(now));
    }
}
