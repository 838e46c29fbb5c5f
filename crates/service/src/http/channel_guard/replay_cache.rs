//! Memory of signatures that were used: each counts once at a member.
//!
//! Only signatures that are good come in, so strangers can't fill it. It is bounded all the same:
//! where more than [`SIGNATURES_MAX`] come within their time, the oldest are forgotten, and could
//! be used a second time until they are too old. Another member remembers its own.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use quorate_clock::Instant;

/// Signatures that are remembered: some 16 MiB.
const SIGNATURES_MAX: usize = 200_000;

/// The first half of a signature, which tells it from all others.
type SignatureId = [u8; 16];

/// Signatures that were used, for as long as they could be used again.
#[derive(Default)]
pub(super) struct ReplayCache {
    used: HashSet<SignatureId>,
    /// In the order in which they were used.
    until: VecDeque<(Instant, SignatureId)>,
}

impl ReplayCache {
    /// Returns true for the first use of a signature, which stays good for so long.
    pub(super) fn is_first_use(
        &mut self,
        signature: &[u8; 32],
        good_for: Duration,
        now: Instant,
    ) -> bool {
        while let Some((until, oldest)) = self.until.front().copied()
            && (until <= now || self.until.len() >= SIGNATURES_MAX)
        {
            self.used.remove(&oldest);
            self.until.pop_front();
        }
        let mut id = SignatureId::default();
        id.copy_from_slice(&signature[..16]);
        let first = self.used.insert(id);
        if first {
            self.until.push_back((now + good_for, id));
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(n: usize) -> [u8; 32] {
        let mut signature = [0; 32];
        signature[..8].copy_from_slice(&n.to_be_bytes());
        signature
    }

    #[test]
    fn signature_counts_once_while_good() {
        let (mut cache, now) = (ReplayCache::default(), Instant::now());
        let minute = Duration::from_secs(60);
        assert!(cache.is_first_use(&signature(1), minute, now));
        assert!(!cache.is_first_use(&signature(1), minute, now));
        assert!(cache.is_first_use(&signature(2), minute, now));
        assert!(!cache.is_first_use(&signature(1), minute, now + minute / 2));
        assert!(cache.is_first_use(&signature(1), minute, now + minute));
    }

    #[test]
    fn memory_is_bounded_oldest_goes_first() {
        let (mut cache, now) = (ReplayCache::default(), Instant::now());
        let hour = Duration::from_secs(3600);
        for n in 0..=SIGNATURES_MAX {
            assert!(cache.is_first_use(&signature(n), hour, now));
        }
        assert_eq!(cache.used.len(), SIGNATURES_MAX);
        assert_eq!(cache.until.len(), SIGNATURES_MAX);
        assert!(!cache.is_first_use(&signature(SIGNATURES_MAX), hour, now));
        assert!(cache.is_first_use(&signature(0), hour, now));
    }
}
