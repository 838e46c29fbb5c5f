//! A bound on lines of log that others can bring about as often as they like: failed
//! requests, refused messages.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use quorate_clock::Instant;

/// So many causes are told apart at a time; further ones share a line.
const CAUSES: usize = 1_000;
/// What they share it under.
const OTHERS: &str = "";

/// Lets one line through for each cause and pause, and counts those that it holds back.
pub struct RateLimit {
    pause: Duration,
    causes: Mutex<BTreeMap<String, Cause>>,
}

struct Cause {
    last: Instant,
    left_out: u64,
}

impl RateLimit {
    /// One line for each `pause`.
    pub const fn new(pause: Duration) -> RateLimit {
        RateLimit {
            pause,
            causes: Mutex::new(BTreeMap::new()),
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
        if causes.len() >= CAUSES && !causes.contains_key(cause) {
            causes.retain(|_, it| it.left_out > 0 || now.duration_since(it.last) < self.pause);
        }
        let cause = match causes.len() < CAUSES || causes.contains_key(cause) {
            true => cause,
            false => OTHERS,
        };
        match causes.get_mut(cause) {
            Some(it) if now.duration_since(it.last) < self.pause => {
                it.left_out += 1;
                None
            }
            Some(it) => {
                it.last = now;
                Some(std::mem::take(&mut it.left_out))
            }
            None => {
                let (last, left_out) = (now, 0);
                causes.insert(cause.to_owned(), Cause { last, left_out });
                Some(0)
            }
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
        limit.causes.lock().get_mut("a").unwrap().last = hour_ago;
        assert_eq!((limit.due("a"), limit.due("a")), (Some(2), None));
    }

    #[test]
    fn causes_beyond_the_bound_share_a_line() {
        let limit = RateLimit::new(Duration::from_secs(3600));
        let said = (0..CAUSES * 2).filter(|n| limit.due(&n.to_string()).is_some());
        assert_eq!(said.count(), CAUSES + 1);
        assert_eq!(limit.causes.lock().len(), CAUSES + 1);
        // Those that were said long ago, with nothing left out since, make room.
        let hour_ago = Instant::now() - Duration::from_secs(3600);
        for cause in limit.causes.lock().values_mut() {
            cause.last = hour_ago;
        }
        assert_eq!(limit.due("new"), Some(0));
        assert_eq!(limit.causes.lock().len(), 2);
    }
}
