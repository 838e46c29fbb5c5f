//! Pre-vote: asks the voters, before any term is touched, whether they would elect this member.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use quorate_proto::peer;
use quorate_types::{ElectionReason, MemberId};
use tokio::time::{sleep, timeout};

use super::{ElectionParticipant, ElectionState, wire_reason};
use crate::{
    liveness::rules,
    storage::{convert, raft_types::StoredVote},
};

/// Campaign that has not touched any term yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct PreVoteRound {
    /// The term in which votes would be asked for.
    pub(super) term: u64,
    pub(super) reason: ElectionReason,
    /// Pause before a voter that did not agree is asked again.
    pub(super) pause: Duration,
}

impl ElectionParticipant {
    /// Returns when a quorum of `voters` would elect this member.
    pub(super) async fn win_pre_vote(&self, round: PreVoteRound, voters: &[BTreeSet<MemberId>]) {
        let me = self.consensus.id;
        let mut granted = BTreeSet::from([me]);
        let others: BTreeSet<MemberId> = voters.iter().flatten().copied().collect();
        let others = others.into_iter().filter(|id| *id != me);
        let mut asked: FuturesUnordered<_> =
            others.map(|id| self.request_pre_vote(id, round)).collect();
        while !rules::quorum(voters, &granted) {
            match asked.next().await {
                Some(id) => granted.insert(id),
                None => return std::future::pending().await,
            };
        }
    }

    /// Asks a voter until it would elect this member.
    async fn request_pre_vote(&self, voter: MemberId, round: PreVoteRound) -> MemberId {
        loop {
            if let (Some(mut peer), Some(state)) = (
                self.peers.get(voter),
                ElectionState::read(&self.consensus).await,
            ) {
                let ballot = StoredVote::new(round.term, self.consensus.id);
                let request = peer::VoteRequest {
                    ballot: Some(convert::vote_to_proto(&ballot)),
                    last: convert::opt_log_id_to_proto(state.last.as_ref()),
                    transfer: round.reason != ElectionReason::Timeout,
                    reason: wire_reason(round.reason).into(),
                };
                let patience = self.consensus.timing().patience.election_max;
                let answer = timeout(patience, peer.urgent.pre_vote(request)).await;
                if let Ok(Ok(answer)) = answer
                    && answer.into_inner().granted
                {
                    return voter;
                }
            }
            sleep(round.pause).await;
        }
    }
}
