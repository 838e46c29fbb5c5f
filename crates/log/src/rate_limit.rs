//! A bound on lines of log that others can bring about as often as they like: failed
//! requests, refused messages.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use quorate_clock::Instant;

/// So many causes are told apart at a time; further ones share a line.
const CAUSES_MAX: usize = 1_000;
/// What they share it under.
const OTHERS: &str = "";

/// Lets so many lines through for each cause and pause, one unless said otherwise, and counts
/// those that it holds back.
pub struct RateLimit {
    lines: u32,
    pause: Duration,
    causes: Mutex<KnownCauses>,
}

struct KnownCauses {
    known: BTreeMap<String, CauseState>,
    /// Until then none of them makes room, so none is looked for.
    full_until: Option<Instant>,
}

struct CauseState {
    /// When the first line of this pause was said.
    since: Instant,
    /// How many were said from then on.
    said: u32,
    left_out: u64,
}

impl RateLimit {
    /// One line for each `pause`.
    pub const fn new(pause: Duration) -> RateLimit {
        RateLimit::with_lines(1, pause)
    }

    /// So many lines for each `pause`.
    pub const fn with_lines(lines: u32, pause: Duration) -> RateLimit {
        RateLimit {
            lines,
            pause,
            causes: Mutex::new(KnownCauses {
                known: BTreeMap::new(),
                full_until: None,
            }),
        }
    }

    /// One line a second.
    pub const fn each_second() -> RateLimit {
        RateLimit::new(Duration::from_secs(1))
    }

    /// Whether a line of this cause is to be logged now, and how many of them were not since
    /// the last one that was.
    pub fn due(&self, cause: &str) -> Option<u64> {
        let now = Instant::now();
        let mut causes = self.causes.lock();
        if !causes.takes(cause) {
            causes.make_room(now, self.pause);
        }
        let cause = match causes.takes(cause) {
            true => cause,
            false => OTHERS,
        };
        let causes = &mut causes.known;
        match causes.get_mut(cause) {
            Some(it) if now.duration_since(it.since) >= self.pause => {
                (it.since, it.said) = (now, 1);
                Some(std::mem::take(&mut it.left_out))
            }
            Some(it) if it.said < self.lines => {
                it.said += 1;
                Some(std::mem::take(&mut it.left_out))
            }
            Some(it) => {
                it.left_out += 1;
                None
            }
            None => {
                causes.insert(cause.to_owned(), CauseState::said(now));
                Some(0)
            }
        }
    }
}

impl CauseState {
    fn said(now: Instant) -> CauseState {
        CauseState {
            since: now,
            said: 1,
            left_out: 0,
        }
    }
}

impl KnownCauses {
    fn takes(&self, cause: &str) -> bool {
        self.known.len() < CAUSES_MAX || self.known.contains_key(cause)
    }

    /// Forgets the causes that were last said a pause ago. What was left out of them since is
    /// counted with the line that is shared.
    fn make_room(&mut self, now: Instant, pause: Duration) {
        if self.full_until.is_some_and(|until| now < until) {
            return;
        }
        let mut left_out = 0;
        self.known.retain(|cause, it| {
            let kept = cause == OTHERS || now.duration_since(it.since) < pause;
            if !kept {
                left_out += it.left_out;
            }
            kept
        });
        let told = self.known.iter().filter(|(cause, _)| *cause != OTHERS);
        self.full_until = told.map(|(_, it)| it.since + pause).min();
        if left_out > 0 {
            let others = self.known.entry(OTHERS.to_owned());
            let others = others.or_insert_with(|| CauseState::said(now));
            others.left_out += left_out;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_each_cause_is_said_and_the_others_are_counted() {
        let limit = RateLimit::new(Duration::from_secs(3600));
        assert_eq!(limit.due("a"), Some(0));
        assert_eq!((limit.due("a"), limit.due("a")), (None, None));
        assert_eq!(limit.due("b"), Some(0));
        let hour_ago = Instant::now() - Duration::from_secs(3600);
        limit.causes.lock().known.get_mut("a").unwrap().since = hour_ago;
        assert_eq!((limit.due("a"), limit.due("a")), (Some(2), None));
    }

    #[test]
    fn as_many_lines_are_said_as_were_asked_for() {
        let limit = RateLimit::with_lines(3, Duration::from_secs(3600));
        let said = |limit: &RateLimit| (0..10).filter_map(|_| limit.due("")).collect::<Vec<_>>();
        assert_eq!(said(&limit), [0, 0, 0]);
        an_hour_passes(&limit);
        assert_eq!(said(&limit), [7, 0, 0]);
    }

    #[test]
    fn causes_beyond_the_bound_share_a_line() {
        let limit = RateLimit::new(Duration::from_secs(3600));
        let said = (0..CAUSES_MAX * 2).filter(|n| limit.due(&n.to_string()).is_some());
        assert_eq!(said.count(), CAUSES_MAX + 1);
        assert_eq!(limit.causes.lock().known.len(), CAUSES_MAX + 1);
        // Those that were said long ago make room.
        an_hour_passes(&limit);
        assert_eq!(limit.due("new"), Some(0));
        assert_eq!(limit.causes.lock().known.len(), 2);
    }

    #[test]
    fn causes_make_room_though_lines_of_them_were_left_out() {
        let limit = RateLimit::new(Duration::from_secs(3600));
        for cause in 0..CAUSES_MAX {
            assert_eq!(limit.due(&cause.to_string()), Some(0));
            assert_eq!(limit.due(&cause.to_string()), None);
        }
        an_hour_passes(&limit);
        assert_eq!(limit.due("new"), Some(0));
        assert_eq!(limit.due("newer"), Some(0));
        // What was left out is told with the line that is shared, when that is due.
        let causes = limit.causes.lock();
        assert_eq!(causes.known.len(), 3);
        assert_eq!(causes.known[OTHERS].left_out, CAUSES_MAX as u64);
    }

    #[test]
    fn where_no_cause_makes_room_none_is_looked_for() {
        let limit = RateLimit::new(Duration::from_secs(3600));
        for cause in 0..=CAUSES_MAX {
            limit.due(&cause.to_string());
        }
        let soonest = limit.causes.lock().known["0"].since + Duration::from_secs(3600);
        assert_eq!(limit.causes.lock().full_until, Some(soonest));
    }

    fn an_hour_passes(limit: &RateLimit) {
        let hour = Duration::from_secs(3600);
        let mut causes = limit.causes.lock();
        causes.full_until = causes.full_until.map(|until| until - hour);
        for cause in causes.known.values_mut() {
            cause.since -= hour;
        }
    }
}
