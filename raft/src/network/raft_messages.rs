//! Messages to other members: openraft's requests and answers in the form of the wire.

use std::time::Duration;

use openraft::{
    errors::RPCError,
    raft::{AppendEntriesRequest, AppendEntriesResponse},
};
use quorate_proto::peer::{self, append_response::Outcome};
use tonic::Status;

use super::call_errors::rpc_error;
use crate::storage::{
    convert::{self, MalformedProto},
    raft_types::{StoredVote, Types},
};

/// Builds an append. `lease`: how long the leader's lease will run, counted from when it took
/// this request in hand.
pub(super) fn append_request(
    request: AppendEntriesRequest<Types>,
    lease: Duration,
) -> peer::AppendRequest {
    peer::AppendRequest {
        ballot: Some(convert::vote_to_proto(&request.vote)),
        previous: convert::opt_log_id_to_proto(request.prev_log_id.as_ref()),
        entries: request
            .entries
            .iter()
            .map(convert::entry_to_proto)
            .collect(),
        committed: convert::opt_log_id_to_proto(request.leader_commit.as_ref()),
        lease_us: micros(lease),
    }
}

/// Reads the answer to an append.
pub(super) fn append_response(
    answer: peer::AppendResponse,
) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
    match answer.outcome {
        Some(Outcome::Success(_)) => Ok(AppendEntriesResponse::Success),
        Some(Outcome::Conflict(_)) => Ok(AppendEntriesResponse::Conflict),
        Some(Outcome::Higher(ballot)) => Ok(AppendEntriesResponse::HigherVote(vote(Some(ballot))?)),
        Some(Outcome::Partial(id)) => convert::log_id_from_proto(&id)
            .map(|id| AppendEntriesResponse::PartialSuccess(Some(id)))
            .map_err(|e| malformed(&e)),
        None => Err(rpc_error(&Status::internal(
            "the answer to an append is empty",
        ))),
    }
}

/// Reads the vote in an answer.
pub(super) fn vote(ballot: Option<peer::Ballot>) -> Result<StoredVote, RPCError<Types>> {
    let ballot =
        ballot.ok_or_else(|| rpc_error(&Status::internal("the answer lacks its ballot")))?;
    convert::vote_from_proto(&ballot).map_err(|e| malformed(&e))
}

/// Returns an answer that makes no sense as a failed call.
pub(super) fn malformed(e: &MalformedProto) -> RPCError<Types> {
    rpc_error(&Status::internal(e.to_string()))
}

/// Returns microseconds, rounded up, for the other side.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
}
