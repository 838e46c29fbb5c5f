//! Proposals from any member to the leader, with one of three outcomes.
//!
//! *Done* is a proposal that the leader answered after it applied the entry. *Surely not done*
//! is only a proposal that openraft turned away before it appended anything
//! (`ForwardToLeader`), or that was never sent to another member or refused at its gate; it is
//! tried again until the deadline and ends as [`ProposeError::NoQuorum`] or
//! [`ProposeError::Refused`]. Everything else is *unknown*: an entry that was appended and not
//! committed in time, an entry that was discarded from this leader's log (another leader may
//! have committed it), a connection that broke or stayed silent after the request was sent. An
//! unknown outcome is answered as such and never tried again.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use openraft::{errors::Fatal, impls::ProgressResponder};
use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};
use quorate_proto::peer::{self, propose_response::Outcome};
use quorate_types::{MemberId, ProposeError};
use tokio::time::{timeout, timeout_at};

use super::{
    applied_index::AppliedIndex,
    leader_attempt::LeaderAttempt,
    leader_retry::LeaderRetry,
    proposal_budget::{ProposalBudget, ProposalPermit},
};
use crate::{
    consensus::ConsensusHandle,
    network::{CallEffect, MAX_COMMAND, PeerDirectory, call_effect},
    storage::raft_types::{LeaderId, ProposedCommand, Types},
};

/// Command that is committed and applied, here too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedProposal {
    /// The log index of its entry.
    pub index: u64,
    /// The answer of the machine.
    pub answer: Bytes,
}

/// Proposes commands for the callers at one member.
pub(crate) struct LogProposer {
    consensus: Arc<ConsensusHandle>,
    peers: Arc<PeerDirectory>,
    applied: AppliedIndex,
    /// Room for proposals that are under way at this member.
    budget: ProposalBudget,
}

impl LogProposer {
    pub(super) fn new(
        consensus: Arc<ConsensusHandle>,
        peers: Arc<PeerDirectory>,
        applied: AppliedIndex,
    ) -> Self {
        LogProposer {
            consensus,
            peers,
            applied,
            budget: ProposalBudget::new(),
        }
    }

    /// See [`Node::propose`](super::Node::propose).
    pub(super) async fn propose(
        &self,
        command: Bytes,
        deadline: Instant,
    ) -> Result<AppliedProposal, ProposeError> {
        let result = self.propose_at_leader(command, deadline).await;
        count(&result);
        result
    }

    /// See [`Node::propose_in_term`](super::Node::propose_in_term).
    pub(super) async fn propose_in_term(
        &self,
        term: u64,
        command: Bytes,
        deadline: Instant,
    ) -> Result<AppliedProposal, ProposeError> {
        let started = Instant::now();
        let waited_ms = || started.elapsed().as_millis() as u64;
        let result = match self.propose_here(command, Some(term), deadline).await {
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

    async fn propose_at_leader(
        &self,
        command: Bytes,
        deadline: Instant,
    ) -> Result<AppliedProposal, ProposeError> {
        let mut retry = LeaderRetry::new(&self.consensus, &self.peers, deadline);
        loop {
            let tried = match retry.leader() {
                None => LeaderAttempt::NotLeader(None),
                Some(id) if id == self.consensus.id => {
                    self.propose_here(command.clone(), None, deadline).await
                }
                Some(id) => self.propose_at(id, command.clone(), &mut retry).await,
            };
            match tried {
                LeaderAttempt::Done(done) => {
                    // It is done, whether or not this member gets to see it in time.
                    self.applied.wait_for(done.index, deadline).await;
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

    /// Proposes at this member, which must lead, and in `term` if that is given.
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
        if !self.consensus.is_running() || !self.consensus.is_confirmed() {
            return LeaderAttempt::NotLeader(None);
        }
        let Some(permit) = self.budget.take(command.len(), deadline).await else {
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
            .consensus
            .raft
            .write(ProposedCommand(command))
            .responder(responder);
        if let Some(term) = term {
            request = request.with_leader(LeaderId {
                term,
                node_id: self.consensus.id,
            });
        }
        request.await?;
        let result = entrusted.answer().await.ok_or(Fatal::Stopped)?;
        Ok(match result {
            Ok(done) => LeaderAttempt::Done(AppliedProposal {
                index: done.log_id.index,
                answer: done.data.0,
            }),
            Err(e) => LeaderAttempt::from_write_error(self.consensus.id, e),
        })
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
            until = until.min(Instant::now() + self.consensus.timing().patience.failover / 12);
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

    /// Returns some time after another member than `leader` was seen to lead: an answer of
    /// `leader` would have arrived by then.
    async fn replaced(&self, leader: MemberId) {
        let mut seen = self.consensus.tracker.subscribe();
        loop {
            let other = |l: &quorate_types::Leadership| l.leader.is_some_and(|id| id != leader);
            if seen.wait_for(other).await.is_err() {
                return std::future::pending().await;
            }
            // It may have been a blink.
            let grace = self
                .consensus
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
        Err(ProposeError::Refused(_) | ProposeError::Sealed(_)) => "refused",
        Err(ProposeError::Unknown(_)) => "unknown",
    };
    metrics::counter!("quorate_proposals_total", "outcome" => outcome).increment(1);
}
