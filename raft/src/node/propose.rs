//! Proposals: from any member, to the leader, with one of three outcomes.
//!
//! *Done* is what the leader answered after it applied the entry. *Surely not done* is only
//! what openraft turned away before it appended anything (`ForwardToLeader`) and what was
//! never sent to another member or refused at its gate; it is tried again until the deadline
//! and ends as [`ProposeError::NoQuorum`] or [`ProposeError::Refused`]. Everything else is
//! *unknown*: an entry that was appended and not committed in time, one that was discarded
//! from this leader's log (another leader may have committed it), a connection that broke or
//! stayed silent after the request was sent. It is answered as such and never tried again.

use std::time::Duration;

use bytes::Bytes;
use openraft::{
    errors::{ClientWriteError, Fatal, RaftError},
    impls::ProgressResponder,
};
use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};
use quorate_proto::peer::{self, propose_response::Outcome};
use quorate_types::{MemberId, ProposeError};
use tokio::time::{timeout, timeout_at};

use super::{LeaderAttempt, LeaderRetry, Node, NodeInner, proposal_budget::ProposalPermit};
use crate::{
    network::{CallEffect, MAX_COMMAND, call_effect},
    storage::raft_types::{LeaderId, ProposedCommand, Types},
};

/// A command that is committed and applied, here too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedProposal {
    /// The log index of its entry.
    pub index: u64,
    /// What the machine answered.
    pub answer: Bytes,
}

impl Node {
    /// Proposes a command from any member: forwarded to the leader, retried only where it
    /// was surely not done, until `deadline`; applied on this member when it returns, unless
    /// this member is so late that the deadline comes first.
    pub async fn propose(
        &self,
        command: Bytes,
        deadline: Instant,
    ) -> Result<AppliedProposal, ProposeError> {
        let result = self.inner.propose(command, deadline).await;
        count(&result);
        result
    }

    /// Proposes as leader of exactly this term: never forwarded, never retried.
    pub async fn propose_in_term(
        &self,
        term: u64,
        command: Bytes,
        deadline: Instant,
    ) -> Result<AppliedProposal, ProposeError> {
        let started = Instant::now();
        let waited_ms = || started.elapsed().as_millis() as u64;
        let result = match self.inner.propose_here(command, Some(term), deadline).await {
            LeaderAttempt::Done(done) => Ok(done),
            LeaderAttempt::Refused(why) => Err(ProposeError::Refused(why)),
            LeaderAttempt::Unknown(why) => Err(ProposeError::Unknown(why)),
            LeaderAttempt::NotLeader(Some(leader)) => Err(ProposeError::Refused(format!(
                "this member does not lead term {term}; member {leader} leads"
            ))),
            LeaderAttempt::NotLeader(None) => Err(ProposeError::NoQuorum {
                waited_ms: waited_ms(),
            }),
        };
        count(&result);
        result
    }
}

impl NodeInner {
    async fn propose(
        &self,
        command: Bytes,
        deadline: Instant,
    ) -> Result<AppliedProposal, ProposeError> {
        let mut retry = LeaderRetry::new(self, deadline);
        loop {
            let tried = match retry.leader() {
                None => LeaderAttempt::NotLeader(None),
                Some(id) if id == self.id => {
                    self.propose_here(command.clone(), None, deadline).await
                }
                Some(id) => self.propose_at(id, command.clone(), &mut retry).await,
            };
            match tried {
                LeaderAttempt::Done(done) => {
                    // It is done, whether or not this member gets to see it in time.
                    self.wait_applied(done.index, deadline).await;
                    return Ok(done);
                }
                LeaderAttempt::Refused(why) => return Err(ProposeError::Refused(why)),
                LeaderAttempt::Unknown(_)
                    if planted(Mutant::BlindRetry) && retry.wait_before_retry(None).await => {}
                LeaderAttempt::Unknown(_) if planted(Mutant::UnknownToldAsFailed) => {
                    let waited_ms = retry.waited_ms();
                    return Err(ProposeError::NoQuorum { waited_ms });
                }
                LeaderAttempt::Unknown(why) => return Err(ProposeError::Unknown(why)),
                LeaderAttempt::NotLeader(leader) => {
                    if !retry.wait_before_retry(leader).await {
                        return Err(ProposeError::NoQuorum {
                            waited_ms: retry.waited_ms(),
                        });
                    }
                }
            }
        }
    }

    /// Proposes at this member, which must lead; of `term`, when given.
    pub(crate) async fn propose_here(
        &self,
        command: Bytes,
        term: Option<u64>,
        deadline: Instant,
    ) -> LeaderAttempt<AppliedProposal> {
        if command.len() > MAX_COMMAND {
            return LeaderAttempt::Refused(format!(
                "the command has {} bytes; at most {MAX_COMMAND} are taken",
                command.len()
            ));
        }
        if !self.running() || !self.confirmed() {
            return LeaderAttempt::NotLeader(None);
        }
        let Some(permit) = self.proposal_budget.take(command.len(), deadline).await else {
            return LeaderAttempt::Refused(
                "too many writes, or too many bytes of them, are under way at the leader"
                    .to_owned(),
            );
        };
        match timeout_at(deadline, self.write(command, term, permit)).await {
            Ok(Ok(done)) => done,
            Ok(Err(fatal)) => LeaderAttempt::Unknown(format!("the leader stopped: {fatal}")),
            Err(_) => LeaderAttempt::Unknown(
                "the leader has it, but no quorum took it before the deadline".to_owned(),
            ),
        }
    }

