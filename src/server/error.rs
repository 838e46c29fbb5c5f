//! Errors of a member: of its start, and of the loss of a part.

/// Reason why a member did not start, or ended without having been asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The member can't start like this; the text has what was found and the remedy.
    #[error("{0}")]
    Refused(String),
    /// No member answered that this one needs to start; worth a retry.
    #[error("{0}")]
    Unreachable(String),
    /// A critical part has ended.
    #[error("{part} ended: {why}")]
    Lost {
        /// The part.
        part: String,
        /// The reason, as far as is known.
        why: String,
    },
}
