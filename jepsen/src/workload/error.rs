//! Errors of the workloads: to choose one, to prepare it, and to read the end.

use std::io;

use crate::cluster::error::ClusterError;

/// Failure of a workload before its clients begin, or after they have ended.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// No workload has the name.
    #[error("there is no workload {name:?}; there are {known:?}")]
    Unknown {
        /// The name.
        name: String,
        /// The names that there are.
        known: &'static [&'static str],
    },
    /// The run has no RabbitMQ.
    #[error("there is no broker")]
    NoBroker,
    /// The services behind the members were not started.
    #[error("there is no sink")]
    NoSink,
    /// The services behind the members can't listen.
    #[error("the sink has no port")]
    SinkPort(#[source] io::Error),
    /// RabbitMQ refuses, or can't be reached.
    #[error("RabbitMQ")]
    Broker(#[from] lapin::Error),
    /// RabbitMQ gives no address for direct replies.
    #[error("the broker gave no address for direct replies")]
    NoReplyAddress,
    /// The write that the streams are to catch up with was not acknowledged.
    #[error("the last write was not done")]
    NoLastWrite,
    /// The members can't be asked, or refuse.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}
