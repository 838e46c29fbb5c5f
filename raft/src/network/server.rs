//! The service on the peer port.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt, stream::BoxStream};
use openraft::{
    error::Fatal,
    raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest},
};
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_proto::peer::{self, append_response, raft_server};
use quorate_types::ElectionReason;
use tonic::{Request, Response, Status, Streaming};

use super::{ballot_of, peer_link::micros, snapshot_transfer};
use crate::{
    election::ElectionState,
    node::{ElectionBallot, LeaderAttempt, NodeInner},
    storage::{
        convert::{self, MalformedProto},
        raft_types::{LogEntryId, StoredVote, Types},
    },
};

/// Snapshots that may come in at the same time: the one of a new leader need not wait until
/// that of a dead one has been given up.
pub(crate) const MAX_INCOMING: usize = 2;

/// Answers other members.
pub(crate) struct PeerServer {
    pub(crate) node: Arc<NodeInner>,
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
        let request = request.into_inner();
        let lease = Duration::from_micros(request.lease_us);
        let request = append_request(request)?;
        let ballot = ballot_of(&request.vote);
        if request.entries.is_empty() {
            self.node.persist_lease_length(lease, at).await?;
            if !self.node.keeps_heartbeat(at) && self.node.tracker.answers(ballot, at, lease) {
                self.node.forward_heartbeat(request, at);
                return Ok(Response::new(accepted(append_response::Outcome::Success(
                    true,
                ))));
            }
        }
        self.node.arrived(ballot, at, lease).await?;
        let answer = self.node.raft.append_entries(request).await;
        let answer = answer.map_err(|e| stopped(&e))?;
        Ok(Response::new(self.appended(answer, ballot, at)))
    }

    async fn append_stream(
        &self,
        request: Request<Streaming<peer::AppendRequest>>,
    ) -> PeerReply<Self::AppendStreamStream> {
        let node = self.node.clone();
        let arrivals = Arc::new(Mutex::new(VecDeque::new()));
        let input = arriving(request.into_inner(), node.clone(), arrivals.clone());
        let server = PeerServer { node };
        let output = self.node.raft.stream_append(input).map(move |answer| {
            let arrival = arrivals.lock().pop_front();
            let (ballot, at) = arrival.ok_or_else(|| Status::internal("an answer too many"))?;
            let answer = AppendEntriesResponse::from(answer.map_err(|e| fatal(&e))?);
            Ok(server.appended(answer, ballot, at))
        });
        Ok(Response::new(output.boxed()))
    }

    async fn vote(&self, request: Request<peer::VoteRequest>) -> PeerReply<peer::VoteResponse> {
        let asked = request.into_inner();
        let request = vote_request(&asked)?;
        let ballot = ballot_of(&request.vote);
        let seat = self.election_state().await?;
        let free = self
            .node
            .may_grant_vote(&seat, asked.reason(), asked.transfer);
        if !free {
            return Ok(vote_response(&seat.vote, false, seat.last.as_ref()));
        }
        let answer = self.node.raft.vote(request).await;
        let answer = answer.map_err(|e| stopped(&e))?;
        let granted = answer.vote_granted;
        let mut response = vote_response(&answer.vote, granted, answer.last_log_id.as_ref());
        if granted {
            // The vote is on disk; from here on no earlier leader is answered.
            let left = self.node.tracker.voted(ballot, Instant::now());
            response.get_mut().lease_left_us = micros(left);
        }
        Ok(response)
    }

    async fn pre_vote(&self, request: Request<peer::VoteRequest>) -> PeerReply<peer::VoteResponse> {
        let asked = request.into_inner();
        let request = vote_request(&asked)?;
        let seat = self.election_state().await?;
        let (reason, last) = (asked.reason(), request.last_log_id);
        let granted = self
            .node
            .would_grant_pre_vote(&seat, &request.vote, last, reason);
        Ok(vote_response(&seat.vote, granted, seat.last.as_ref()))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<peer::SnapshotChunk>>,
    ) -> PeerReply<peer::SnapshotResponse> {
        let at = Instant::now();
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
        self.node.arrived(ballot_of(&vote), at, lease).await?;
        let Ok(_one) = self.node.incoming.try_acquire() else {
            return Err(Status::resource_exhausted("other snapshots are coming in"));
        };
        let snapshots = self.node.snapshots()?;
        let snapshot = snapshot_transfer::receive(header, chunks, &snapshots).await?;
        drop(snapshots);
        let answer = self.node.raft.install_full_snapshot(vote, snapshot).await;
        let answer = answer.map_err(|e| fatal(&e))?;
        if answer.vote == vote {
            self.node
                .tracker
                .accepted(ballot_of(&vote), at, Instant::now());
        }
        Ok(Response::new(peer::SnapshotResponse {
            ballot: Some(convert::vote_to_proto(&answer.vote)),
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<peer::TransferRequest>,
    ) -> PeerReply<peer::TransferResponse> {
        let request = request.into_inner();
        let from = vote(request.from.as_ref())?;
        let last = convert::opt_log_id_from_proto(request.last.as_ref()).map_err(malformed)?;
        if request.to == self.node.id {
            let term = from.leader_id.term + 1;
            self.node
                .tracker
                .campaigns(term, ElectionReason::Transfer, Instant::now());
        }
        let request = TransferLeaderRequest::new(from, request.to, last);
        let answer = self.node.raft.handle_transfer_leader(request).await;
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
        let outcome = match self
            .node
            .propose_here(request.command, None, deadline)
            .await
        {
            LeaderAttempt::Done(done) => Outcome::Done(peer::Proposed {
                index: done.index,
                answer: done.answer,
            }),
            LeaderAttempt::NotLeader(leader) => Outcome::NotLeader(self.node.not_leader(leader)),
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
        let outcome = match self.node.read_index_here(deadline).await {
            Ok(index) => Outcome::Index(index),
            Err(leader) => Outcome::NotLeader(self.node.not_leader(leader)),
        };
        Ok(Response::new(peer::ReadIndexResponse {
            outcome: Some(outcome),
        }))
    }

    async fn admit(&self, request: Request<peer::AdmitRequest>) -> PeerReply<peer::AdmitResponse> {
        use peer::admit_response::Outcome;
        let request = request.into_inner();
        let deadline = deadline(request.deadline_ms);
        let member = request.member.map(convert::member_from_proto);
        let member = member.ok_or_else(|| Status::invalid_argument("the member is missing"))?;
        let tried = self
            .node
            .admit_here(request.id, member, request.vote, deadline);
        let outcome = match tried.await {
            LeaderAttempt::Done((id, voter)) => Outcome::Admitted(peer::Admitted {
                id,
                cluster: self.node.cluster.clone(),
                voter,
            }),
            LeaderAttempt::NotLeader(leader) => Outcome::NotLeader(self.node.not_leader(leader)),
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
        self.node
            .wait_applied(request.index, deadline(request.wait_ms))
            .await;
        Ok(Response::new(peer::AppliedResponse {
            index: self.node.applied(),
        }))
    }
}

impl NodeInner {
    /// An append or snapshot of a leader arrived at `at`, with this lease. To be called before
    /// openraft sees it.
    async fn arrived(
        &self,
        ballot: ElectionBallot,
        at: Instant,
        lease: Duration,
    ) -> Result<(), Status> {
        self.persist_lease_length(lease, at).await?;
        self.tracker.arrived(ballot, at, lease);
        Ok(())
    }

    /// Writes down that a lease may be so long, unless that stands there.
    async fn persist_lease_length(&self, lease: Duration, at: Instant) -> Result<(), Status> {
        let covered = self.longest.cover(lease, at).await;
        covered.map_err(|e| Status::unavailable(format!("the lease can't be written down: {e}")))
    }

    /// Whether openraft has kept a heartbeat for so long that it does not take anything down.
    fn keeps_heartbeat(&self, now: Instant) -> bool {
        let most = self.timing().patience.failover;
        let since = *self.pending_heartbeat_since.lock();
        since.is_some_and(|since| now.saturating_duration_since(since) > most)
    }

    /// Gives openraft a heartbeat that is answered already, unless it has another of them: it
    /// may wait for the disk with it, and the next ones say no less.
    fn forward_heartbeat(self: &Arc<Self>, heartbeat: AppendEntriesRequest<Types>, at: Instant) {
        {
            let mut since = self.pending_heartbeat_since.lock();
            if since.is_some() {
                return;
            }
            *since = Some(at);
        }
        let node = self.clone();
        tokio::spawn(async move {
            let ballot = ballot_of(&heartbeat.vote);
            let answer = node.raft.append_entries(heartbeat).await;
            if !matches!(answer, Ok(AppendEntriesResponse::Success)) {
                node.tracker.doubts(ballot);
            }
            *node.pending_heartbeat_since.lock() = None;
        });
    }
}

impl PeerServer {
    async fn election_state(&self) -> Result<ElectionState, Status> {
        let seat = self.node.election_state().await;
        seat.ok_or_else(|| Status::unavailable("this member has stopped"))
    }

    fn appended(
        &self,
        answer: AppendEntriesResponse<Types>,
        ballot: ElectionBallot,
        at: Instant,
    ) -> peer::AppendResponse {
        use append_response::Outcome;
        let outcome = match answer {
            AppendEntriesResponse::HigherVote(vote) => {
                Outcome::Higher(convert::vote_to_proto(&vote))
            }
            accepted => {
                // A conflict, too, is an answer to the leader.
                self.node.tracker.accepted(ballot, at, Instant::now());
                match accepted {
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
}

fn accepted(outcome: append_response::Outcome) -> peer::AppendResponse {
    peer::AppendResponse {
        outcome: Some(outcome),
    }
}

/// The requests of a stream, each noted on arrival; ends at the first that makes no sense.
fn arriving(
    stream: Streaming<peer::AppendRequest>,
    node: Arc<NodeInner>,
    arrivals: Arc<Mutex<VecDeque<(ElectionBallot, Instant)>>>,
) -> impl Stream<Item = AppendEntriesRequest<Types>> + Send + 'static {
    stream
        .then(move |message| {
            let at = Instant::now();
            let (node, arrivals) = (node.clone(), arrivals.clone());
            async move {
                let message = message?;
                let lease = Duration::from_micros(message.lease_us);
                let request = append_request(message)?;
                let ballot = ballot_of(&request.vote);
                node.arrived(ballot, at, lease).await?;
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

/// For openraft, whose own patience counts for nothing: see [`crate::election`].
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
