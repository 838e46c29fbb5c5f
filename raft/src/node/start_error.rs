//! Error of a member that can't start.

use std::path::PathBuf;

use openraft::{
    ConfigError,
    errors::{Fatal, InitializeError, RaftError},
};
use quorate_types::MemberId;
use tokio::task::JoinError;

use crate::storage::{OpenError, raft_types::Types};

/// Reason why a member can't start. Each says what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StartError(#[from] StartFault);

/// Kinds of [`StartError`].
#[derive(Debug, thiserror::Error)]
pub(super) enum StartFault {
    #[error("opening the data folder: {0}")]
    Opening(JoinError),

    #[error(transparent)]
    Storage(#[from] OpenError),

    #[error(
        "the data folder {} does not belong to a cluster yet. Start with --bootstrap to form a \
         new cluster, or with --join ADMIN_URL to join one",
        dir.display()
    )]
    NoCluster { dir: PathBuf },

    #[error(
        "the data folder {} belongs to member {have_member} of cluster {have_cluster}, but the \
         cluster to join is {want_cluster}; two clusters never merge. Give the new member a \
         folder of its own, or start without --join to resume the old one",
        dir.display()
    )]
    OtherCluster {
        dir: PathBuf,
        have_cluster: String,
        have_member: MemberId,
        want_cluster: String,
    },

    #[error("the timers don't fit: {0}")]
    Timers(ConfigError),

    #[error("consensus can't start: {0}")]
    Consensus(Fatal<Types>),

    #[error("consensus can't start: {0}")]
    Bootstrap(RaftError<Types, InitializeError<Types>>),
}
