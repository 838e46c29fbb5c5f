//! Transfer of leadership.
//!
//! openraft never takes back a transfer that it has begun: from then on the leader takes no
//! writes and sends no heartbeats, until a member is elected. So the target is looked at
//! first; and when the target does not take over in time, or its process has died, this member
//! steps down by granting a vote of the next term to it (a vote that nobody counts, which is as
//! safe as any), and stands for election itself, with the transfer flag, so that no voter waits
//! for a lease that is this member's own. Whichever member is elected by then, the group has a
//! leader.

use std::{sync::Arc, time::Duration};

use openraft::{
    async_runtime::watch::WatchReceiver,
    raft::{TransferLeaderRequest, VoteRequest},
};
use quorate_clock::Instant;
use quorate_types::{ElectionReason, MemberId, Role, TransferError};
use tokio::time::{sleep, timeout_at};

use super::unreachable::UnreachableMonitor;
use crate::{
    ballot::ElectionBallot, consensus::ConsensusHandle, liveness::LivenessTable,
    membership::MemberRegistry, storage::raft_types::StoredVote,
};

/// Entries that the target may be behind; it has them before it asks for votes.
const MAX_LAG: u64 = 1000;

/// Hands leadership over.
pub(super) struct LeaderTransfer {
    pub(super) consensus: Arc<ConsensusHandle>,
    pub(super) registry: Arc<MemberRegistry>,
    pub(super) liveness: Arc<LivenessTable>,
    pub(super) unreachable: Arc<UnreachableMonitor>,
}

impl LeaderTransfer {
    /// See [`Node::transfer`](super::Node::transfer).
    pub(super) async fn transfer(
        self: &Arc<Self>,
        to: Option<MemberId>,
        deadline: Instant,
    ) -> Result<MemberId, TransferError> {
        let consensus = &self.consensus;
        let leadership = consensus.tracker.current();
        if !leadership.leading {
            return Err(TransferError::NotLeader(leadership.leader));
        }
        let target = self.target(to)?;
        if target == consensus.id {
            return Ok(target);
        }
        let began = Instant::now();
        let term = leadership.term;
        let stopped = |_| TransferError::Refused("this member is shutting down".to_owned());
        consensus
            .raft
            .trigger()
            .transfer_leader(target)
            .await
            .map_err(stopped)?;
        // The target asks for votes once it has the log on disk, for which it takes its time.
        let patience = began + consensus.timing().patience.election_max;
        let taken = tokio::select! {
            biased;
            leader = self.successor(term, patience.min(deadline)) => leader,
            () = self.liveness.wait_for_death(target, began) => None,
        };
        if let Some(leader) = taken {
            return Ok(leader);
        }
        tracing::warn!(
            member = consensus.id,
            target,
            "did not take over; standing for election again"
        );
        // Goes on when the caller has given up: until it is done there may be no leader.
        let recovering = self.clone();
        tokio::spawn(async move { recovering.recover(target).await });
        let until = (began + consensus.timing().patience.failover).min(deadline);
        let leader = self.successor(term, until).await;
        match leader {
            Some(leader) if leader != consensus.id => Ok(leader),
            _ => Err(TransferError::TimedOut(began.elapsed())),
        }
    }

    /// Returns the member to hand over to.
    fn target(&self, to: Option<MemberId>) -> Result<MemberId, TransferError> {
        let refuse = |why: String| Err(TransferError::Refused(why));
        let members = self.registry.members_now();
        let silent = self.unreachable.unreachable_now();
        let fit = |m: &&quorate_types::MemberStatus| {
            m.role == Role::Voter
                && m.reachable == Some(true)
                && !silent.contains(&m.id)
                && m.lag.is_some_and(|lag| lag <= MAX_LAG)
        };
        let Some(to) = to else {
            let others = members
                .iter()
                .filter(|m| m.id != self.consensus.id)
                .filter(fit);
            return match others.min_by_key(|m| m.lag) {
                Some(best) => Ok(best.id),
                None => refuse("no other voter can be reached and has caught up".to_owned()),
            };
        };
        match members.iter().find(|m| m.id == to) {
            None => refuse(format!("there is no member {to}")),
            Some(m) if fit(&m) => Ok(to),
            Some(m) if m.role != Role::Voter => refuse(format!("member {to} is not a voter yet")),
            Some(m) if m.reachable != Some(true) || silent.contains(&to) => {
                refuse(format!("member {to} can't be reached"))
            }
            Some(m) => refuse(format!(
                "member {to} is {} entries behind; wait until it has caught up",
                m.lag.unwrap_or_default()
            )),
        }
    }

    /// Waits for a leader elected after this member in `term`, which may be itself again,
    /// and until its first entry is known to be committed.
    async fn successor(&self, term: u64, deadline: Instant) -> Option<MemberId> {
        let mut seen = self.consensus.tracker.subscribe();
        let me = (term, Some(self.consensus.id));
        let other = seen.wait_for(|l| l.leader.is_some() && (l.term, l.leader) > me);
        timeout_at(deadline, other).await.ok()?.ok()?;
        let mut metrics = self.consensus.raft.metrics();
        let leads = async {
            loop {
                let (leader, committed) = {
                    let seen = metrics.borrow_and_update();
                    (seen.current_leader, seen.local_committed)
                };
                let by = committed.map(|id| (id.leader_id.term, Some(id.leader_id.node_id)));
                if by > Some(me) && by.and_then(|(_, id)| id) == leader {
                    return leader;
                }
                metrics.changed().await.ok()?;
            }
        };
        timeout_at(deadline, leads).await.ok()?
    }

    /// Steps down and stands for election.
    async fn recover(&self, target: MemberId) {
        let (term, leader) = {
            let metrics = self.consensus.raft.metrics();
            let seen = metrics.borrow_watched();
            (seen.current_term, seen.current_leader)
        };
        if leader != Some(self.consensus.id) {
            return;
        }
        // Nothing is appended while a transfer is pending, so this is the log's end.
        let last_log_id = self.consensus.raft.data_metrics().borrow_watched().last_log;
        let vote = StoredVote::new(term + 1, target);
        let request = VoteRequest {
            vote,
            last_log_id,
            leadership_transfer: true,
        };
        match self.consensus.raft.vote(request).await {
            Ok(answer) if answer.vote == vote => {}
            // Another vote has come in between, and the member that it is for leads or will.
            _ => return,
        }
        let ballot = ElectionBallot::from(&vote);
        self.consensus.tracker.voted(ballot, Instant::now());
        // A moment in which openraft learns that the vote is on disk.
        sleep(Duration::from_millis(1)).await;
        self.consensus
            .tracker
            .campaigns(term + 2, ElectionReason::Transfer, Instant::now());
        let stand = TransferLeaderRequest::new(vote, self.consensus.id, None);
        if let Err(e) = self.consensus.raft.handle_transfer_leader(stand).await {
            tracing::warn!(member = self.consensus.id, "can't stand for election: {e}");
        }
    }
}
