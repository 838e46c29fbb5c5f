//! Errors of the members: to start them, to ask them, to wait for them, to change their links.

use std::{error::Error, io, time::Duration};

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
    /// A request was not answered.
    #[error("{url}")]
    Unanswered {
        /// The address.
        url: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// A request was not answered in the time for one request.
    #[error("{url}: no answer within {limit:?}")]
    Slow {
        /// The address.
        url: String,
        /// The time for one request.
        limit: Duration,
    },
    /// A request was answered by something else than success.
    #[error("{url}: {status} {text}")]
    Refused {
        /// The address.
        url: String,
        /// The status of the answer.
        status: u16,
        /// The body of the answer.
        text: String,
    },
    /// A request was answered by something else than JSON.
    #[error("{url} answered {text:?}, which is no JSON")]
    Unreadable {
        /// The address.
        url: String,
        /// The body of the answer.
        text: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A condition did not come about in time.
    #[error("waited {limit:?} for {what}; seen last")]
    TimedOut {
        /// The condition.
        what: String,
        /// The time limit.
        limit: Duration,
        /// The last observation instead of the condition.
        #[source]
        seen: Box<dyn Error + Send + Sync>,
    },
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
