//! Server on the peer port: answers the calls of other members.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt, stream::BoxStream};
use openraft::{
    errors::Fatal,
    raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest},
};
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_proto::peer::{self, append_response, raft_server};
use quorate_types::{ElectionReason, MemberId, MemberList};
use tokio::sync::{Semaphore, watch};
use tonic::{Request, Response, Status, Streaming};

use super::{
    AppendIntake, CallerCheck, caller_check::Caller, raft_messages::micros, snapshot_transfer,
};
use crate::{
    ballot::ElectionBallot,
    consensus::ConsensusHandle,
    election::{ElectionParticipant, ElectionState},
    membership::MemberRegistry,
    node::{AppliedIndex, LeaderAttempt, LogProposer, ReadBarrier},
    storage::{
        SnapshotAccess,
        convert::{self, MalformedProto},
        raft_types::{LogEntryId, StoredVote, Types},
    },
};

/// Snapshots that may come in at the same time: the one of a new leader need not wait until
/// that of a dead one has been given up.
pub(crate) const MAX_INCOMING: usize = 2;

/// Answers other members. Cheap to clone.
#[derive(Clone)]
pub(crate) struct PeerServer {
    pub(crate) cluster: String,
    pub(crate) callers: CallerCheck,
    pub(crate) consensus: Arc<ConsensusHandle>,
    pub(crate) intake: Arc<AppendIntake>,
    pub(crate) participant: Arc<ElectionParticipant>,
    pub(crate) proposer: Arc<LogProposer>,
    pub(crate) reads: Arc<ReadBarrier>,
    pub(crate) registry: Arc<MemberRegistry>,
    pub(crate) members: watch::Receiver<MemberList>,
    pub(crate) applied: AppliedIndex,
    pub(crate) snapshots: Arc<SnapshotAccess>,
    /// Permits for snapshots that come in.
    pub(crate) incoming: Arc<Semaphore>,
}

