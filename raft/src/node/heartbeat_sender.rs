//! Heartbeats, at a pace of their own, and the silence of a leader that no quorum answers.
//!
//! openraft calls each member once at a time: while an answer is waited for, the next
//! heartbeat is due at once when it is there, or when it is given up (`Timing::answer`).
//!
//! A leader that reaches some members but no quorum keeps them from electing another for as
//! long as they hear it, and takes no writes meanwhile. So once its patience is over without
//! an answer of a quorum it falls silent, for three times its patience: whoever still heard it
//! stands by it for one, and, should nobody else have as long a log, stands for election within
//! another, and has to be elected before it hears the leader again. Then it is heard for two
//! and silent for three in turn, so that it is found again by members that have come back.
//!
//! What counts is the time in which it asked and nobody answered, and not one in which it
//! stood still itself (a stopped process, a frozen machine): it was silent enough then, and
//! whom nobody has replaced meanwhile goes on at once.

use std::{sync::Arc, time::Duration};

use quorate_clock::Instant;
use tokio::time::sleep_until;

use super::NodeInner;

/// At most one warning in this time.
const WARN_PAUSE: Duration = Duration::from_secs(60);

/// Has openraft send a heartbeat in every period that this member leads, until it stops.
pub(super) async fn send_heartbeats(node: Arc<NodeInner>) {
    let mut seen = node.tracker.subscribe();
    let mut warned = None;
    let mut unanswered = UnansweredTime::new(Instant::now());
    loop {
        if seen.wait_for(|it| it.leader == Some(it.me)).await.is_err() {
            return;
        }
        let began = Instant::now();
        let pace = node.timing();
        let since = node.tracker.unanswered_since();
        let asked = unanswered.count(since, began, 2 * pace.lease.heartbeat);
        let heard = may_be_heard(asked, pace.patience.election_max);
        if heard && node.raft.trigger().heartbeat().await.is_err() {
            return;
        }
        node.warn_of_distance(&mut warned, began);
        sleep_until(began + pace.lease.heartbeat).await;
    }
}

/// For how long a leader has asked and had no quorum's answer.
struct UnansweredTime {
    since: Instant,
    counted: Instant,
    asked: Duration,
}

impl UnansweredTime {
    fn new(since: Instant) -> Self {
        UnansweredTime {
            since,
            counted: since,
            asked: Duration::ZERO,
        }
    }

    /// Adds the time since the last count, of which no more than `most` was spent with asking;
    /// begins anew where there was an answer, to what was sent at `since`.
    fn count(&mut self, since: Instant, now: Instant, most: Duration) -> Duration {
        if since != self.since {
            *self = Self::new(since);
        }
        self.asked += now.saturating_duration_since(self.counted).min(most);
        self.counted = now;
        self.asked
    }
}

/// How long a leader without a quorum is silent, and then heard, in turn; in its patience.
const SILENT: u32 = 3;
const HEARD: u32 = 2;

/// Whether a leader may let itself be heard to which no quorum has answered for `unanswered`.
fn may_be_heard(unanswered: Duration, patience: Duration) -> bool {
    let Some(beyond) = unanswered.checked_sub(patience) else {
        return true;
    };
    let whole = (patience * (SILENT + HEARD)).as_nanos().max(1);
    beyond.as_nanos() % whole >= (patience * SILENT).as_nanos()
}

impl NodeInner {
    /// Whether this member, if it leads, has had a quorum's answer within its patience. Without
    /// one nobody may be waiting for it any more, and what it would take could keep those who
    /// hear it from electing another.
    pub(crate) fn confirmed(&self) -> bool {
        self.tracker.current().leader != Some(self.id)
            || self.tracker.unanswered_since().elapsed() < self.timing().patience.election_max
    }

    /// Says so when the members are too far from each other for the promise.
    fn warn_of_distance(&self, warned: &mut Option<Instant>, now: Instant) {
        let timing = self.timing().lease;
        let most = timing.round_trip_max();
        let others = self.members.borrow().len().saturating_sub(1);
        let Some(trip) = self.round_trips.median(others).filter(|trip| *trip > most) else {
            return;
        };
        if warned.is_some_and(|at| now < at + WARN_PAUSE) {
            return;
        }
        *warned = Some(now);
        tracing::warn!(
            member = self.id,
            failover_ms = timing.failover.as_millis() as u64,
            round_trip_ms = trip.as_millis() as u64,
            most_ms = most.as_millis() as u64,
            "the other members answer too late for the promise: the lease has gaps, or there \
             is none. Promise a longer failover_ms"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn time_in_which_a_leader_stood_still_is_not_counted_as_silence() {
        let start = Instant::now();
        let at = |ms: u32| start + ms * MS;
        let mut unanswered = UnansweredTime::new(start);
        let mut count = |since, now| unanswered.count(at(since), at(now), 20 * MS).as_millis();
        assert_eq!(count(0, 10), 10);
        assert_eq!(count(0, 20), 20);
        // Stopped for nearly a second, and another beat without an answer.
        assert_eq!(count(0, 1_000), 40);
        assert_eq!(count(0, 1_010), 50);
        // Answered, from the time at which what was answered was sent.
        assert_eq!(count(1_010, 1_020), 10);
        assert_eq!(count(1_010, 1_030), 20);
        // Elected again long after the last beat of an office before.
        assert_eq!(count(5_000, 5_001), 1);
        // Slow beats are counted as what a beat may last, and so end in silence too.
        assert_eq!(count(5_000, 6_000), 21);
        assert_eq!(count(5_000, 7_000), 41);
    }

    #[test]
    fn a_leader_without_a_quorum_is_silent_and_heard_in_turn() {
        let heard = |ms: u32| may_be_heard(ms * MS, 100 * MS);
        assert!(heard(0) && heard(99));
        assert!(!heard(100) && !heard(399));
        assert!(heard(400) && heard(599));
        assert!(!heard(600) && !heard(899));
        assert!(heard(900));
    }
}
