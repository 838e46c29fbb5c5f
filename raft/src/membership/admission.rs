//! Asking whoever leads: for a newcomer, and for this member itself.

use std::{sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_proto::peer::{self, admit_response::Outcome};
use quorate_types::{Member, MemberId, MemberStatus, ProposeError, Role};
use tokio::time::{sleep, timeout_at};

use crate::{
    MemberIdentity, Node,
    network::{CallEffect, call_effect},
    node::{LeaderAttempt, LeaderRetry, NodeInner},
    storage::convert,
};

/// Between two requests of a member that wants to vote or has moved.
const SEEK_FIRST: Duration = Duration::from_millis(50);
const SEEK_LONGEST: Duration = Duration::from_millis(1000);
const SEEK_PATIENCE: Duration = Duration::from_secs(10);

/// For one answer to a request that may be repeated.
const ASK_PATIENCE: Duration = Duration::from_secs(2);

impl Node {
    /// Admits a newcomer as a learner, from any member; the newcomer then asks by itself to
    /// vote once it has caught up. A name or peer address that another member has is
    /// refused. Asking again with the same name and peer address gives the same id for as
    /// long as the newcomer has not begun to follow.
    pub async fn admit(
        &self,
        newcomer: Member,
        deadline: Instant,
    ) -> Result<MemberIdentity, ProposeError> {
        let (id, _) = self.inner.admit(0, newcomer, false, deadline).await?;
        Ok(MemberIdentity {
            cluster: self.inner.cluster.clone(),
            id,
        })
    }
}

impl NodeInner {
    /// Asks whoever leads to admit a newcomer (id 0), or to take in where a member is and
    /// that it wants to vote. Returns the id and whether it votes. May be asked again
    /// without harm, so what is unknown is retried.
    async fn admit(
        self: &Arc<Self>,
        id: MemberId,
        member: Member,
        vote: bool,
        deadline: Instant,
    ) -> Result<(MemberId, bool), ProposeError> {
        let mut retry = LeaderRetry::new(self, deadline);
        let mut doubt = None;
        let mut asked = self.id;
        loop {
            // A member that has moved hears from nobody, but somebody knows who leads.
            let leader = retry.leader().or_else(|| self.peers.after(asked));
            asked = leader.unwrap_or(asked);
            let tried = match leader {
                None => LeaderAttempt::NotLeader(None),
                Some(leader) if leader == self.id => {
                    self.admit_here(id, member.clone(), vote, deadline).await
                }
                Some(leader) => {
                    let request = peer::AdmitRequest {
                        id,
                        member: Some(convert::member_to_proto(&member)),
                        deadline_ms: retry.left_ms(),
                        vote,
                    };
                    let patience = Instant::now() + ASK_PATIENCE;
                    self.admit_at(leader, request, patience.min(deadline), &mut retry)
                        .await
                }
            };
            let leader = match tried {
                LeaderAttempt::Done(done) => return Ok(done),
                LeaderAttempt::Refused(why) => return Err(ProposeError::Refused(why)),
                LeaderAttempt::NotLeader(leader) => leader,
                LeaderAttempt::Unknown(why) => {
                    doubt = Some(why);
                    None
                }
            };
            if !retry.wait_before_retry(leader).await {
                return Err(match doubt {
                    Some(why) => ProposeError::Unknown(why),
                    None => ProposeError::NoQuorum {
                        waited_ms: retry.waited_ms(),
                    },
                });
            }
        }
    }

    async fn admit_at(
        &self,
        leader: MemberId,
        request: peer::AdmitRequest,
        deadline: Instant,
        retry: &mut LeaderRetry<'_>,
    ) -> LeaderAttempt<(MemberId, bool)> {
        let Some(mut peer) = retry.peer(leader) else {
            return LeaderAttempt::NotLeader(None);
        };
        match timeout_at(deadline, peer.control.admit(request)).await {
            Err(_) => LeaderAttempt::Unknown(format!("member {leader} did not answer in time")),
            Ok(Err(status)) if call_effect(&status) == CallEffect::NotDone => {
                LeaderAttempt::NotLeader(None)
            }
            Ok(Err(status)) => {
                LeaderAttempt::Unknown(format!("member {leader}: {}", status.message()))
            }
            Ok(Ok(answer)) => match answer.into_inner().outcome {
                Some(Outcome::Admitted(done)) => LeaderAttempt::Done((done.id, done.voter)),
                Some(Outcome::NotLeader(answer)) => {
                    LeaderAttempt::NotLeader(retry.redirected(answer))
                }
                Some(Outcome::Refused(why)) => LeaderAttempt::Refused(why),
                None => LeaderAttempt::Unknown(format!("the answer of member {leader} is empty")),
            },
        }
    }
}

/// Asks until the group knows where this member is and lets it vote.
pub(crate) async fn seek_voter_role(node: Arc<NodeInner>) {
    let mut pause = SEEK_FIRST;
    let known = node
        .members
        .borrow()
        .iter()
        .find(|m| m.id == node.id)
        .cloned();
    if let Some(known) = known.filter(|known| known.member.peer != node.member.peer) {
        tracing::warn!(
            member = node.id,
            peer = node.member.peer,
            known_as = known.member.peer,
            "this member has moved: the others know it by another address until a leader takes that in"
        );
    }
    loop {
        let settled =
            |m: &MemberStatus| m.id == node.id && m.member == node.member && m.role == Role::Voter;
        if node.members.borrow().iter().any(settled) {
            return;
        }
        let deadline = Instant::now() + SEEK_PATIENCE;
        match node
            .admit(node.id, node.member.clone(), true, deadline)
            .await
        {
            Ok((_, true)) | Err(ProposeError::NoQuorum { .. }) => {}
            Ok((_, false)) => tracing::debug!(member = node.id, "has not caught up yet"),
            Err(e) => tracing::warn!(member = node.id, "can't take up its place yet: {e}"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(SEEK_LONGEST);
    }
}
