//! Errors of the nemeses: to choose them, to do a fault, to prove it, and to heal it.

use std::io;

use tokio::task::JoinError;

use crate::cluster::error::ClusterError;

/// Failure to do a fault, to see that it took effect, or to heal it.
#[derive(Debug, thiserror::Error)]
pub enum NemesisError {
    /// The workload runs without RabbitMQ.
    #[error("this workload has no broker")]
    NoBroker,
    /// RabbitMQ has no process.
    #[error("RabbitMQ does not run")]
    BrokerDown,
    /// No member leads.
    #[error("nobody leads")]
    NoLeader,
    /// The member has no process.
    #[error("member {0} does not run")]
    NotRunning(u64),
    /// The members share the loopback.
    #[error("there are no namespaces")]
    NoNamespaces,
    /// The members were started without something that the fault needs.
    #[error("members were started without {0}")]
    StartedWithout(&'static str),
    /// The fault can't be done in the state that the members are in.
    #[error("{0}")]
    NotPossible(String),
    /// A request that is part of the fault or of its healing was refused.
    #[error("{status} {text}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// The body of the answer.
        text: String,
    },
    /// A program that is part of the fault has failed; the text is its output.
    #[error("{0}")]
    ProgramFailed(String),
    /// The effect was not seen; the text is what was seen instead.
    #[error("{0}")]
    NoEffect(String),
    /// A file, a disk or a process of the fault can't be changed.
    #[error("{what}")]
    Io {
        /// The operation.
        what: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The task of the fault has died.
    #[error("the task of the fault died")]
    Task(#[from] JoinError),
    /// The members can't be started or asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl NemesisError {
    /// Names the operation that failed.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> NemesisError {
        let what = what.into();
        move |source| NemesisError::Io { what, source }
    }
}

/// Choice of nemeses that can't be had.
#[derive(Debug, thiserror::Error)]
pub enum NemesisChoiceError {
    /// No nemesis has the name.
    #[error("there is no nemesis {name:?}; there are none, {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// Two can't be at work at the same time.
    #[error("not {one} and {other} together: {reason}")]
    Apart {
        /// The first.
        one: String,
        /// The second.
        other: String,
        /// The reason.
        reason: &'static str,
    },
    /// One needs another number of members.
    #[error("{name} needs {fits} members, not {members}")]
    Members {
        /// The nemesis.
        name: String,
        /// The numbers that will do.
        fits: String,
        /// The number that was asked for.
        members: usize,
    },
}
