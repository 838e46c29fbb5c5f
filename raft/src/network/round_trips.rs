//! Round trips: the times that members take to answer heartbeats.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use quorate_types::MemberId;

/// Share of a new value in the kept one (one in so many), and number of values from which a
/// distance is known: the first had to wait for a connection.
const WEIGHT: u32 = 8;

/// Round trip to each member that answers heartbeats, smoothed, and number of its answers.
#[derive(Debug, Default)]
pub(crate) struct RoundTrips(Mutex<BTreeMap<MemberId, (Duration, u32)>>);

impl RoundTrips {
    /// Takes in that a heartbeat was answered after this time.
    pub(super) fn note(&self, member: MemberId, took: Duration) {
        let mut trips = self.0.lock();
        let (kept, seen) = trips.entry(member).or_insert((took, 0));
        *kept = (*kept * (WEIGHT - 1) + took) / WEIGHT;
        *seen = seen.saturating_add(1);
        metrics::gauge!("quorate_peer_round_trip_seconds", "member" => member.to_string())
            .set(kept.as_secs_f64());
    }

    /// Returns the round trips to all members that have answered this process.
    pub(crate) fn all(&self) -> BTreeMap<MemberId, Duration> {
        let trips = self.0.lock();
        trips.iter().map(|(id, (trip, _))| (*id, *trip)).collect()
    }

    /// Returns the round trip to the quickest member that makes a quorum of so many others, once
    /// enough is known of it.
    pub(crate) fn median(&self, others: usize) -> Option<Duration> {
        let known = self.0.lock();
        let settled = known.values().filter(|(_, seen)| *seen >= WEIGHT);
        let mut trips: Vec<Duration> = settled.map(|(trip, _)| *trip).collect();
        trips.sort_unstable();
        trips.get(others.div_ceil(2).checked_sub(1)?).copied()
    }

    /// Returns the round trip to one member; zero if it has answered nothing.
    pub(crate) fn to(&self, member: MemberId) -> Duration {
        let known = self.0.lock();
        known.get(&member).map_or(Duration::ZERO, |(trip, _)| *trip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_answer_does_not_count_for_all() {
        let ms = Duration::from_millis;
        let trips = RoundTrips::default();
        assert_eq!(trips.to(2), Duration::ZERO);
        trips.note(2, ms(8));
        trips.note(2, ms(88));
        assert_eq!(trips.to(2), ms(18));
        assert_eq!(trips.median(2), None, "too little is known");
        let trips = RoundTrips::default();
        for _ in 0..WEIGHT {
            trips.note(2, ms(18));
            trips.note(3, ms(50));
        }
        assert_eq!(trips.median(2), Some(ms(18)));
        assert_eq!(trips.median(4), Some(ms(50)));
        assert_eq!(trips.median(0), None);
        let trips = RoundTrips::default();
        trips.note(2, ms(18));
        assert_eq!(trips.all(), BTreeMap::from([(2, ms(18))]));
    }
}
