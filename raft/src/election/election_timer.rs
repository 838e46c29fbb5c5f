//! Election timer: this member stands when no leader has been heard for too long.
//!
//! openraft has such a timer, but with a length that is fixed when it starts, while the
//! failover promise of a cluster may change at any time. So openraft's timer is off, and this
//! one goes by the patience in force at each moment. It is due
//! - `election_max` (for which voters stand by a leader) and a random time from
//!   `election_min..election_max` after the last append that was accepted;
//! - such a random time after the last vote that was not for a leader, or that came to nothing;
//! - within `election_min` of the start of a process, which has heard nobody yet: its voters
//!   know better whether there is a leader;
//! - at once where nobody else votes.
//!
//! The time is drawn anew for each vote that this member knows. When it is due, the voters are
//! asked whether they would elect this member, for as long again as a leader is waited for;
//! only if a quorum would within that time is a term touched.

use std::{sync::Arc, time::Duration};

use quorate_clock::{Instant, rng};
use quorate_types::{ElectionReason, Timing};
use rand::Rng;
use tokio::time::{sleep, sleep_until};

use super::{ElectionParticipant, ElectionState, PreVoteRound};

/// Last contact with a leader, or else with an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastContact {
    /// An append of the leader was accepted.
    Leader(Instant),
    /// A vote was learned of, and nobody that it is for has been heard since.
    Vote(Instant),
    /// Nothing since this process began.
    Nothing(Instant),
}

/// Returns when a member stands that has drawn `part` (from 0 to 1) of the random time.
pub(crate) fn due(contact: LastContact, timing: &Timing, part: f64) -> Instant {
    match contact {
        LastContact::Leader(at) => at + timing.election_max + random(timing, part),
        LastContact::Vote(at) => at + random(timing, part),
        LastContact::Nothing(at) => at + timing.election_min.mul_f64(part),
    }
}

fn random(timing: &Timing, part: f64) -> Duration {
    timing.election_min + (timing.election_max - timing.election_min).mul_f64(part)
}

/// Stands for election whenever the timer is due, until this member stops.
pub(crate) async fn run_election_timer(participant: Arc<ElectionParticipant>) {
    let mut ballots = participant.consensus.tracker.ballots();
    let mut members = participant.members.clone();
    loop {
        // Marked as seen before they are looked at: a change in between begins anew.
        ballots.mark_unchanged();
        members.mark_unchanged();
        let part = rng().random::<f64>();
        let running = tokio::select! {
            done = participant.campaign(part) => done.is_some(),
            changed = ballots.changed() => changed.is_ok(),
            changed = members.changed() => changed.is_ok(),
        };
        if !running {
            return;
        }
    }
}

impl ElectionParticipant {
    /// Waits until this member's timer is due and a quorum would elect it, and asks for votes.
    /// Returns when that has come to nothing; `None` once openraft has stopped.
    async fn campaign(&self, part: f64) -> Option<()> {
        let (me, tracker) = (self.consensus.id, &self.consensus.tracker);
        let state = ElectionState::read(&self.consensus).await?;
        if !state.is_voter || tracker.last_contact().is_none() {
            return std::future::pending().await;
        }
        let alone = state.is_alone(me);
        if alone && state.is_leader_or_candidate {
            // Elected once its vote is on disk.
            sleep(self.consensus.timing().patience.election_max).await;
            return Some(());
        }
        let (state, began) = if alone {
            (state, Instant::now())
        } else {
            self.wait_for_election_timeout(part).await?
        };
        let timing = self.consensus.timing().patience;
        let term = state.vote.leader_id.term + 1;
        let round = PreVoteRound {
            term,
            reason: ElectionReason::Timeout,
            pause: timing.heartbeat,
        };
        if !alone {
            tracing::debug!(member = me, "no leader has been heard for too long");
            tokio::select! {
                () = self.win_pre_vote(round, &state.voters) => {}
                () = tracker.heard_after(began) => return Some(()),
                // Answers that are so old may hold no longer.
                () = sleep(timing.election_max + random(&timing, part)) => return Some(()),
            }
        }
        tracker.campaigns(term, ElectionReason::Timeout, began);
        tracing::info!(member = me, term, "stands for election");
        self.consensus.raft.trigger().elect(false).await.ok()?;
        // What becomes of it is a new vote; without one it is tried again.
        sleep(random(&timing, part)).await;
        Some(())
    }

    /// Returns when the timer is due, and since when.
    async fn wait_for_election_timeout(&self, part: f64) -> Option<(ElectionState, Instant)> {
        let tracker = &self.consensus.tracker;
        let mut timings = tracker.timing();
        let mut state = None;
        loop {
            let timing = timings.borrow_and_update().patience;
            let Some(contact) = tracker.last_contact() else {
                return std::future::pending().await;
            };
            let due = due(contact, &timing, part);
            if due > Instant::now() {
                state = None;
                tokio::select! {
                    () = sleep_until(due) => {}
                    changed = timings.changed() => changed.ok()?,
                }
            } else if let Some(state) = state {
                return Some((state, due));
            } else {
                // openraft answers after the appends that have arrived by now.
                state = Some(ElectionState::read(&self.consensus).await?);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn heard_leader_delays_election_beyond_voters_patience() {
        let timing = Timing::from_failover_ms(500).unwrap();
        let at = Instant::now();
        for part in [0.0, 0.5, 0.999] {
            let due = due(LastContact::Leader(at), &timing, part);
            assert!(due >= at + timing.election_max + timing.election_min);
            assert!(due < at + 2 * timing.election_max);
        }
    }

    #[test]
    fn lost_vote_is_followed_by_another_soon() {
        let timing = Timing::from_failover_ms(500).unwrap();
        let at = Instant::now();
        assert_eq!(due(LastContact::Vote(at), &timing, 0.0), at + 82 * MS);
        assert!(due(LastContact::Vote(at), &timing, 0.999) < at + 165 * MS);
        assert_eq!(due(LastContact::Nothing(at), &timing, 0.0), at);
        assert!(due(LastContact::Nothing(at), &timing, 0.999) < at + 82 * MS);
    }
}
