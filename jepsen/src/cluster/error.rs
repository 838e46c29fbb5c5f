//! Errors of the members: to start them, to ask them, to wait for them, to change their links.

use quorate_testkit::{eventually::TimedOut, http::HttpError};
use std::{io, time::Duration};

/// Failure to start, ask or observe members.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The process can't be started.
    #[error("member {member} can't be started")]
    Start {
        /// The member, from 1.
        member: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The process has ended while an answer was waited for.
    #[error("member {member} ended by itself")]
    Ended {
        /// The member, from 1.
        member: u64,
    },
    /// A request failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A request was not answered in the time for one request.
    #[error("{url}: no answer within {limit:?}")]
    Slow {
        /// The address.
        url: String,
        /// The time for one request.
        limit: Duration,
    },
    /// A condition did not come about in time.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    /// A condition does not hold yet; the text is what was observed instead.
    #[error("{0}")]
    NotYet(String),
    /// The state of a member changed while it was read.
    #[error("the state moved from {before} to {after}")]
    StateMoved {
        /// The log index at the beginning.
        before: u64,
        /// The log index at the end.
        after: u64,
    },
    /// A program in a member's namespace can't be run.
    #[error("{words:?}")]
    Program {
        /// The program and its arguments.
        words: Vec<String>,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A program in a member's namespace has failed.
    #[error("{words:?}: {said}\n{input}")]
    ProgramFailed {
        /// The program and its arguments.
        words: Vec<String>,
        /// The standard error.
        said: String,
        /// The standard input.
        input: String,
    },
}
