//! Outcome of one attempt at a member that may lead, and what openraft's refusals amount to.

use openraft::errors::{ClientWriteError, RaftError};
use quorate_types::MemberId;

use crate::storage::raft_types::Types;

/// Outcome of an attempt at a member that may or may not be the leader.
#[derive(Debug)]
pub(crate) enum LeaderAttempt<T> {
    Done(T),
    /// Surely not done: the member does not lead; the named one may.
    NotLeader(Option<MemberId>),
    /// Surely not done.
    Refused(String),
    Unknown(String),
}

impl<T> LeaderAttempt<T> {
    /// Returns what openraft's refusal at member `me` means. Only `ForwardToLeader` proves that
    /// nothing was appended.
    pub(crate) fn from_write_error(me: MemberId, e: ClientWriteError<Types>) -> Self {
        match e {
            ClientWriteError::ForwardToLeader(to) => {
                LeaderAttempt::NotLeader(to.leader_id.filter(|id| *id != me))
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

    /// Returns what an error of openraft at member `me` means.
    pub(crate) fn from_raft_error(
        me: MemberId,
        e: RaftError<Types, ClientWriteError<Types>>,
    ) -> Self {
        match e {
            RaftError::APIError(e) => LeaderAttempt::from_write_error(me, e),
            RaftError::Fatal(e) => LeaderAttempt::Unknown(format!("the leader stopped: {e}")),
        }
    }
}
