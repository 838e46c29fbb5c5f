//! Standing for election because the leader has died.

use std::{sync::Arc, time::Duration};

use openraft::raft::TransferLeaderRequest;
use quorate_clock::Instant;
use quorate_types::ElectionReason;
use tokio::time::{sleep, sleep_until};

use super::rules;
use crate::{
    election::PreVoteRound,
    node::{ElectionBallot, NodeInner},
    storage::raft_types::StoredVote,
};

/// Before a voter that did not agree is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(2);

/// A leader that has died for sure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeadLeader {
    /// Of its election.
    pub(crate) ballot: ElectionBallot,
    /// When its death was certain.
    since: Instant,
}

/// Stands for election whenever the leader has died, once for each leader.
pub(crate) async fn campaign_on_leader_death(node: Arc<NodeInner>) {
    let mut signs = node.liveness.changes();
    let mut leadership = node.tracker.subscribe();
    let mut stood = None;
    loop {
        signs.mark_unchanged();
        leadership.mark_unchanged();
        let lost = node.dead_leader().filter(|lost| stood != Some(lost.ballot));
        if let Some(lost) = lost {
            tracing::info!(
                member = node.id,
                leader = lost.ballot.member,
                term = lost.ballot.term,
                "the leader's process has died"
            );
            // From then on the timers run out, here or elsewhere.
            let timers = lost.since + node.timing().patience.election_max;
            tokio::select! {
                () = node.campaign_early(lost) => {}
                () = node.no_longer(lost) => {}
                () = sleep_until(timers) => tracing::info!(
                    member = node.id,
                    "no quorum agrees that the leader has died; leaving it to the timers"
                ),
            }
            stood = Some(lost.ballot);
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

impl NodeInner {
    /// The leader that this member knows, if it has died for sure.
    pub(crate) fn dead_leader(&self) -> Option<DeadLeader> {
        let (ballot, known_since) = self.tracker.ballot();
        if !ballot.committed || ballot.member == self.id {
            return None;
        }
        let dead_since = self.liveness.dead_since(ballot.member);
        let since = rules::died(known_since, dead_since)?;
        Some(DeadLeader { ballot, since })
    }

    /// Returns when the leader is not the one that was lost, or not dead after all.
    async fn no_longer(&self, lost: DeadLeader) {
        let mut signs = self.liveness.changes();
        let mut leadership = self.tracker.subscribe();
        while self
            .dead_leader()
            .is_some_and(|now| now.ballot == lost.ballot)
        {
            tokio::select! {
                _ = signs.changed() => {}
                _ = leadership.changed() => {}
            }
        }
    }

    /// Waits for this member's turn and for a quorum that would elect it, and asks for votes.
    async fn campaign_early(&self, lost: DeadLeader) {
        let Some(seat) = self.election_state().await else {
            return;
        };
        let dead = |id| id == lost.ballot.member || self.liveness.dead_since(id).is_some();
        let Some(rank) = rules::rank(self.id, &seat.voters, dead) else {
            return;
        };
        let mut urged = self.liveness.urged.subscribe();
        tokio::select! {
            () = sleep(rules::STAGGER * rank), if rank > 0 => {}
            _ = urged.wait_for(|term| *term > lost.ballot.term), if rank > 0 => {}
            else => {}
        }
        let term = lost.ballot.term + 1;
        let canvass = PreVoteRound {
            term,
            reason: ElectionReason::Death,
            pause: ASK_AGAIN,
        };
        self.win_pre_vote(canvass, &seat.voters).await;
        // openraft looks at it again: it stands only if its vote is still for the lost one.
        let vote = StoredVote::new_committed(lost.ballot.term, lost.ballot.member);
        self.tracker
            .campaigns(term, ElectionReason::Death, lost.since);
        let stand = TransferLeaderRequest::new(vote, self.id, None);
        match self.raft.handle_transfer_leader(stand).await {
            Ok(Ok(())) => tracing::info!(member = self.id, term, "stands for election"),
            Ok(Err(why)) => tracing::info!(member = self.id, "does not stand: {why}"),
            Err(why) => tracing::info!(member = self.id, "can't stand: {why}"),
        }
    }
}
