//! What a failed call means: for openraft, and for whether something may have been done.

use std::{error::Error, time::Duration};

use openraft::errors::{NetworkError, RPCError, Unreachable};
use tonic::{ConnectError, Status};

use super::cluster_gate::UNTOUCHED;
use crate::storage::raft_types::Types;

/// Whether a call that failed may have had an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallEffect {
    /// It was never sent, or refused before it was looked at.
    NotDone,
    /// It may have been.
    Unknown,
}

/// Only what surely never reached the other side's logic is `NotDone`.
pub(crate) fn call_effect(status: &Status) -> CallEffect {
    if never_connected(status) || status.metadata().contains_key(UNTOUCHED) {
        CallEffect::NotDone
    } else {
        CallEffect::Unknown
    }
}

fn never_connected(status: &Status) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A failed call as openraft knows it. Always one to back off from: what openraft takes for
/// a passing fault it repeats without a pause, and a connection that is refused fails fast.
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
