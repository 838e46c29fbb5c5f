//! A line in the log for what a peer can do as often as it likes.

use std::time::Duration;

use quorate_clock::Instant;

/// Between two lines of one kind.
const PAUSE: Duration = Duration::from_secs(10);

/// Of one kind.
#[derive(Default)]
pub struct Complaints {
    last: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    /// Whether this one is to be logged, and how many were not since the last one that was.
    pub fn due(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.last.is_some_and(|last| now - last < PAUSE) {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_said_and_the_others_are_counted() {
        let mut complaints = Complaints::default();
        assert_eq!(complaints.due(), Some(0));
        assert_eq!((complaints.due(), complaints.due()), (None, None));
        complaints.last = Instant::now().checked_sub(PAUSE);
        assert_eq!(complaints.due(), Some(2));
    }
}
