//! Leadership as this member sees it: the leader, and how fresh that is.
//!
//! Three sources are merged under one lock, because each knows something first: openraft's
//! metrics (elected, committed, a quorum's answers), the peer server (an append of the
//! leader was accepted; a vote was granted to another) and the peer client (votes for this
//! member). What is known of votes only ever grows, so a source that lags is ignored and a
//! step-down is published by whichever source sees it first.
//!
//! `heard_at` of a leader is openraft's `last_quorum_acked`, which is a *sending* time: the
//! heartbeat's stamp is taken before the heartbeat is handed to the sender
//! (`RaftCore::broadcast_heartbeat`), that of a replication request when it is read from the
//! log (`InflightAppendQueue::push`), and the quorum's value is the smallest that a quorum
//! reached. The peer client takes care that an answer is never counted for a later request
//! (see `network::pipeline`). A leader that is the only voter needs nobody's answer; its
//! `heard_at` is the time at which it was seen to be so.

mod heartbeat_answers;
mod leader_contact;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};
use quorate_types::{
    EffectiveTiming, ElectionReason, ElectionRecord, Leadership, MemberId, timing::LeaseHistory,
};
use tokio::sync::watch;

use super::timing_pressure::PressureGauge;
use crate::{
    ballot::ElectionBallot,
    votes::{LeaseEvidence, VoteEvidence},
};

/// Leadership in openraft's metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetricsObservation {
    pub(crate) term: u64,
    pub(crate) leader: Option<MemberId>,
    /// True if the last committed entry is of this member as leader of this term.
    pub(crate) own_commit: bool,
    /// Sending time of the last round that a quorum answered.
    pub(crate) quorum_acked: Option<Instant>,
}

/// Tracker that merges what the sources know and publishes it.
pub(crate) struct LeadershipTracker {
    me: MemberId,
    timing: watch::Sender<EffectiveTiming>,
    pressure: Arc<PressureGauge>,
    state: Mutex<TrackerState>,
    ballots: watch::Sender<ElectionBallot>,
    out: watch::Sender<Leadership>,
}

struct TrackerState {
    /// True once this member is stopping: it is no leader any more and knows none, but openraft
    /// may still answer what arrives, so all else is kept up.
    stopped: bool,
    ballot: ElectionBallot,
    /// Time at which this member learned of the ballot.
    since: Instant,
    /// True once this process has accepted an append, voted or asked for votes.
    involved: bool,
    leading: bool,
    heard_at: Option<Instant>,
    leases: LeaseHistory,
    lease_evidence: LeaseEvidence,
    vote_evidence: VoteEvidence,
    /// Fixed when this member sees itself elected.
    lease_clear_at: Option<Instant>,
    election: Option<ElectionRecord>,
    campaign: Option<PendingCampaign>,
    /// Up to this ballot openraft's vote may have gone on; see [`heartbeat_answers`].
    doubted: Option<ElectionBallot>,
    /// The last leader before the present ballot, and when it was last heard.
    former: Option<(MemberId, Option<Instant>)>,
}

/// Campaign of this member: why it asks, or is about to ask, for votes in a term, and since when.
#[derive(Clone, Copy, Debug)]
struct PendingCampaign {
    term: u64,
    reason: ElectionReason,
    began: Instant,
}

