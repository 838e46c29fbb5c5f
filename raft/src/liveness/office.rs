//! Standing for election because the leader has died, and agreeing that somebody else does.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use openraft::raft::TransferLeaderRequest;
use quorate_proto::peer;
use tokio::time::{sleep, sleep_until, timeout};

use super::rules;
use crate::{
    MemberId, Reason,
    network::ballot_of,
    node::{Ballot, Inner},
    storage::{
        convert,
        types::{LogId, Vote},
    },
};

/// Before a voter that did not agree is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(2);

/// A leader that has died for sure.
#[derive(Clone, Copy, Debug)]
struct Lost {
    /// Of its election.
    ballot: Ballot,
    /// When its death was certain.
    since: Instant,
}

/// openraft's state, at one moment.
struct Seat {
    vote: Vote,
    last: Option<LogId>,
    /// The sets of the effective membership.
    voters: Vec<BTreeSet<MemberId>>,
}

/// Stands for election whenever the leader has died, once for each leader.
pub(crate) async fn stand(node: Arc<Inner>) {
    let mut signs = node.liveness.changes();
    let mut leadership = node.tracker.subscribe();
    let mut stood = None;
    loop {
        signs.mark_unchanged();
        leadership.mark_unchanged();
        let lost = node.lost().filter(|lost| stood != Some(lost.ballot));
        if let Some(lost) = lost {
            tracing::info!(
                member = node.id,
                leader = lost.ballot.member,
                term = lost.ballot.term,
                "the leader's process has died"
            );
            // From then on the timers run out, here or elsewhere.
            let timers = lost.since + node.timing.election_max;
            tokio::select! {
                () = node.run(lost) => {}
                () = node.no_longer(lost) => {}
                () = sleep_until(timers.into()) => tracing::info!(
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

impl Inner {
    /// The leader that this member knows, if it has died for sure.
    fn lost(&self) -> Option<Lost> {
        let (ballot, known_since) = self.tracker.ballot();
        if !ballot.committed || ballot.member == self.id {
            return None;
        }
        let dead_since = self.liveness.dead_since(ballot.member);
        let since = rules::died(known_since, dead_since)?;
        Some(Lost { ballot, since })
    }

    /// Returns when the leader is not the one that was lost, or not dead after all.
    async fn no_longer(&self, lost: Lost) {
        let mut signs = self.liveness.changes();
        let mut leadership = self.tracker.subscribe();
        while self.lost().is_some_and(|now| now.ballot == lost.ballot) {
            tokio::select! {
                _ = signs.changed() => {}
                _ = leadership.changed() => {}
            }
        }
    }

    /// Waits for this member's turn and for a quorum that would elect it, and asks for votes.
    async fn run(&self, lost: Lost) {
        let Some(seat) = self.seat().await else {
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
        self.quorum(lost, &seat.voters).await;
        // openraft looks at it again: it stands only if its vote is still for the lost one.
        let vote = Vote::new_committed(lost.ballot.term, lost.ballot.member);
        let next = lost.ballot.term + 1;
        self.tracker.campaigns(next, Reason::Death, lost.since);
        let stand = TransferLeaderRequest::new(vote, self.id, None);
        match self.raft.handle_transfer_leader(stand).await {
            Ok(Ok(())) => tracing::info!(member = self.id, term = next, "stands for election"),
            Ok(Err(why)) => tracing::info!(member = self.id, "does not stand: {why}"),
            Err(why) => tracing::info!(member = self.id, "can't stand: {why}"),
        }
    }

    /// Returns when a quorum would elect this member.
    async fn quorum(&self, lost: Lost, voters: &[BTreeSet<MemberId>]) {
        let mut granted = BTreeSet::from([self.id]);
        let others: BTreeSet<MemberId> = voters.iter().flatten().copied().collect();
        let others = others.into_iter().filter(|id| *id != self.id);
        let mut asked: FuturesUnordered<_> = others.map(|id| self.agreement(id, lost)).collect();
        while !rules::quorum(voters, &granted) {
            match asked.next().await {
                Some(id) => granted.insert(id),
                None => return std::future::pending().await,
            };
        }
    }

    /// Asks a voter until it would elect this member.
    async fn agreement(&self, id: MemberId, lost: Lost) -> MemberId {
        loop {
            if let (Some(mut peer), Some(seat)) = (self.peers.get(id), self.seat().await) {
                let request = peer::VoteRequest {
                    ballot: Some(convert::vote_to_proto(&Vote::new(
                        lost.ballot.term + 1,
                        self.id,
                    ))),
                    last: convert::opt_log_id_to_proto(seat.last.as_ref()),
                    transfer: true,
                    reason: peer::Reason::Death.into(),
                };
                let asked = peer.urgent.pre_vote(request);
                let answer = timeout(self.timing.election_min, asked).await;
                if let Ok(Ok(answer)) = answer
                    && answer.into_inner().granted
                {
                    return id;
                }
            }
            sleep(ASK_AGAIN).await;
        }
    }

    async fn seat(&self) -> Option<Seat> {
        let read = self.raft.with_raft_state(|s| Seat {
            vote: *s.vote_ref(),
            last: s.log_ids.last().copied(),
            voters: s
                .membership_state
                .effective()
                .membership()
                .get_joint_config()
                .clone(),
        });
        read.await.ok()
    }

    /// Whether a vote of this member may ignore the lease of the leader it knows, because
    /// that has died.
    pub(crate) async fn agrees_that_the_leader_died(&self) -> bool {
        match self.seat().await {
            Some(seat) => self.agrees(&seat),
            None => false,
        }
    }

    fn agrees(&self, seat: &Seat) -> bool {
        let vote = ballot_of(&seat.vote);
        let dead = self.lost().is_some_and(|lost| lost.ballot == vote);
        rules::honoured(self.id, vote, dead)
    }

    /// Whether this member would elect a candidate that says that the leader has died. As
    /// a pre-vote does, it changes nothing.
    pub(crate) async fn would_elect(
        &self,
        candidate: &Vote,
        last: Option<LogId>,
    ) -> Option<(bool, Vote, Option<LogId>)> {
        let seat = self.seat().await?;
        let agreed = self.agrees(&seat);
        let longer = last < seat.last;
        if agreed && longer {
            self.liveness.urge(candidate.leader_id.term);
        }
        let granted = agreed && !longer && *candidate > seat.vote;
        Some((granted, seat.vote, seat.last))
    }
}
