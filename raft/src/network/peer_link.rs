//! Links by which openraft calls other members.

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
use quorate_proto::peer;
use quorate_types::{ElectionReason, Member, MemberId};
use tokio::time::timeout;

use super::{
    FollowerPromises, PeerConnections, PeerDirectory, RoundTrips,
    call_errors::{rpc_error, stalled, unreachable},
    follower_promises::SentAppend,
    pipeline::{self, FollowerLog},
    raft_messages::{append_request, append_response, malformed, vote},
    snapshot_transfer,
};
use crate::{
    election::wire_reason,
    node::{LeadershipTracker, LogRetention},
    storage::{
        FileSnapshot, SnapshotFile, convert,
        raft_types::{StoredVote, Types},
    },
};

type RaftAppendRequest = openraft::raft::AppendEntriesRequest<Types>;
type RaftAppendResponse = openraft::raft::AppendEntriesResponse<Types>;
type RaftVoteRequest = openraft::raft::VoteRequest<Types>;
type RaftVoteResponse = openraft::raft::VoteResponse<Types>;
type RaftTransferRequest = openraft::raft::TransferLeaderRequest<Types>;
type RaftTransferResponse = openraft::raft::TransferLeaderResponse<Types>;
type RaftSnapshotResponse = openraft::raft::SnapshotResponse<Types>;

/// Pauses before a member is called again that could not be reached.
const BACKOFF: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

/// Time for a late answer to a heartbeat, in the patience of a voter: to know how late it is.
const LATE: u32 = 2;

/// Makes a [`PeerLink`] for each member that openraft wants to call.
pub(crate) struct PeerLinkFactory {
    pub(crate) peers: Arc<PeerDirectory>,
    pub(crate) tracker: Arc<LeadershipTracker>,
    pub(crate) retention: Arc<LogRetention>,
    pub(crate) round_trips: Arc<RoundTrips>,
    pub(crate) promises: Arc<FollowerPromises>,
}

impl PeerLinkFactory {
    fn link(&self, target: MemberId, member: &Member, heartbeat: bool) -> PeerLink {
        self.peers.learn(target, member);
        PeerLink {
            target,
            heartbeat,
            peers: self.peers.clone(),
            tracker: self.tracker.clone(),
            retention: self.retention.clone(),
            round_trips: self.round_trips.clone(),
            promises: self.promises.clone(),
        }
    }
}

impl RaftNetworkFactory<Types> for PeerLinkFactory {
    type Network = PeerLink;

    async fn new_client(&mut self, target: MemberId, member: &Member) -> PeerLink {
        self.link(target, member, false)
    }

    async fn new_heartbeat_client(&mut self, target: MemberId, member: &Member) -> PeerLink {
        self.link(target, member, true)
    }
}

/// Calls one member, wherever it is at the time.
pub(crate) struct PeerLink {
    target: MemberId,
    heartbeat: bool,
    peers: Arc<PeerDirectory>,
    tracker: Arc<LeadershipTracker>,
    retention: Arc<LogRetention>,
    round_trips: Arc<RoundTrips>,
    promises: Arc<FollowerPromises>,
}

impl PeerLink {
    fn peer(&self) -> Result<PeerConnections, RPCError<Types>> {
        let peer = self.peers.get(self.target);
        peer.ok_or_else(|| unreachable("its address is not known"))
    }

    async fn ask(
        &self,
        rpc: &RaftVoteRequest,
    ) -> Result<(RaftVoteResponse, Duration), RPCError<Types>> {
        let term = rpc.vote.leader_id.term;
        let reason = self
            .tracker
            .asks(term, rpc.leadership_transfer, Instant::now());
        let request = peer::VoteRequest {
            ballot: Some(convert::vote_to_proto(&rpc.vote)),
            last: convert::opt_log_id_to_proto(rpc.last_log_id.as_ref()),
            transfer: reason != ElectionReason::Timeout,
            reason: wire_reason(reason).into(),
        };
        let mut client = self.peer()?.urgent;
        let answer = client.vote(request).await;
        let answer = answer.map_err(|s| rpc_error(&s))?.into_inner();
        let response = RaftVoteResponse {
            vote: vote(answer.ballot)?,
            vote_granted: answer.granted,
            last_log_id: convert::opt_log_id_from_proto(answer.last.as_ref())
                .map_err(|e| malformed(&e))?,
        };
        Ok((response, Duration::from_micros(answer.lease_left_us)))
    }
}

impl RaftNetworkV2<Types> for PeerLink {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: RaftAppendRequest,
        _option: RPCOption,
    ) -> Result<RaftAppendResponse, RPCError<Types>> {
        let mut client = self.peer()?.urgent;
        let sent_append = SentAppend::from(&rpc);
        let request = append_request(rpc, self.tracker.lease());
        let (target, trips, sent) = (self.target, self.round_trips.clone(), Instant::now());
        let timing = *self.tracker.timing().borrow();
        let (patience, late) = (timing.lease.answer(), timing.patience.election_max * LATE);
        // On its own: a call that takes too long is given up, and how long it took is to be
        // known all the same.
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
        let answer = append_response(answer.map_err(|s| rpc_error(&s))?.into_inner())?;
        // A heartbeat that is answered ahead says nothing of the log but that nothing contradicts it,
        // and what it names as the previous entry was acknowledged before.
        self.promises.answered(target, &sent_append, &answer);
        Ok(answer)
    }

    /// Sends a heartbeat by one call, and the log through a stream.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = RaftAppendRequest> + OptionalSend + Unpin + 'static,
    {
        if self.heartbeat {
            return stream_append_sequential(self, input, option);
        }
        // Always the same one of the others while this member leads.
        let believed = planted(Mutant::QuorumOffByOne) && self.peers.after(0) == Some(self.target);
        Box::pin(async move {
            let client = self.peer()?.control;
            let follower = FollowerLog {
                member: self.target,
                promises: self.promises.clone(),
                tracker: self.tracker.clone(),
                believed,
            };
            Ok(pipeline::open(client, input, follower))
        })
    }

    async fn vote(
        &mut self,
        rpc: RaftVoteRequest,
        _option: RPCOption,
    ) -> Result<RaftVoteResponse, RPCError<Types>> {
        let (response, left) = self.ask(&rpc).await?;
        if response.vote_granted && response.vote == rpc.vote {
            let term = rpc.vote.leader_id.term;
            self.tracker.vote_received(term, Instant::now(), left);
        }
        Ok(response)
    }

    async fn full_snapshot(
        &mut self,
        vote: StoredVote,
        snapshot: FileSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<RaftSnapshotResponse, StreamingError<Types>> {
        let client = self.peer().map_err(StreamingError::from)?.bulk;
        let last = snapshot.meta.last_log_id.index().unwrap_or_default();
        let hold = self.retention.hold(self.target, last);
        let sent = snapshot_transfer::send(client, vote, snapshot, self.tracker.lease());
        let answer = tokio::select! {
            closed = cancel => return Err(StreamingError::Closed(closed)),
            answer = sent => answer?,
        };
        hold.arrived();
        Ok(RaftSnapshotResponse::new(answer))
    }

    async fn transfer_leader(
        &mut self,
        request: RaftTransferRequest,
        _option: RPCOption,
    ) -> Result<RaftTransferResponse, RPCError<Types>> {
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