impl LeadershipTracker {
    /// `longest`: see [`LeaseEvidence::new`].
    pub(crate) fn new(
        me: MemberId,
        timing: watch::Sender<EffectiveTiming>,
        longest: Duration,
        pressure: Arc<PressureGauge>,
        now: Instant,
    ) -> Self {
        let initial = Leadership {
            me,
            ..Leadership::default()
        };
        let lease = timing.borrow().lease.lease;
        LeadershipTracker {
            me,
            timing,
            pressure,
            state: Mutex::new(TrackerState {
                ballot: ElectionBallot::default(),
                since: now,
                involved: false,
                leading: false,
                heard_at: None,
                lease_evidence: LeaseEvidence::new(now, longest),
                stopped: false,
                leases: LeaseHistory::new(now, lease),
                vote_evidence: VoteEvidence::default(),
                lease_clear_at: None,
                election: None,
                campaign: None,
                doubted: None,
                former: None,
            }),
            ballots: watch::Sender::default(),
            out: watch::Sender::new(initial),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Leadership> {
        self.out.subscribe()
    }

    pub(crate) fn current(&self) -> Leadership {
        *self.out.borrow()
    }

    pub(crate) fn timing(&self) -> watch::Receiver<EffectiveTiming> {
        self.timing.subscribe()
    }

    /// Goes on by other timers.
    pub(crate) fn set_timing(&self, timing: EffectiveTiming) {
        self.set_timing_at(timing, Instant::now);
    }

    pub(super) fn set_timing_at(&self, timing: EffectiveTiming, now: impl FnOnce() -> Instant) {
        let former = self.timing.send_replace(timing);
        // Taken last: an append that is sent from then on carries the new lease.
        if former.lease.lease != timing.lease.lease {
            self.lease_changed(timing.lease.lease, now());
        }
    }

    fn lease_changed(&self, lease: Duration, since: Instant) {
        let mut state = self.state.lock();
        state.leases.change(since, lease);
        self.publish(&state);
    }

    /// Returns the length of a lease that is asked for now.
    pub(crate) fn lease(&self) -> Duration {
        self.timing.borrow().lease.lease
    }

    /// Returns the latest ballot, and since when this member has known of it.
    pub(crate) fn ballot(&self) -> (ElectionBallot, Instant) {
        let state = self.state.lock();
        (state.ballot, state.since)
    }

    /// Returns the leader, unless it has not been heard for so long that it can't have a lease.
    pub(crate) fn live_leader(&self, now: Instant) -> Option<MemberId> {
        let seen = self.current();
        let patience = self.timing.borrow().patience.election_max;
        let fresh = seen
            .heard_at
            .is_some_and(|at| now.saturating_duration_since(at) < patience);
        seen.leader.filter(|id| *id == self.me || fresh)
    }

    /// Takes in that an append or snapshot of a leader has arrived and is about to be handed to
    /// openraft.
    pub(crate) fn arrived(&self, ballot: ElectionBallot, at: Instant, lease: Duration) {
        let lease = self.counted(lease);
        let mut state = self.state.lock();
        // openraft's vote is never behind `state.ballot`, so an earlier ballot will be refused.
        if ballot >= state.ballot {
            state.lease_evidence.note(ballot.member, at, lease);
        }
        if ballot > state.ballot {
            // All before it.
            state.doubt(ElectionBallot {
                committed: false,
                ..ballot
            });
        }
    }

    /// Returns the length with which a lease counts that an append carries.
    fn counted(&self, lease: Duration) -> Duration {
        if planted(Mutant::LeaseLengthIgnored) || planted(Mutant::PromiseByMember) {
            self.lease()
        } else {
            lease
        }
    }

    /// Takes in that openraft has accepted an append or snapshot of a leader, whether or not its
    /// log fitted.
    pub(crate) fn accepted(&self, ballot: ElectionBallot, at: Instant, now: Instant) {
        let mut state = self.state.lock();
        if ballot < state.ballot {
            return;
        }
        self.advance(&mut state, ballot, now);
        state.involved = true;
        self.hears(&mut state, at);
    }

    /// Notes that the leader of the present ballot was heard.
    fn hears(&self, state: &mut TrackerState, at: Instant) {
        if let Some(last) = state.heard_at {
            self.pressure.heartbeat(at.saturating_duration_since(last));
        }
        state.heard_at = state.heard_at.max(Some(at));
        // A campaign that this member began because a timer ran out has come to nothing.
        if state
            .campaign
            .is_some_and(|c| c.reason == ElectionReason::Timeout)
        {
            state.campaign = None;
        }
        self.publish(state);
    }

    /// Takes in that this member's vote for a candidate was on disk at `now`. Returns how long a
    /// lease other than the candidate's can still run that this member supported or had.
    pub(crate) fn voted(&self, ballot: ElectionBallot, now: Instant) -> Duration {
        let mut state = self.state.lock();
        self.advance(&mut state, ballot, now);
        state.involved = true;
        self.publish(&state);
        state
            .lease_evidence
            .over_but(ballot.member)
            .saturating_duration_since(now)
    }

    /// Takes in a vote for this member; called before openraft counts it.
    pub(crate) fn vote_received(&self, term: u64, received: Instant, left: Duration) {
        self.state.lock().vote_evidence.note(term, received, left);
    }

    /// Takes in that this member is about to ask for votes in `term`.
    pub(crate) fn campaigns(&self, term: u64, reason: ElectionReason, began: Instant) {
        let mut state = self.state.lock();
        // Where the ballot is later than the one that was looked at, openraft stands in the next
        // term.
        let next = state.ballot.term + 1;
        state.doubt_before(term.max(next));
        state.involved = true;
        state.campaign = match state.campaign.filter(|c| c.term == term) {
            // A member that the leader asked needs no death, and after a death no timer.
            Some(c)
                if c.reason == ElectionReason::Transfer || reason == ElectionReason::Timeout =>
            {
                Some(c)
            }
            _ => Some(PendingCampaign {
                term,
                reason,
                began,
            }),
        };
    }

    /// Returns why votes are asked for in `term`, now that openraft does so. A flag without a
    /// campaign that has a reason for it does not count.
    pub(crate) fn asks(&self, term: u64, flagged: bool, now: Instant) -> ElectionReason {
        let mut state = self.state.lock();
        state.doubt_before(term);
        match state.campaign.filter(|c| c.term == term) {
            Some(c) if flagged || c.reason == ElectionReason::Timeout => c.reason,
            _ => {
                state.campaign = Some(PendingCampaign {
                    term,
                    reason: ElectionReason::Timeout,
                    began: now,
                });
                ElectionReason::Timeout
            }
        }
    }

    /// Takes in openraft's metrics; returns whether this member was elected just now.
    pub(crate) fn observe(&self, seen: MetricsObservation, now: Instant) -> bool {
        let ballot = ElectionBallot {
            term: seen.term,
            member: seen.leader.unwrap_or_default(),
            committed: seen.leader.is_some(),
        };
        let mut state = self.state.lock();
        if ballot < state.ballot {
            return false;
        }
        let elected = self.advance(&mut state, ballot, now) && seen.leader == Some(self.me);
        if elected {
            let own = state.lease_evidence.over_but(self.me);
            let others = state.vote_evidence.over(seen.term);
            state.lease_clear_at = others.max(Some(own));
            state.election = Some(state.elected(now));
        }
        if seen.leader == Some(self.me) {
            state.leading |= seen.own_commit;
            if let Some(last) = state
                .heard_at
                .filter(|last| Some(*last) < seen.quorum_acked)
            {
                self.pressure.renewal(now.saturating_duration_since(last));
            }
            state.heard_at = state.heard_at.max(seen.quorum_acked);
            if let Some(at) = state.heard_at {
                let lease = state.leases.from(at);
                state.lease_evidence.note(self.me, at, lease);
            }
        }
        self.publish(&state);
        elected
    }

    /// Takes in that this member is stopping: it leads no longer, whatever the metrics showed last.
    pub(crate) fn stopped(&self) {
        let mut state = self.state.lock();
        state.stopped = true;
        self.publish(&state);
    }

    /// Moves on to a later ballot; all that was known of the one before is void.
    fn advance(&self, state: &mut TrackerState, ballot: ElectionBallot, now: Instant) -> bool {
        let later = state.advance(ballot, now);
        if later {
            self.ballots.send_replace(ballot);
        }
        later
    }

    fn publish(&self, state: &TrackerState) {
        let known = state.ballot.committed && !state.stopped;
        let leader = known.then_some(state.ballot.member);
        let now = Leadership {
            me: self.me,
            term: state.ballot.term,
            leader,
            leading: state.leading && known,
            heard_at: state.heard_at.filter(|_| !state.stopped),
            lease: state
                .heard_at
                .map_or(Duration::ZERO, |at| state.leases.from(at)),
            lease_clear_at: state.lease_clear_at.filter(|_| leader == Some(self.me)),
            election: state.election.filter(|_| leader == Some(self.me)),
        };
        self.out.send_if_modified(|out| {
            let changed = *out != now;
            *out = now;
            changed
        });
    }
}

impl TrackerState {
    fn advance(&mut self, ballot: ElectionBallot, now: Instant) -> bool {
        if ballot <= self.ballot {
            return false;
        }
        if self.ballot.committed {
            self.former = Some((self.ballot.member, self.heard_at));
        }
        self.ballot = ballot;
        self.since = now;
        self.leading = false;
        self.heard_at = None;
        self.lease_clear_at = None;
        self.election = None;
        true
    }

    /// Returns how this member came to be elected, just now.
    fn elected(&self, now: Instant) -> ElectionRecord {
        let campaign = self.campaign.filter(|c| c.term == self.ballot.term);
        ElectionRecord {
            // The only voter asks nobody.
            reason: campaign.map_or(ElectionReason::Timeout, |c| c.reason),
            former: self.former.map(|(leader, _)| leader),
            lost_at: self.former.and_then(|(_, heard_at)| heard_at),
            detected_at: campaign.map_or(now, |c| c.began),
            elected_at: now,
        }
    }
}

#[cfg(test)]
mod tests;
