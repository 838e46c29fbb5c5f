//! Why a member can't start.

/// Why a member can't start. Each says what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);
