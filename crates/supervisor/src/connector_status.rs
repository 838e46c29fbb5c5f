//! What is told of each connector: over REST, on the command line and in metrics.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_proto::connector::Tally;
use serde::{Deserialize, Serialize};

/// The state of a connector on a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorState {
    /// Consuming under the reign's epoch.
    Active,
    /// Connected, consuming nothing: it could be taken over now.
    Standby,
    /// Declared inactive, or paused by somebody.
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
    /// The messages since its process started.
    #[serde(flatten)]
    pub counts: MessageCounts,
    /// When the last message was handled or sent: RFC 3339, UTC.
    pub last_message_at: Option<String>,
    /// The same by this member's clock, so it is not passed on.
    #[serde(skip)]
    pub settled_at: Option<Instant>,
    /// Since when messages wait and none is settled; by this member's clock, so it is not
    /// passed on.
    #[serde(skip)]
    pub idle_since: Option<Instant>,
    /// For how long that may last: longer is stalled. Its service hangs or keeps failing then,
    /// or the broker hands nothing out.
    #[serde(skip)]
    pub patience: Option<Duration>,
    /// For how many seconds messages have waited and none was settled, if that is longer than
    /// it should take.
    #[serde(default)]
    pub stalled_s: Option<u64>,
    /// The last error, cleared when it works again.
    pub last_error: Option<String>,
}

/// What became of messages since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MessageCounts {
    /// Messages that came, each counted once for each time that the broker handed it out.
    pub received: u64,
    /// Handled and acked.
    pub handled: u64,
    /// Given up.
    pub failed: u64,
    /// Tries that failed and were tried again.
    pub retried: u64,
    /// Put into the dead-letter queue.
    pub dead_lettered: u64,
    /// Sent and confirmed.
    pub sent: u64,
    /// Refused: surely not sent.
    pub refused: u64,
    /// Sent or not, which isn't known.
    pub unknown: u64,
    /// In flight now.
    pub in_flight: u64,
    /// Waiting at the broker, when it was asked last; null where that can't be known.
    pub waiting: Option<u64>,
    /// Connections to the broker after the first.
    pub reconnects: u64,
}

impl MessageCounts {
    /// How many messages have come to an end.
    pub fn settled(&self) -> u64 {
        self.handled + self.failed + self.sent + self.refused + self.unknown
    }

    /// Whether there is something to be settled.
    pub fn has_work(&self) -> bool {
        self.in_flight > 0 || self.waiting.is_some_and(|waiting| waiting > 0)
    }
}

impl From<&Tally> for MessageCounts {
    fn from(tally: &Tally) -> Self {
        MessageCounts {
            received: tally.received,
            handled: tally.handled,
            failed: tally.failed,
            retried: tally.retried,
            dead_lettered: tally.dead_lettered,
            sent: tally.sent,
            refused: tally.refused,
            unknown: tally.unknown,
            in_flight: tally.in_flight,
            waiting: tally.waiting,
            reconnects: tally.reconnects,
        }
    }
}

impl ConnectorStatus {
    /// One whose process is being started.
    pub fn starting(kind: &str, name: &str, member: &str) -> ConnectorStatus {
        ConnectorStatus {
            kind: kind.to_owned(),
            name: name.to_owned(),
            state: ConnectorState::Starting,
            member: member.to_owned(),
            epoch: None,
            activated_at: None,
            pid: None,
            counts: MessageCounts::default(),
            last_message_at: None,
            settled_at: None,
            idle_since: None,
            patience: None,
            stalled_s: None,
            last_error: None,
        }
    }

    /// It, with how long it has settled nothing, as of `now`.
    pub fn as_of(mut self, now: Instant) -> ConnectorStatus {
        let idle = self
            .idle_since
            .filter(|_| self.state == ConnectorState::Active)
            .map(|since| now.saturating_duration_since(since));
        self.stalled_s = idle
            .filter(|it| self.patience.is_some_and(|patience| *it >= patience))
            .map(|it| it.as_secs());
        self
    }
}