    async fn write(
        &self,
        command: Bytes,
        term: Option<u64>,
        permit: ProposalPermit,
    ) -> Result<LeaderAttempt<AppliedProposal>, Fatal<Types>> {
        let (responder, written) = ProgressResponder::complete_only();
        let entrusted = permit.entrust(written);
        let mut request = self
            .raft
            .write(ProposedCommand(command))
            .responder(responder);
        if let Some(term) = term {
            request = request.with_leader(LeaderId {
                term,
                node_id: self.id,
            });
        }
        request.await?;
        let result = entrusted.answer().await.ok_or(Fatal::Stopped)?;
        Ok(match result {
            Ok(done) => LeaderAttempt::Done(AppliedProposal {
                index: done.log_id.index,
                answer: done.data.0,
            }),
            Err(e) => self.not_written(e),
        })
    }

    /// What openraft's refusal means. Only `ForwardToLeader` says that nothing was appended.
    pub(crate) fn not_written<T>(&self, e: ClientWriteError<Types>) -> LeaderAttempt<T> {
        match e {
            ClientWriteError::ForwardToLeader(to) => {
                LeaderAttempt::NotLeader(to.leader_id.filter(|id| *id != self.id))
            }
            ClientWriteError::LogEntryDiscarded(_) => LeaderAttempt::Unknown(
                "the leader changed and its log no longer has the entry; the new leader may \
                 have committed it"
                    .to_owned(),
            ),
            // These two refuse before anything is appended as well.
            ClientWriteError::ChangeMembershipError(e) => LeaderAttempt::Refused(e.to_string()),
            ClientWriteError::PreconditionFailed(e) => LeaderAttempt::Refused(e.to_string()),
        }
    }

    pub(crate) fn not_changed<T>(
        &self,
        e: RaftError<Types, ClientWriteError<Types>>,
    ) -> LeaderAttempt<T> {
        match e {
            RaftError::APIError(e) => self.not_written(e),
            RaftError::Fatal(e) => LeaderAttempt::Unknown(format!("the leader stopped: {e}")),
        }
    }

    /// Proposes at another member that is thought to lead.
    async fn propose_at(
        &self,
        leader: MemberId,
        command: Bytes,
        retry: &mut LeaderRetry<'_>,
    ) -> LeaderAttempt<AppliedProposal> {
        if command.len() > MAX_COMMAND {
            return self.propose_here(command, None, retry.deadline).await;
        }
        let Some(mut peer) = retry.peer(leader) else {
            return LeaderAttempt::NotLeader(None);
        };
        let request = peer::ProposeRequest {
            command,
            deadline_ms: retry.left_ms(),
        };
        let call = peer.control.propose(request);
        let mut until = retry.deadline;
        if planted(Mutant::BlindRetry) || planted(Mutant::UnknownToldAsFailed) {
            until = until.min(Instant::now() + self.timing().patience.failover / 12);
        }
        let answer = tokio::select! {
            answer = timeout_at(until, call) => answer,
            () = self.replaced(leader) => return LeaderAttempt::Unknown(format!(
                "it was sent to member {leader}, which has been replaced as leader and does \
                 not answer"
            )),
        };
        match answer {
            Err(_) => LeaderAttempt::Unknown(format!(
                "member {leader}, the leader, did not answer in time"
            )),
            Ok(Err(status)) if call_effect(&status) == CallEffect::NotDone => {
                tracing::debug!(
                    member = leader,
                    "could not forward a write: {}",
                    status.message()
                );
                LeaderAttempt::NotLeader(None)
            }
            Ok(Err(status)) => LeaderAttempt::Unknown(format!(
                "the call to member {leader}, the leader, broke: {}",
                status.message()
            )),
            Ok(Ok(answer)) => match answer.into_inner().outcome {
                Some(Outcome::Done(done)) => LeaderAttempt::Done(AppliedProposal {
                    index: done.index,
                    answer: done.answer,
                }),
                Some(Outcome::NotLeader(answer)) => {
                    LeaderAttempt::NotLeader(retry.redirected(answer))
                }
                Some(Outcome::Refused(why)) => LeaderAttempt::Refused(why),
                Some(Outcome::Unknown(why)) => LeaderAttempt::Unknown(why),
                None => LeaderAttempt::Unknown(format!("the answer of member {leader} is empty")),
            },
        }
    }

    /// Returns some time after another member than `leader` was seen to lead: whoever waits
    /// for an answer of `leader` would have it by then.
    async fn replaced(&self, leader: MemberId) {
        let mut seen = self.tracker.subscribe();
        loop {
            let other = |l: &quorate_types::Leadership| l.leader.is_some_and(|id| id != leader);
            if seen.wait_for(other).await.is_err() {
                return std::future::pending().await;
            }
            // It may have been a blink.
            let grace = self
                .timing()
                .patience
                .failover
                .max(Duration::from_millis(200));
            let back = seen.wait_for(|l| l.leader == Some(leader));
            if timeout(grace, back).await.is_err() {
                return;
            }
        }
    }
}

fn count(result: &Result<AppliedProposal, ProposeError>) {
    let outcome = match result {
        Ok(_) => "done",
        Err(ProposeError::NoQuorum { .. }) => "no_quorum",
        Err(ProposeError::Refused(_)) => "refused",
        Err(ProposeError::Unknown(_)) => "unknown",
    };
    metrics::counter!("quorate_proposals_total", "outcome" => outcome).increment(1);
}
