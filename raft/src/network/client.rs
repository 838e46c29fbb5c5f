//! openraft's calls to other members.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::{Stream, future::BoxFuture, stream::BoxStream};
use openraft::{
    LogIdOptionExt, OptionalSend,
    errors::{RPCError, ReplicationClosed, StreamingError},
    network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential},
    raft::StreamAppendResult,
};
use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};
use quorate_proto::peer::{self, append_response::Outcome};
use quorate_types::{Member, MemberId, Reason};
use tokio::time::timeout;
use tonic::Status;

use super::{
    Peer, Peers, RoundTrips,
    errors::{rpc_error, stalled, unreachable},
    pipeline, snapshot,
};
use crate::{
    election::wire_reason,
    node::{LogHistory, Tracker},
    storage::{
        SnapshotFile, convert,
        types::{Snapshot, Types, Vote},
    },
};

type AppendRequest = openraft::raft::AppendEntriesRequest<Types>;
type AppendResponse = openraft::raft::AppendEntriesResponse<Types>;
type VoteRequest = openraft::raft::VoteRequest<Types>;
type VoteResponse = openraft::raft::VoteResponse<Types>;
type TransferRequest = openraft::raft::TransferLeaderRequest<Types>;
type TransferResponse = openraft::raft::TransferLeaderResponse<Types>;
type SnapshotResponse = openraft::raft::SnapshotResponse<Types>;

/// How long to wait before calling a member again that could not be reached.
const BACKOFF: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

/// Heartbeats are waited for so many times as long as a voter has patience, to know how late
/// their answers are.
const LATE: u32 = 2;

/// Makes a [`Link`] for each member that openraft wants to call.
pub(crate) struct Links {
    pub(crate) peers: Arc<Peers>,
    pub(crate) tracker: Arc<Tracker>,
    pub(crate) history: Arc<LogHistory>,
    pub(crate) trips: Arc<RoundTrips>,
}

impl Links {
    fn link(&self, target: MemberId, member: &Member, heartbeat: bool) -> Link {
        self.peers.learn(target, member);
        Link {
            target,
            heartbeat,
            peers: self.peers.clone(),
            tracker: self.tracker.clone(),
            history: self.history.clone(),
            trips: self.trips.clone(),
        }
    }
}

impl RaftNetworkFactory<Types> for Links {
    type Network = Link;

    async fn new_client(&mut self, target: MemberId, member: &Member) -> Link {
        self.link(target, member, false)
    }

    async fn new_heartbeat_client(&mut self, target: MemberId, member: &Member) -> Link {
        self.link(target, member, true)
    }
}

/// Calls one member, wherever it is at the time.
pub(crate) struct Link {
    target: MemberId,
    heartbeat: bool,
    peers: Arc<Peers>,
    tracker: Arc<Tracker>,
    history: Arc<LogHistory>,
    trips: Arc<RoundTrips>,
}

impl Link {
    fn peer(&self) -> Result<Peer, RPCError<Types>> {
        let peer = self.peers.get(self.target);
        peer.ok_or_else(|| unreachable("its address is not known"))
    }

