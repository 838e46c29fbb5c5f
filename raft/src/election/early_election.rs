//! Early election: this member stands because the leader's process has died.
//!
//! [`crate::liveness`] has the argument.

use std::{sync::Arc, time::Duration};

use openraft::raft::TransferLeaderRequest;
use quorate_clock::Instant;
use quorate_types::ElectionReason;
use tokio::time::{sleep, sleep_until};

use super::{ElectionParticipant, ElectionState, PreVoteRound};
use crate::{
    ballot::ElectionBallot, consensus::ConsensusHandle, liveness::rules,
    storage::raft_types::StoredVote,
};

/// Pause before a voter that did not agree is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(2);

/// Leader that has died for sure.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeadLeader {
    /// The ballot of its election.
    pub(super) ballot: ElectionBallot,
    /// Time at which its death was certain.
    since: Instant,
}

/// Stands for election whenever the leader has died, once for each leader.
pub(crate) async fn campaign_on_leader_death(participant: Arc<ElectionParticipant>) {
    let consensus = &participant.consensus;
    let mut signs = participant.liveness.changes();
    let mut leadership = consensus.tracker.subscribe();
    let mut stood = None;
    loop {
        signs.mark_unchanged();
        leadership.mark_unchanged();
        let dead = participant.dead_leader();
        if let Some(dead) = dead.filter(|dead| stood != Some(dead.ballot)) {
            tracing::info!(
                member = consensus.id,
                leader = dead.ballot.member,
                term = dead.ballot.term,
                "the leader's process has died"
            );
            // By then an election timer has run out, here or at another voter: waiting on is pointless.
            let timers = dead.since + consensus.timing().patience.election_max;
            tokio::select! {
                () = participant.campaign_early(dead) => {}
                () = participant.wait_until_replaced_or_alive(dead) => {}
                () = sleep_until(timers) => tracing::info!(
                    member = consensus.id,
                    "no quorum agrees that the leader has died; leaving it to the timers"
                ),
            }
            stood = Some(dead.ballot);
            continue;
        }
        let changed = tokio::select! {
            changed = signs.changed() => changed,
            changed = leadership.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

impl ElectionParticipant {
    /// Returns the leader that this member knows, if it has died for sure.
    pub(super) fn dead_leader(&self) -> Option<DeadLeader> {
        let (ballot, known_since) = self.consensus.tracker.ballot();
        if !ballot.committed || ballot.member == self.consensus.id {
            return None;
        }
        let dead_since = self.liveness.dead_since(ballot.member);
        let since = rules::died(known_since, dead_since)?;
        Some(DeadLeader { ballot, since })
    }

    /// Returns when the leader is another than the dead one, or not dead after all.
    async fn wait_until_replaced_or_alive(&self, dead: DeadLeader) {
        let mut signs = self.liveness.changes();
        let mut leadership = self.consensus.tracker.subscribe();
        while self
            .dead_leader()
            .is_some_and(|now| now.ballot == dead.ballot)
        {
            tokio::select! {
                _ = signs.changed() => {}
                _ = leadership.changed() => {}
            }
        }
    }

    /// Waits for this member's turn and for a quorum that would elect it, and asks for votes.
    async fn campaign_early(&self, leader: DeadLeader) {
        let ConsensusHandle {
            id, raft, tracker, ..
        } = &*self.consensus;
        let Some(state) = ElectionState::read(&self.consensus).await else {
            return;
        };
        let dead = |id| id == leader.ballot.member || self.liveness.dead_since(id).is_some();
        let Some(rank) = rules::rank(*id, &state.voters, dead) else {
            return;
        };
        tokio::select! {
            () = sleep(rules::STAGGER * rank), if rank > 0 => {}
            () = self.liveness.urged_after(leader.ballot.term), if rank > 0 => {}
            else => {}
        }
        let term = leader.ballot.term + 1;
        let round = PreVoteRound {
            term,
            reason: ElectionReason::Death,
            pause: ASK_AGAIN,
        };
        self.win_pre_vote(round, &state.voters).await;
        // A transfer request to oneself makes openraft stand at once. It compares the vote again,
        // and stands only if this member's vote is still for the dead leader.
        let vote = StoredVote::new_committed(leader.ballot.term, leader.ballot.member);
        tracker.campaigns(term, ElectionReason::Death, leader.since);
        let stand = TransferLeaderRequest::new(vote, *id, None);
        match raft.handle_transfer_leader(stand).await {
            Ok(Ok(())) => tracing::info!(member = id, term, "stands for election"),
            Ok(Err(why)) => tracing::info!(member = id, "does not stand: {why}"),
            Err(why) => tracing::info!(member = id, "can't stand: {why}"),
        }
    }
}
