//! Rate limit for log lines that others can trigger: failed requests, refused messages.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use quorate_clock::Instant;

/// Upper bound of the causes that are told apart at a time; further ones share a line.
const CAUSES_MAX: usize = 1_000;
/// Cause that they share.
const OTHERS: &str = "";

/// Rate limit: lets a number of lines through for each cause and pause, by default one, and counts
/// those that it holds back.
pub struct RateLimit {
    lines: u32,
    pause: Duration,
    causes: Mutex<KnownCauses>,
}

struct KnownCauses {
    known: BTreeMap<String, CauseState>,
    /// Time before which no cause makes room, so none is searched.
    full_until: Option<Instant>,
}

struct CauseState {
    /// Time of the first line of this pause.
    since: Instant,
    /// Number of lines from then on.
    lines_since: u32,
    left_out: u64,
}

impl RateLimit {
    /// Returns a limit of one line for each `pause`.
    pub const fn new(pause: Duration) -> RateLimit {
        RateLimit::with_lines(1, pause)
    }

    /// Returns a limit of `lines` lines for each `pause`.
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

    /// Returns a limit of one line a second.
    pub const fn each_second() -> RateLimit {
        RateLimit::new(Duration::from_secs(1))
    }

    /// Returns `Some` if a line of this cause has to be logged now, with the number of lines that
    /// were held back since the last one.
    pub fn due(&self, cause: &str) -> Option<u64> {
        let now = Instant::now();
        let mut causes = self.causes.lock();
        if !causes.takes(cause) {
            causes.make_room(now, self.pause);
        }
        let cause = if causes.takes(cause) { cause } else { OTHERS };
        let causes = &mut causes.known;
        match causes.get_mut(cause) {
            Some(it) if now.duration_since(it.since) >= self.pause => {
                (it.since, it.lines_since) = (now, 1);
                Some(std::mem::take(&mut it.left_out))
            }
            Some(it) if it.lines_since < self.lines => {
                it.lines_since += 1;
                Some(std::mem::take(&mut it.left_out))
            }
            Some(it) => {
                it.left_out += 1;
                None
            }
            None => {
                causes.insert(cause.to_owned(), CauseState::first_line(now));
                Some(0)
            }
        }
    }
}

impl CauseState {
    fn first_line(now: Instant) -> CauseState {
        CauseState {
            since: now,
            lines_since: 1,
            left_out: 0,
        }
    }
}

impl KnownCauses {
    fn takes(&self, cause: &str) -> bool {
        self.known.len() < CAUSES_MAX || self.known.contains_key(cause)
    }

    /// Forgets the causes whose last line was a pause ago. The lines held back of them since are
    /// counted with the shared line.
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
        let known = self.known.iter().filter(|(cause, _)| *cause != OTHERS);
        self.full_until = known.map(|(_, it)| it.since + pause).min();
        if left_out > 0 {
            let others = self.known.entry(OTHERS.to_owned());
            let others = others.or_insert_with(|| CauseState::first_line(now));
            others.left_out += left_out;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_cause_passes_others_counted() {
        let limit = RateLimit::new(Duration::from_secs(3600));
        assert_eq!(limit.due("a"), Some(0));
        assert_eq!((limit.due("a"), limit.due("a")), (None, None));
        assert_eq!(limit.due("b"), Some(0));
        let hour_ago = Instant::now() - Duration::from_secs(3600);
        limit.causes.lock().known.get_mut("a").unwrap().since = hour_ago;
        assert_eq!((limit.due("a"), limit.due("a")), (Some(2), None));
    }

    #[test]
    fn limit_with_lines_lets_so_many_pass() {
        let limit = RateLimit::with_lines(3, Duration::from_secs(3600));
        let passed = |limit: &RateLimit| (0..10).filter_map(|_| limit.due("")).collect::<Vec<_>>();
        assert_eq!(passed(&limit), [0, 0, 0]);
        an_hour_passes(&limit);
        assert_eq!(passed(&limit), [7, 0, 0]);
    }

    #[test]
    fn causes_beyond_the_bound_share_a_line() {
        let limit = RateLimit::new(Duration::from_secs(3600));
        let passed = (0..CAUSES_MAX * 2).filter(|n| limit.due(&n.to_string()).is_some());
        assert_eq!(passed.count(), CAUSES_MAX + 1);
        assert_eq!(limit.causes.lock().known.len(), CAUSES_MAX + 1);
        // Causes whose last line was long ago make room.
        an_hour_passes(&limit);
        assert_eq!(limit.due("new"), Some(0));
        assert_eq!(limit.causes.lock().known.len(), 2);
    }

    #[test]
    fn causes_with_held_back_lines_make_room() {
        let limit = RateLimit::new(Duration::from_secs(3600));
        for cause in 0..CAUSES_MAX {
            assert_eq!(limit.due(&cause.to_string()), Some(0));
            assert_eq!(limit.due(&cause.to_string()), None);
        }
        an_hour_passes(&limit);
        assert_eq!(limit.due("new"), Some(0));
        assert_eq!(limit.due("newer"), Some(0));
        // The number held back is in the shared line, when that is due.
        let causes = limit.causes.lock();
        assert_eq!(causes.known.len(), 3);
        assert_eq!(causes.known[OTHERS].left_out, CAUSES_MAX as u64);
    }

    #[test]
    fn full_table_is_not_searched_again() {
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
