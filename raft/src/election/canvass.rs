//! Asking, before any term is touched, who would elect this member.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use quorate_proto::peer;
use quorate_types::{MemberId, Reason};
use tokio::time::{sleep, timeout};

use super::wire_reason;
use crate::{
    liveness::rules,
    node::Inner,
    storage::{convert, types::Vote},
};

/// A campaign that has not touched any term yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Canvass {
    /// That votes would be asked for in.
    pub(crate) term: u64,
    pub(crate) reason: Reason,
    /// Before a voter that did not agree is asked again.
    pub(crate) pause: Duration,
}

impl Inner {
    /// Returns when a quorum of `voters` would elect this member.
    pub(crate) async fn canvass(&self, canvass: Canvass, voters: &[BTreeSet<MemberId>]) {
        let mut granted = BTreeSet::from([self.id]);
        let others: BTreeSet<MemberId> = voters.iter().flatten().copied().collect();
        let others = others.into_iter().filter(|id| *id != self.id);
        let mut asked: FuturesUnordered<_> = others.map(|id| self.agreement(id, canvass)).collect();
        while !rules::quorum(voters, &granted) {
            match asked.next().await {
                Some(id) => granted.insert(id),
                None => return std::future::pending().await,
            };
        }
    }

    /// Asks a voter until it would elect this member.
    async fn agreement(&self, id: MemberId, canvass: Canvass) -> MemberId {
        loop {
            if let (Some(mut peer), Some(seat)) = (self.peers.get(id), self.seat().await) {
                let request = peer::VoteRequest {
                    ballot: Some(convert::vote_to_proto(&Vote::new(canvass.term, self.id))),
                    last: convert::opt_log_id_to_proto(seat.last.as_ref()),
                    transfer: canvass.reason != Reason::Timeout,
                    reason: wire_reason(canvass.reason).into(),
                };
                let patience = self.pace().patience.election_max;
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
