//! What is told of each connector: over REST, on the command line and in metrics.

use std::time::Instant;

use serde::{Deserialize, Serialize};

/// The state of a connector on a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorState {
    /// Consuming under the reign's epoch.
    Active,
    /// Connected, consuming nothing: it could be taken over now.
    Standby,
    /// Declared inactive.
    Paused,
    /// Its process is being started or is connecting.
    Starting,
    /// It can't work; `last_error` says why. Tried again with backoff.
    Failed,
}

/// One connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorStatus {
    /// The channel's kind.
    pub kind: String,
    /// The channel's name.
    pub name: String,
    /// Its state.
    pub state: ConnectorState,
    /// The name of the member that runs it.
    pub member: String,
    /// The epoch under which it acts.
    pub epoch: Option<u64>,
    /// When this member heard that its process consumes under that epoch, first; by this
    /// member's clock, so it is not passed on.
    #[serde(skip)]
    pub activated_at: Option<Instant>,
    /// The operating system's id of its process.
    pub pid: Option<u32>,
    /// Messages handled and acked since its process started.
    pub handled: u64,
    /// Messages given up since its process started.
    pub failed: u64,
    /// Tries that failed and were tried again.
    pub retried: u64,
    /// Messages in flight now.
    pub in_flight: u64,
    /// When the last message was handled: RFC 3339, UTC.
    pub last_message_at: Option<String>,
    /// The last error, cleared when it works again.
    pub last_error: Option<String>,
}
