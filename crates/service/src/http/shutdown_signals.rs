//! Signals by which a listener tells its connections to end.

use tokio_util::sync::CancellationToken;

/// Two signals to a connection: finish, and end.
#[derive(Clone)]
pub(super) struct ShutdownSignals {
    /// Finish what has begun, take nothing new after `linger`.
    pub stop: CancellationToken,
    /// End at once.
    pub cut: CancellationToken,
}