    async fn ask(&self, rpc: &VoteRequest) -> Result<(VoteResponse, Duration), RPCError<Types>> {
        let term = rpc.vote.leader_id.term;
        let reason = self
            .tracker
            .asks(term, rpc.leadership_transfer, Instant::now());
        let request = peer::VoteRequest {
            ballot: Some(convert::vote_to_proto(&rpc.vote)),
            last: convert::opt_log_id_to_proto(rpc.last_log_id.as_ref()),
            transfer: reason != Reason::Timeout,
            reason: wire_reason(reason).into(),
        };
        let mut client = self.peer()?.urgent;
        let answer = client.vote(request).await;
        let answer = answer.map_err(|s| rpc_error(&s))?.into_inner();
        let response = VoteResponse {
            vote: vote(answer.ballot)?,
            vote_granted: answer.granted,
            last_log_id: convert::opt_log_id_from_proto(answer.last.as_ref())
                .map_err(|e| rpc_error(&Status::internal(e.to_string())))?,
        };
        Ok((response, Duration::from_micros(answer.lease_left_us)))
    }
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendRequest,
        _option: RPCOption,
    ) -> Result<AppendResponse, RPCError<Types>> {
        let mut client = self.peer()?.urgent;
        let request = append_request(rpc, self.tracker.lease());
        let (target, trips, sent) = (self.target, self.trips.clone(), Instant::now());
        let pace = *self.tracker.pace().borrow();
        let (patience, late) = (pace.lease.answer(), pace.patience.election_max * LATE);
        // On its own: what takes too long is given up, and still it is to be known how long it
        // took.
        let call = tokio::spawn(timeout(late, async move {
            let answer = client.append(request).await;
            if answer.is_ok() {
                trips.note(target, sent.elapsed());
            }
            answer
        }));
        let answer = timeout(patience, call).await;
        let answer = answer.map_err(|_| stalled(patience))?;
        let answer = answer.map_err(unreachable)?;
        let answer = answer.map_err(|_| stalled(late))?;
        append_response(answer.map_err(|s| rpc_error(&s))?.into_inner())
    }

    /// A heartbeat is one call; the log goes through a stream.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendRequest> + OptionalSend + Unpin + 'static,
    {
        if self.heartbeat {
            return stream_append_sequential(self, input, option);
        }
        // One and the same of the others, as long as this member leads.
        let believed = planted(Mutant::QuorumOffByOne) && self.peers.after(0) == Some(self.target);
        Box::pin(async move {
            let (client, tracker) = (self.peer()?.control, self.tracker.clone());
            Ok(pipeline::open(client, input, tracker, believed))
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest,
        _option: RPCOption,
    ) -> Result<VoteResponse, RPCError<Types>> {
        let (response, left) = self.ask(&rpc).await?;
        if response.vote_granted && response.vote == rpc.vote {
            let term = rpc.vote.leader_id.term;
            self.tracker.vote_received(term, Instant::now(), left);
        }
        Ok(response)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse, StreamingError<Types>> {
        let client = self.peer().map_err(StreamingError::from)?.bulk;
        let last = snapshot.meta.last_log_id.index().unwrap_or_default();
        let hold = self.history.hold(self.target, last);
        let sent = snapshot::send(client, vote, snapshot, self.tracker.lease());
        let answer = tokio::select! {
            closed = cancel => return Err(StreamingError::Closed(closed)),
            answer = sent => answer?,
        };
        hold.arrived();
        Ok(SnapshotResponse::new(answer))
    }

    async fn transfer_leader(
        &mut self,
        request: TransferRequest,
        _option: RPCOption,
    ) -> Result<TransferResponse, RPCError<Types>> {
        let message = peer::TransferRequest {
            from: Some(convert::vote_to_proto(request.from_leader())),
            to: *request.to_node_id(),
            last: convert::opt_log_id_to_proto(request.last_log_id()),
        };
        let answer = self.peer()?.urgent.transfer_leader(message).await;
        let answer = answer.map_err(|s| rpc_error(&s))?.into_inner();
        if !answer.accepted {
            tracing::warn!(member = self.target, "refuses to take over: {}", answer.why);
        }
        Ok(Ok(()))
    }

    fn backoff(&self) -> Option<Backoff> {
        let last = BACKOFF[BACKOFF.len() - 1];
        Some(Backoff::new(
            BACKOFF.into_iter().chain(std::iter::repeat(last)),
        ))
    }
}

fn vote(ballot: Option<peer::Ballot>) -> Result<Vote, RPCError<Types>> {
    let malformed = |why: String| rpc_error(&Status::internal(why));
    let ballot = ballot.ok_or_else(|| malformed("the answer lacks its ballot".to_owned()))?;
    convert::vote_from_proto(&ballot).map_err(|e| malformed(e.to_string()))
}

/// `lease`: how long the leader's lease will run, counted from when it took this in hand.
pub(super) fn append_request(rpc: AppendRequest, lease: Duration) -> peer::AppendRequest {
    peer::AppendRequest {
        ballot: Some(convert::vote_to_proto(&rpc.vote)),
        previous: convert::opt_log_id_to_proto(rpc.prev_log_id.as_ref()),
        entries: rpc.entries.iter().map(convert::entry_to_proto).collect(),
        committed: convert::opt_log_id_to_proto(rpc.leader_commit.as_ref()),
        lease_us: micros(lease),
    }
}

/// Rounded up, for the other side.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
}

pub(super) fn append_response(
    answer: peer::AppendResponse,
) -> Result<AppendResponse, RPCError<Types>> {
    match answer.outcome {
        Some(Outcome::Success(_)) => Ok(AppendResponse::Success),
        Some(Outcome::Conflict(_)) => Ok(AppendResponse::Conflict),
        Some(Outcome::Higher(ballot)) => Ok(AppendResponse::HigherVote(vote(Some(ballot))?)),
        Some(Outcome::Partial(id)) => convert::log_id_from_proto(&id)
            .map(|id| AppendResponse::PartialSuccess(Some(id)))
            .map_err(|e| rpc_error(&Status::internal(e.to_string()))),
        None => Err(rpc_error(&Status::internal(
            "the answer to an append is empty",
        ))),
    }
}
