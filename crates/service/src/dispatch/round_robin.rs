//! Round robin over members, for each service by itself.
//!
//! Two services called one after the other would otherwise always meet the same members.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_types::MemberId;

/// Time for which a member that refused to run a service is not asked for it.
const LEFT_ALONE: Duration = Duration::from_millis(250);

/// Most names that are remembered: far above any real number of services, and a bound on the memory
/// that calls of names that don't exist can take.
const SERVICES_MAX: usize = 10_000;

#[derive(Default)]
pub(super) struct RoundRobin {
    services: Mutex<HashMap<String, ServiceTurn>>,
}

#[derive(Default)]
struct ServiceTurn {
    next: usize,
    left_alone: HashMap<MemberId, Instant>,
}

impl RoundRobin {
    /// Returns every carrier once: those in good standing in turn, then the others, since they are
    /// better than none. `first` goes first if it is in good standing, whichever is next.
    pub(super) fn order(
        &self,
        service: &str,
        carriers: &[MemberId],
        first: Option<MemberId>,
        is_down: impl Fn(MemberId) -> bool,
        now: Instant,
    ) -> Vec<MemberId> {
        let mut services = self.services.lock();
        if services.len() >= SERVICES_MAX {
            services.clear();
        }
        let turn = match services.get_mut(service) {
            Some(turn) => turn,
            None => services.entry(service.to_owned()).or_default(),
        };
        turn.left_alone.retain(|_, until| *until > now);
        let (mut good, doubtful): (Vec<_>, Vec<_>) = carriers
            .iter()
            .copied()
            .partition(|id| !is_down(*id) && !turn.left_alone.contains_key(id));
        if !good.is_empty() {
            let at = turn.next % good.len();
            good.rotate_left(at);
            turn.next = turn.next.wrapping_add(1);
            if let Some(at) = good.iter().position(|id| Some(*id) == first) {
                good[..=at].rotate_right(1);
            }
        }
        good.extend(doubtful);
        good
    }

    /// Leaves a member alone for a moment, for this service.
    pub(super) fn refused(&self, service: &str, member: MemberId, now: Instant) {
        if let Some(turn) = self.services.lock().get_mut(service) {
            turn.left_alone.insert(member, now + LEFT_ALONE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firsts(
        turns: &RoundRobin,
        service: &str,
        down: &[MemberId],
        now: Instant,
        n: usize,
    ) -> Vec<MemberId> {
        (0..n)
            .map(|_| turns.order(service, &[1, 2, 3], None, |id| down.contains(&id), now)[0])
            .collect()
    }

    #[test]
    fn members_take_turns_for_each_service() {
        let turns = RoundRobin::default();
        let now = Instant::now();
        for _ in 0..10 {
            let mut seen = Vec::new();
            for _ in 0..3 {
                seen.extend(firsts(&turns, "a", &[], now, 1));
                firsts(&turns, "b", &[], now, 1);
            }
            seen.sort_unstable();
            assert_eq!(seen, [1, 2, 3]);
        }
    }

    #[test]
    fn one_can_be_first_out_of_turn() {
        let turns = RoundRobin::default();
        let now = Instant::now();
        let order = |down| turns.order("a", &[1, 2, 3], Some(2), |id| id == down, now);
        let mut seconds: Vec<_> = (0..9).map(|_| order(0)).collect();
        assert!(seconds.iter().all(|order| order[0] == 2), "{seconds:?}");
        seconds.retain(|order| order[1] == 1);
        assert!((1..9).contains(&seconds.len()), "the others take turns");
        assert_eq!(order(2)[2], 2, "not one that is down");
    }

    #[test]
    fn down_or_refusing_member_comes_last() {
        let turns = RoundRobin::default();
        let now = Instant::now();
        let seen = firsts(&turns, "a", &[2], now, 100);
        assert_eq!(seen.iter().filter(|id| **id == 1).count(), 50);
        assert_eq!(seen.iter().filter(|id| **id == 3).count(), 50);
        turns.refused("a", 3, now);
        assert_eq!(firsts(&turns, "a", &[2], now, 5), [1; 5]);
        let down = |id| id == 2;
        assert_eq!(turns.order("a", &[1, 2, 3], None, down, now), [1, 2, 3]);
        let first = Some(3);
        assert_eq!(turns.order("a", &[1, 2, 3], first, down, now), [1, 2, 3]);
        assert!(firsts(&turns, "a", &[2], now + LEFT_ALONE, 2).contains(&3));
        assert_eq!(
            turns.order("a", &[2], first, |_| true, now),
            [2],
            "better than nobody"
        );
    }
}
