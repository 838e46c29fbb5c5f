//! The election timer: this member stands when no leader has been heard for too long.
//!
//! openraft has such a timer, but with a length that is fixed when it starts, while the
//! promise of a cluster may change at any time. So openraft's is off, and this one goes by the
//! patience in force at each moment. It is due
//! - `election_max` (for which voters stand by a leader) and a random time from
//!   `election_min..election_max` after the last append that was accepted;
//! - such a random time after the last vote that was not for a leader, or that came to nothing;
//! - within `election_min` of the start of a process, which has heard nobody yet: its voters
//!   know better whether there is a leader;
//! - at once where nobody else votes.
//!
//! The time is drawn anew for each vote that this member knows. When it is due, the voters are
//! asked whether they would elect this member, for as long again as a leader is waited for;
//! only if a quorum would within that is a term touched.

use std::{sync::Arc, time::Duration};

use quorate_clock::{Instant, rng};
use quorate_types::{ElectionReason, Timing};
use rand::Rng;
use tokio::time::{sleep, sleep_until};

use super::{ElectionState, PreVoteRound};
use crate::node::NodeInner;

/// What was last heard of a leader, or else of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastContact {
    /// An append of the leader was accepted.
    Leader(Instant),
    /// A vote was learned of, for which nobody has been heard since.
    Vote(Instant),
    /// Nothing since this process began.
    Nothing(Instant),
}

/// When a member stands that has drawn `part` (from 0 to 1) of the random time.
pub(crate) fn due(word: LastContact, timing: &Timing, part: f64) -> Instant {
    match word {
        LastContact::Leader(at) => at + timing.election_max + random(timing, part),
        LastContact::Vote(at) => at + random(timing, part),
        LastContact::Nothing(at) => at + timing.election_min.mul_f64(part),
    }
}

fn random(timing: &Timing, part: f64) -> Duration {
    timing.election_min + (timing.election_max - timing.election_min).mul_f64(part)
}

/// Stands for election whenever the timer is due, until this member stops.
pub(crate) async fn run_election_timer(node: Arc<NodeInner>) {
    let mut ballots = node.tracker.ballots();
    let mut members = node.members.subscribe();
    loop {
        // Marked as seen before they are looked at: what changes meanwhile begins anew.
        ballots.mark_unchanged();
        members.mark_unchanged();
        let part = rng().random::<f64>();
        let running = tokio::select! {
            done = node.campaign(part) => done.is_some(),
            changed = ballots.changed() => changed.is_ok(),
            changed = members.changed() => changed.is_ok(),
        };
        if !running {
            return;
        }
    }
}

impl NodeInner {
    /// Waits until this member's timer is due and a quorum would elect it, and asks for votes.
    /// Returns when that has come to nothing; `None` once openraft has stopped.
    async fn campaign(&self, part: f64) -> Option<()> {
        let seat = self.election_state().await?;
        if !seat.is_voter || self.tracker.last_contact().is_none() {
            return std::future::pending().await;
        }
        let alone = seat.alone(self.id);
        if alone && seat.is_leader_or_candidate {
            // It is elected once its vote is on disk.
            sleep(self.timing().patience.election_max).await;
            return Some(());
        }
        let (seat, began) = match alone {
            true => (seat, Instant::now()),
            false => self.wait_for_election_timeout(part).await?,
        };
        let timing = self.timing().patience;
        let term = seat.vote.leader_id.term + 1;
        let canvass = PreVoteRound {
            term,
            reason: ElectionReason::Timeout,
            pause: timing.heartbeat,
        };
        if !alone {
            tracing::debug!(member = self.id, "no leader has been heard for too long");
            tokio::select! {
                () = self.win_pre_vote(canvass, &seat.voters) => {}
                () = self.tracker.heard_after(began) => return Some(()),
                // What was said so long ago may hold no longer.
                () = sleep(timing.election_max + random(&timing, part)) => return Some(()),
            }
        }
        self.tracker.campaigns(term, ElectionReason::Timeout, began);
        tracing::info!(member = self.id, term, "stands for election");
        self.raft.trigger().elect(false).await.ok()?;
        // What becomes of it is a new vote; without one it is tried again.
        sleep(random(&timing, part)).await;
        Some(())
    }

    /// Returns when the timer is due, and since when.
    async fn wait_for_election_timeout(&self, part: f64) -> Option<(ElectionState, Instant)> {
        let mut pace = self.tracker.timing();
        let mut seat = None;
        loop {
            let timing = pace.borrow_and_update().patience;
            let Some(word) = self.tracker.last_contact() else {
                return std::future::pending().await;
            };
            let due = due(word, &timing, part);
            if due > Instant::now() {
                seat = None;
                tokio::select! {
                    () = sleep_until(due) => {}
                    changed = pace.changed() => changed.ok()?,
                }
            } else if let Some(seat) = seat {
                return Some((seat, due));
            } else {
                // openraft answers after the appends that have arrived by now.
                seat = Some(self.election_state().await?);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn whoever_heard_a_leader_waits_for_longer_than_any_voter_stands_by_it() {
        let timing = Timing::from_failover_ms(500).unwrap();
        let at = Instant::now();
        for part in [0.0, 0.5, 0.999] {
            let due = due(LastContact::Leader(at), &timing, part);
            assert!(due >= at + timing.election_max + timing.election_min);
            assert!(due < at + 2 * timing.election_max);
        }
    }

    #[test]
    fn a_vote_that_came_to_nothing_is_followed_by_another_soon() {
        let timing = Timing::from_failover_ms(500).unwrap();
        let at = Instant::now();
        assert_eq!(due(LastContact::Vote(at), &timing, 0.0), at + 82 * MS);
        assert!(due(LastContact::Vote(at), &timing, 0.999) < at + 165 * MS);
        assert_eq!(due(LastContact::Nothing(at), &timing, 0.0), at);
        assert!(due(LastContact::Nothing(at), &timing, 0.999) < at + 82 * MS);
    }
}
