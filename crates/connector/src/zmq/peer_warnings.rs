//! Rate of the log lines that a peer can trigger.

use std::time::Duration;

/// Shortest time between two log lines that a peer can trigger.
pub(super) const PEER_WARNING_INTERVAL: Duration = Duration::from_secs(10);
