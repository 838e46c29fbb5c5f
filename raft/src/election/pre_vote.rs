//! Asking, before any term is touched, who would elect this member.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use quorate_proto::peer;
use quorate_types::{ElectionReason, MemberId};
use tokio::time::{sleep, timeout};

use super::wire_reason;
use crate::{
    liveness::rules,
    node::NodeInner,
    storage::{convert, raft_types::StoredVote},
};

/// A campaign that has not touched any term yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PreVoteRound {
    /// That votes would be asked for in.
    pub(crate) term: u64,
    pub(crate) reason: ElectionReason,
    /// Before a voter that did not agree is asked again.
    pub(crate) pause: Duration,
}

impl NodeInner {
    /// Returns when a quorum of `voters` would elect this member.
    pub(crate) async fn win_pre_vote(&self, canvass: PreVoteRound, voters: &[BTreeSet<MemberId>]) {
        let mut granted = BTreeSet::from([self.id]);
        let others: BTreeSet<MemberId> = voters.iter().flatten().copied().collect();
        let others = others.into_iter().filter(|id| *id != self.id);
        let mut asked: FuturesUnordered<_> = others
            .map(|id| self.request_pre_vote(id, canvass))
            .collect();
        while !rules::quorum(voters, &granted) {
            match asked.next().await {
                Some(id) => granted.insert(id),
                None => return std::future::pending().await,
            };
        }
    }

    /// Asks a voter until it would elect this member.
    async fn request_pre_vote(&self, id: MemberId, canvass: PreVoteRound) -> MemberId {
        loop {
            if let (Some(mut peer), Some(seat)) = (self.peers.get(id), self.election_state().await)
            {
                let request = peer::VoteRequest {
                    ballot: Some(convert::vote_to_proto(&StoredVote::new(
                        canvass.term,
                        self.id,
                    ))),
                    last: convert::opt_log_id_to_proto(seat.last.as_ref()),
                    transfer: canvass.reason != ElectionReason::Timeout,
                    reason: wire_reason(canvass.reason).into(),
                };
                let patience = self.timing().patience.election_max;
                let answer = timeout(patience, peer.urgent.pre_vote(request)).await;
                if let Ok(Ok(answer)) = answer
                    && answer.into_inner().granted
                {
                    return id;
                }
            }
            sleep(canvass.pause).await;
        }
    }
}
