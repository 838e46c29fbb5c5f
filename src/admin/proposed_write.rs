//! Proposed writes of keys and resources: from the command to the revision or the problem.

use quorate_clock::Instant;
use quorate_state::{Answer, Command};

use super::problem::ApiProblem;
use crate::cluster::ClusterHandle;

/// A write that was done, or would have been in a dry run.
pub(super) struct CompletedWrite {
    /// The log index that last changed what was written.
    pub revision: u64,
    /// True if the write changed anything.
    pub changed: bool,
    /// True if the key or resource did not exist before.
    pub created: bool,
}

impl CompletedWrite {
    /// Reads the answer to a write of `subject`, such as `service/orders`; a refusal becomes the
    /// problem that names the subject.
    pub(super) fn from_answer(subject: &str, answer: Answer) -> Result<CompletedWrite, ApiProblem> {
        match answer {
            Answer::Done {
                revision,
                changed,
                created,
            } => Ok(CompletedWrite {
                revision,
                changed,
                created,
            }),
            refusal => Err(ApiProblem::from_answer(subject, refusal)
                .expect("invariant: the write was not done")),
        }
    }
}

/// Proposes a write of `subject`; returns its log index and what was done.
pub(super) async fn propose(
    cluster: &ClusterHandle,
    subject: &str,
    command: Command,
    deadline: Instant,
) -> Result<(u64, CompletedWrite), ApiProblem> {
    let (index, answer) = cluster.propose(command, deadline).await?;
    Ok((index, CompletedWrite::from_answer(subject, answer)?))
}
