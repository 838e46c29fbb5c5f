//! Meaning of a failed call: for openraft, and for whether something may have been done.

use std::time::Duration;

use openraft::errors::{NetworkError, RPCError, Unreachable};
use quorate_types::error_chain::causes;
use tonic::{ConnectError, Status};

use super::cluster_gate::UNTOUCHED;
use crate::storage::raft_types::Types;

/// Effect that a failed call may have had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallEffect {
    /// The call was never sent, or refused before it was looked at.
    NotDone,
    /// The call may have been done.
    Unknown,
}

/// Returns `NotDone` only for a call that surely never reached the other side's logic.
pub(crate) fn call_effect(status: &Status) -> CallEffect {
    if never_connected(status) || status.metadata().contains_key(UNTOUCHED) {
        CallEffect::NotDone
    } else {
        CallEffect::Unknown
    }
}

fn never_connected(status: &Status) -> bool {
    causes(status).any(|cause| cause.is::<ConnectError>())
}

/// Returns a failed call as openraft knows it. Always one to back off from: openraft repeats what
/// it takes for a passing fault without a pause, and a connection that is refused fails fast.
pub(super) fn rpc_error(status: &Status) -> RPCError<Types> {
    unreachable(format!("{:?}: {}", status.code(), status.message()))
}

pub(super) fn unreachable(text: impl ToString) -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::from_string(text))
}

pub(super) fn stalled(after: Duration) -> RPCError<Types> {
    RPCError::Network(NetworkError::from_string(format!(
        "no answer for {after:?}"
    )))
}
