//! Why a member does not run.

/// Why a member did not start, or ended without having been asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It can't start like this; it says what was found and what to do.
    #[error("{0}")]
    Refused(String),
    /// Nobody answered that it needs to start; worth a retry.
    #[error("{0}")]
    Unreachable(String),
    /// A part that it can't be without has ended.
    #[error("{part} ended: {why}")]
    Lost {
        /// Which part.
        part: String,
        /// Why, as far as is known.
        why: String,
    },
}
