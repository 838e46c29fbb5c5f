//! Errors of calls that were not done, or may not have been.

use std::time::Duration;

use crate::MemberId;

/// Reason for which a proposal has no result. Never retried in secret after `Unknown`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProposeError {
    /// Surely not done: no leader with a quorum was found in time.
    #[error("no leader took the write in {waited_ms} ms; it was not done")]
    NoQuorum {
        /// The time for which a leader was looked for.
        waited_ms: u64,
    },
    /// Surely not done: the write itself was at fault, or this member is shutting down.
    #[error("the write was refused: {0}")]
    Refused(String),
    /// Surely not done: it has secrets, and there is no key to seal them by.
    #[error("the write has secrets and they can't be sealed: {0}; nothing was written")]
    Sealed(String),
    /// The proposal may have been applied, may be applied yet, or may never be.
    #[error("the fate of the write is not known: {0}")]
    Unknown(String),
}

/// Reason for which a linearizable read was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadError {
    /// No leader confirmed with a quorum in time that it leads, or this member could not
    /// apply in time what the leader had committed.
    #[error("no leader confirmed the read in {waited_ms} ms")]
    NoQuorum {
        /// The time for which a leader was looked for.
        waited_ms: u64,
    },
}

/// Reason for which leadership was not handed over.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Only the leader can hand over.
    #[error("this member does not lead; {0:?} does")]
    NotLeader(Option<MemberId>),
    /// Nothing was done: the target lags, can't be reached, or isn't a voter.
    #[error("{0}")]
    Refused(String),
    /// The target did not take over; this member, or another one, leads.
    #[error("no other member took over within {0:?}")]
    TimedOut(Duration),
}
