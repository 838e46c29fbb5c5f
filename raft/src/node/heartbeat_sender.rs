//! Sender of heartbeats, and the silence of a leader that no quorum answers.
//!
//! openraft calls each member once at a time: while an answer is waited for, the next
//! heartbeat is due at once when the answer is there, or when it is given up
//! (`Timing::answer`).
//!
//! A leader that reaches some members but no quorum keeps them from electing another for as
//! long as they hear it, and takes no writes meanwhile. So once its patience is over without
//! an answer of a quorum it falls silent, for three times its patience: a member that still
//! heard it stands by it for one, and, should nobody else have as long a log, stands for
//! election within another, and has to be elected before it hears the leader again. Then the
//! leader is heard for two and silent for three in turn, so that members that have come back
//! find it again.
//!
//! The time that counts is that in which the leader asked and nobody answered, and not that in
//! which it stood still itself (a stopped process, a frozen machine): it was silent enough
//! then, and a leader that nobody has replaced meanwhile goes on at once.

use std::{sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_types::MemberList;
use tokio::{sync::watch, time::sleep_until};

use crate::{consensus::ConsensusHandle, network::RoundTrips};

/// Time in which at most one warning is logged.
const WARN_PAUSE: Duration = Duration::from_secs(60);

/// Sends heartbeats while this member leads.
pub(super) struct HeartbeatSender {
    pub(super) consensus: Arc<ConsensusHandle>,
    pub(super) round_trips: Arc<RoundTrips>,
    pub(super) members: watch::Receiver<MemberList>,
}

/// Has openraft send a heartbeat in every period that this member leads, until it stops.
pub(super) async fn send_heartbeats(sender: HeartbeatSender) {
    let consensus = &sender.consensus;
    let mut seen = consensus.tracker.subscribe();
    let mut warned = None;
    let mut unanswered = UnansweredTime::new(Instant::now());
    loop {
        if seen.wait_for(|it| it.leader == Some(it.me)).await.is_err() {
            return;
        }
        let began = Instant::now();
        let timing = consensus.timing();
        let since = consensus.tracker.unanswered_since();
        let asked = unanswered.count(since, began, 2 * timing.lease.heartbeat);
        let heard = may_be_heard(asked, timing.patience.election_max);
        if heard && consensus.raft.trigger().heartbeat().await.is_err() {
            return;
        }
        sender.warn_of_distance(&mut warned, began);
        sleep_until(began + timing.lease.heartbeat).await;
    }
}

/// Time for which a leader has asked and had no quorum's answer.
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
    /// begins anew where there was an answer, to the round that was sent at `since`.
    fn count(&mut self, since: Instant, now: Instant, most: Duration) -> Duration {
        if since != self.since {
            *self = Self::new(since);
        }
        self.asked += now.saturating_duration_since(self.counted).min(most);
        self.counted = now;
        self.asked
    }
}

/// Times for which a leader without a quorum is silent, and then heard, in turn; in its patience.
const SILENT: u32 = 3;
const HEARD: u32 = 2;

/// Returns whether a leader may let itself be heard that no quorum has answered for
/// `unanswered`.
fn may_be_heard(unanswered: Duration, patience: Duration) -> bool {
    let Some(beyond) = unanswered.checked_sub(patience) else {
        return true;
    };
    let whole = (patience * (SILENT + HEARD)).as_nanos().max(1);
    beyond.as_nanos() % whole >= (patience * SILENT).as_nanos()
}

impl HeartbeatSender {
    /// Warns when the members are too far from each other for the failover promise.
    fn warn_of_distance(&self, warned: &mut Option<Instant>, now: Instant) {
        let timing = self.consensus.timing().lease;
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
            member = self.consensus.id,
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
    fn time_standing_still_is_no_silence() {
        let start = Instant::now();
        let at = |ms: u32| start + ms * MS;
        let mut unanswered = UnansweredTime::new(start);
        let mut count = |since, now| unanswered.count(at(since), at(now), 20 * MS).as_millis();
        assert_eq!(count(0, 10), 10);
        assert_eq!(count(0, 20), 20);
        // Stopped for nearly a second, and another heartbeat without an answer.
        assert_eq!(count(0, 1_000), 40);
        assert_eq!(count(0, 1_010), 50);
        // Answered, from the time at which what was answered was sent.
        assert_eq!(count(1_010, 1_020), 10);
        assert_eq!(count(1_010, 1_030), 20);
        // Elected again long after the last heartbeat of an earlier term.
        assert_eq!(count(5_000, 5_001), 1);
        // Slow heartbeats count as what a heartbeat may last, and so end in silence too.
        assert_eq!(count(5_000, 6_000), 21);
        assert_eq!(count(5_000, 7_000), 41);
    }

    #[test]
    fn leader_without_quorum_is_silent_in_turn() {
        let heard = |ms: u32| may_be_heard(ms * MS, 100 * MS);
        assert!(heard(0) && heard(99));
        assert!(!heard(100) && !heard(399));
        assert!(heard(400) && heard(599));
        assert!(!heard(600) && !heard(899));
        assert!(heard(900));
    }
}
