//! Admission: asks the leader to take in a newcomer, or to let this member vote.

use std::{sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_proto::peer::{self, admit_response::Outcome};
use quorate_types::{Member, MemberId, MemberStatus, ProposeError, Role, backoff::Backoff};
use tokio::time::{sleep, timeout_at};

use super::MemberRegistry;
use crate::{
    network::{CallEffect, call_effect},
    node::{LeaderAttempt, LeaderRetry},
    storage::convert,
};

/// Pauses between two requests of a member that wants to vote or has moved.
const SEEK_FIRST: Duration = Duration::from_millis(50);
const SEEK_LONGEST: Duration = Duration::from_millis(1000);
const SEEK_PATIENCE: Duration = Duration::from_secs(10);

/// Time for one answer to a request that may be repeated.
const ASK_PATIENCE: Duration = Duration::from_secs(2);

impl MemberRegistry {
    /// Asks the leader to admit a newcomer (id 0), or to take in where a member is and that it
    /// wants to vote. Returns the id and whether it votes. May be asked again without harm, so
    /// an unknown outcome is retried.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        id: MemberId,
        member: Member,
        vote: bool,
        deadline: Instant,
    ) -> Result<(MemberId, bool), ProposeError> {
        let mut retry = LeaderRetry::new(&self.consensus, &self.peers, deadline);
        let me = self.consensus.id;
        let mut doubt = None;
        let mut asked = me;
        loop {
            // A member that has moved hears from nobody, but another member knows who leads.
            let leader = retry.leader().or_else(|| self.peers.after(asked));
            asked = leader.unwrap_or(asked);
            let tried = match leader {
                None => LeaderAttempt::NotLeader(None),
                Some(leader) if leader == me => {
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
pub(crate) async fn seek_voter_role(registry: Arc<MemberRegistry>) {
    let MemberRegistry {
        consensus,
        own,
        members,
        ..
    } = &*registry;
    let me = consensus.id;
    let mut pauses = Backoff::new(SEEK_FIRST, SEEK_LONGEST);
    let known = members.borrow().iter().find(|m| m.id == me).cloned();
    if let Some(known) = known.filter(|known| known.member.peer != own.peer) {
        tracing::warn!(
            member = me,
            peer = own.peer,
            known_as = known.member.peer,
            "this member has moved: the others know it by another address until a leader takes that in"
        );
    }
    loop {
        let settled = |m: &MemberStatus| m.id == me && m.member == *own && m.role == Role::Voter;
        if members.borrow().iter().any(settled) {
            return;
        }
        let deadline = Instant::now() + SEEK_PATIENCE;
        match registry.admit(me, own.clone(), true, deadline).await {
            Ok((_, true)) | Err(ProposeError::NoQuorum { .. }) => {}
            Ok((_, false)) => tracing::debug!(member = me, "has not caught up yet"),
            Err(e) => tracing::warn!(member = me, "can't take up its place yet: {e}"),
        }
        sleep(pauses.step()).await;
    }
}