type PeerReply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl raft_server::Raft for PeerServer {
    type AppendStreamStream = BoxStream<'static, Result<peer::AppendResponse, Status>>;

    async fn append(
        &self,
        request: Request<peer::AppendRequest>,
    ) -> PeerReply<peer::AppendResponse> {
        let at = Instant::now();
        let caller = self.callers.caller(request.extensions());
        let request = request.into_inner();
        let lease = Duration::from_micros(request.lease_us);
        let request = append_request(request)?;
        let ballot = ElectionBallot::from(&request.vote);
        caller.speaks_for(ballot.member)?;
        let request = if request.entries.is_empty() {
            match self.intake.answer_heartbeat(request, at, lease).await? {
                None => {
                    let success = append_response::Outcome::Success(true);
                    return Ok(Response::new(accepted(success)));
                }
                Some(request) => request,
            }
        } else {
            request
        };
        self.intake.arrived(ballot, at, lease).await?;
        let answer = self.consensus.raft.append_entries(request).await;
        let answer = answer.map_err(|e| stopped(&e))?;
        Ok(Response::new(appended(&self.consensus, answer, ballot, at)))
    }

    async fn append_stream(
        &self,
        request: Request<Streaming<peer::AppendRequest>>,
    ) -> PeerReply<Self::AppendStreamStream> {
        let arrivals = Arc::new(Mutex::new(VecDeque::new()));
        let caller = self.callers.caller(request.extensions());
        let intake = self.intake.clone();
        let input = arriving(request.into_inner(), caller, intake, arrivals.clone());
        let consensus = self.consensus.clone();
        let output = self.consensus.raft.stream_append(input).map(move |answer| {
            let arrival = arrivals.lock().pop_front();
            let (ballot, at) = arrival.ok_or_else(|| Status::internal("an answer too many"))?;
            let answer = AppendEntriesResponse::from(answer.map_err(|e| fatal(&e))?);
            Ok(appended(&consensus, answer, ballot, at))
        });
        Ok(Response::new(output.boxed()))
    }

    async fn vote(&self, request: Request<peer::VoteRequest>) -> PeerReply<peer::VoteResponse> {
        let caller = self.callers.caller(request.extensions());
        let asked = request.into_inner();
        let request = vote_request(&asked)?;
        let ballot = ElectionBallot::from(&request.vote);
        caller.speaks_for(ballot.member)?;
        let state = self.election_state().await?;
        let free = self
            .participant
            .may_grant_vote(&state, asked.reason(), asked.transfer);
        if !free {
            return Ok(vote_response(&state.vote, false, state.last.as_ref()));
        }
        let answer = self.consensus.raft.vote(request).await;
        let answer = answer.map_err(|e| stopped(&e))?;
        let granted = answer.vote_granted;
        let mut response = vote_response(&answer.vote, granted, answer.last_log_id.as_ref());
        if granted {
            // The vote is on disk; from here on no earlier leader is answered.
            let left = self.consensus.tracker.voted(ballot, Instant::now());
            response.get_mut().lease_left_us = micros(left);
        }
        Ok(response)
    }

    async fn pre_vote(&self, request: Request<peer::VoteRequest>) -> PeerReply<peer::VoteResponse> {
        let caller = self.callers.caller(request.extensions());
        let asked = request.into_inner();
        let request = vote_request(&asked)?;
        caller.speaks_for(ElectionBallot::from(&request.vote).member)?;
        let state = self.election_state().await?;
        let (reason, last) = (asked.reason(), request.last_log_id);
        let granted = self
            .participant
            .would_grant_pre_vote(&state, &request.vote, last, reason);
        Ok(vote_response(&state.vote, granted, state.last.as_ref()))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<peer::SnapshotChunk>>,
    ) -> PeerReply<peer::SnapshotResponse> {
        let at = Instant::now();
        let caller = self.callers.caller(request.extensions());
        let mut chunks = request.into_inner();
        let Some(peer::snapshot_chunk::Part::Header(header)) =
            snapshot_transfer::next(&mut chunks).await?
        else {
            return Err(Status::invalid_argument(
                "a snapshot begins with its header",
            ));
        };
        let vote = vote(header.ballot.as_ref())?;
        let lease = Duration::from_micros(header.lease_us);
        let ballot = ElectionBallot::from(&vote);
        caller.speaks_for(ballot.member)?;
        self.intake.arrived(ballot, at, lease).await?;
        let Ok(_one) = self.incoming.try_acquire() else {
            return Err(Status::resource_exhausted("other snapshots are coming in"));
        };
        let snapshots = self.snapshots.get();
        let snapshots =
            snapshots.ok_or_else(|| Status::unavailable("this member is shutting down"))?;
        let snapshot = snapshot_transfer::receive(header, chunks, &snapshots).await?;
        drop(snapshots);
        let answer = self
            .consensus
            .raft
            .install_full_snapshot(vote, snapshot)
            .await;
        let answer = answer.map_err(|e| fatal(&e))?;
        if answer.vote == vote {
            self.consensus.tracker.accepted(ballot, at, Instant::now());
        }
        Ok(Response::new(peer::SnapshotResponse {
            ballot: Some(convert::vote_to_proto(&answer.vote)),
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<peer::TransferRequest>,
    ) -> PeerReply<peer::TransferResponse> {
        let caller = self.callers.caller(request.extensions());
        let request = request.into_inner();
        let from = vote(request.from.as_ref())?;
        caller.speaks_for(ElectionBallot::from(&from).member)?;
        let last = convert::opt_log_id_from_proto(request.last.as_ref()).map_err(malformed)?;
        if request.to == self.consensus.id {
            let term = from.leader_id.term + 1;
            self.consensus
                .tracker
                .campaigns(term, ElectionReason::Transfer, Instant::now());
        }
        let request = TransferLeaderRequest::new(from, request.to, last);
        let answer = self.consensus.raft.handle_transfer_leader(request).await;
        let answer = answer.map_err(|e| fatal(&e))?;
        Ok(Response::new(peer::TransferResponse {
            accepted: answer.is_ok(),
            why: answer.err().map(|e| e.to_string()).unwrap_or_default(),
        }))
    }

    async fn propose(
        &self,
        request: Request<peer::ProposeRequest>,
    ) -> PeerReply<peer::ProposeResponse> {
        use peer::propose_response::Outcome;
        let request = request.into_inner();
        let deadline = deadline(request.deadline_ms);
        let tried = self.proposer.propose_here(request.command, None, deadline);
        let outcome = match tried.await {
            LeaderAttempt::Done(done) => Outcome::Done(peer::Proposed {
                index: done.index,
                answer: done.answer,
            }),
            LeaderAttempt::NotLeader(leader) => Outcome::NotLeader(self.not_leader(leader)),
            LeaderAttempt::Refused(why) => Outcome::Refused(why),
            LeaderAttempt::Unknown(why) => Outcome::Unknown(why),
        };
        Ok(Response::new(peer::ProposeResponse {
            outcome: Some(outcome),
        }))
    }

    async fn read_index(
        &self,
        request: Request<peer::ReadIndexRequest>,
    ) -> PeerReply<peer::ReadIndexResponse> {
        use peer::read_index_response::Outcome;
        let deadline = deadline(request.into_inner().deadline_ms);
        let outcome = match self.reads.read_index_here(deadline).await {
            Ok(index) => Outcome::Index(index),
            Err(leader) => Outcome::NotLeader(self.not_leader(leader)),
        };
        Ok(Response::new(peer::ReadIndexResponse {
            outcome: Some(outcome),
        }))
    }

    async fn admit(&self, request: Request<peer::AdmitRequest>) -> PeerReply<peer::AdmitResponse> {
        use peer::admit_response::Outcome;
        let caller = self.callers.caller(request.extensions());
        let request = request.into_inner();
        let deadline = deadline(request.deadline_ms);
        let member = request.member.map(convert::member_from_proto);
        let member = member.ok_or_else(|| Status::invalid_argument("the member is missing"))?;
        caller.may_enter(request.id, &member.name)?;
        let tried = self
            .registry
            .admit_here(request.id, member, request.vote, deadline);
        let outcome = match tried.await {
            LeaderAttempt::Done((id, voter)) => Outcome::Admitted(peer::Admitted {
                id,
                cluster: self.cluster.clone(),
                voter,
            }),
            LeaderAttempt::NotLeader(leader) => Outcome::NotLeader(self.not_leader(leader)),
            LeaderAttempt::Refused(why) => Outcome::Refused(why),
            LeaderAttempt::Unknown(why) => return Err(Status::aborted(why)),
        };
        Ok(Response::new(peer::AdmitResponse {
            outcome: Some(outcome),
        }))
    }

    async fn applied(
        &self,
        request: Request<peer::AppliedRequest>,
    ) -> PeerReply<peer::AppliedResponse> {
        let request = request.into_inner();
        self.applied
            .wait_for(request.index, deadline(request.wait_ms))
            .await;
        Ok(Response::new(peer::AppliedResponse {
            index: self.applied.current(),
        }))
    }
}

impl PeerServer {
    async fn election_state(&self) -> Result<ElectionState, Status> {
        let state = ElectionState::read(&self.consensus).await;
        state.ok_or_else(|| Status::unavailable("this member has stopped"))
    }

    /// Returns the answer of a member that does not lead.
    fn not_leader(&self, leader: Option<MemberId>) -> peer::NotLeader {
        let members = self.members.borrow();
        let known = members.iter().find(|m| Some(m.id) == leader);
        peer::NotLeader {
            leader: leader.unwrap_or_default(),
            member: known.map(|m| convert::member_to_proto(&m.member)),
        }
    }
}

/// Tells the tracker of an append that openraft has accepted, and returns the answer to it.
fn appended(
    consensus: &ConsensusHandle,
    answer: AppendEntriesResponse<Types>,
    ballot: ElectionBallot,
    at: Instant,
) -> peer::AppendResponse {
    use append_response::Outcome;
    let outcome = match answer {
        AppendEntriesResponse::HigherVote(vote) => Outcome::Higher(convert::vote_to_proto(&vote)),
        answer => {
            // A conflict, too, is an answer to the leader.
            consensus.tracker.accepted(ballot, at, Instant::now());
            match answer {
                AppendEntriesResponse::PartialSuccess(Some(id)) => {
                    Outcome::Partial(convert::log_id_to_proto(&id))
                }
                AppendEntriesResponse::Conflict => Outcome::Conflict(true),
                _ => Outcome::Success(true),
            }
        }
    };
    accepted(outcome)
}

fn accepted(outcome: append_response::Outcome) -> peer::AppendResponse {
    peer::AppendResponse {
        outcome: Some(outcome),
    }
}

/// Returns the requests of a stream, each noted on arrival; ends at the first that makes no
/// sense.
fn arriving(
    stream: Streaming<peer::AppendRequest>,
    caller: Caller,
    intake: Arc<AppendIntake>,
    arrivals: Arc<Mutex<VecDeque<(ElectionBallot, Instant)>>>,
) -> impl Stream<Item = AppendEntriesRequest<Types>> + Send + 'static {
    stream
        .then(move |message| {
            let at = Instant::now();
            let (intake, arrivals) = (intake.clone(), arrivals.clone());
            let caller = caller.clone();
            async move {
                let message = message?;
                let lease = Duration::from_micros(message.lease_us);
                let request = append_request(message)?;
                let ballot = ElectionBallot::from(&request.vote);
                caller.speaks_for(ballot.member)?;
                intake.arrived(ballot, at, lease).await?;
                arrivals.lock().push_back((ballot, at));
                Ok(request)
            }
        })
        .take_while(|request: &Result<_, Status>| {
            if let Err(why) = request {
                tracing::debug!("a replication stream has ended: {}", why.message());
            }
            std::future::ready(request.is_ok())
        })
        .filter_map(|request| std::future::ready(request.ok()))
}

fn append_request(request: peer::AppendRequest) -> Result<AppendEntriesRequest<Types>, Status> {
    let entries = request.entries.into_iter().map(convert::entry_from_proto);
    Ok(AppendEntriesRequest {
        vote: vote(request.ballot.as_ref())?,
        prev_log_id: convert::opt_log_id_from_proto(request.previous.as_ref())
            .map_err(malformed)?,
        entries: entries.collect::<Result<_, _>>().map_err(malformed)?,
        leader_commit: convert::opt_log_id_from_proto(request.committed.as_ref())
            .map_err(malformed)?,
    })
}

/// Builds a request for openraft, whose own patience counts for nothing: see
/// [`crate::election`].
fn vote_request(request: &peer::VoteRequest) -> Result<VoteRequest<Types>, Status> {
    Ok(VoteRequest {
        vote: vote(request.ballot.as_ref())?,
        last_log_id: convert::opt_log_id_from_proto(request.last.as_ref()).map_err(malformed)?,
        leadership_transfer: true,
    })
}

fn vote_response(
    vote: &StoredVote,
    granted: bool,
    last: Option<&LogEntryId>,
) -> Response<peer::VoteResponse> {
    Response::new(peer::VoteResponse {
        ballot: Some(convert::vote_to_proto(vote)),
        granted,
        last: convert::opt_log_id_to_proto(last),
        lease_left_us: 0,
    })
}

fn vote(ballot: Option<&peer::Ballot>) -> Result<StoredVote, Status> {
    let ballot = ballot.ok_or_else(|| Status::invalid_argument("the ballot is missing"))?;
    convert::vote_from_proto(ballot).map_err(malformed)
}

fn malformed(e: MalformedProto) -> Status {
    Status::invalid_argument(e.to_string())
}

fn deadline(ms: u64) -> Instant {
    // Nobody waits longer than this; it also keeps the sum in range.
    Instant::now() + Duration::from_millis(ms.min(3_600_000))
}

fn stopped(e: &openraft::errors::RaftError<Types>) -> Status {
    Status::unavailable(format!("this member has stopped: {e}"))
}

fn fatal(e: &Fatal<Types>) -> Status {
    Status::unavailable(format!("this member has stopped: {e}"))
}
