//! Status of each connector, as REST, the command line and the metrics show it.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_proto::connector::Tally;
use serde::{Deserialize, Serialize};

/// State of a connector on a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorState {
    /// Consuming under the reign's epoch.
    Active,
    /// Connected and consuming nothing: ready to take over.
    Standby,
    /// Declared inactive, or paused by an operator.
    Paused,
    /// Process starting or connecting.
    Starting,
    /// Unable to work; `last_error` has the reason. Tried again with backoff.
    Failed,
}

/// Status of one connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorStatus {
    /// Kind of the channel or outgoing.
    pub kind: String,
    /// Name of the channel or outgoing.
    pub name: String,
    /// State on this member.
    pub state: ConnectorState,
    /// Name of the member that runs it.
    pub member: String,
    /// Epoch under which it acts.
    pub epoch: Option<u64>,
    /// Time at which this member first heard that the process consumes under that epoch; by this
    /// member's clock, so it is not passed on.
    #[serde(skip)]
    pub activated_at: Option<Instant>,
    /// Process id of the operating system.
    pub pid: Option<u32>,
    /// Counts of messages since the process started.
    #[serde(flatten)]
    pub counts: MessageCounts,
    /// Time at which the last message was handled or sent: RFC 3339, UTC.
    pub last_message_at: Option<String>,
    /// The same by this member's clock, so it is not passed on.
    #[serde(skip)]
    pub settled_at: Option<Instant>,
    /// Time since which messages wait and none is settled; by this member's clock, so it is not
    /// passed on.
    #[serde(skip)]
    pub idle_since: Option<Instant>,
    /// Longest time for that before the connector counts as stalled: its service hangs or keeps
    /// failing then, or the broker hands nothing out.
    #[serde(skip)]
    pub patience: Option<Duration>,
    /// Seconds for which messages have waited and none was settled, if that is longer than
    /// `patience`.
    #[serde(default)]
    pub stalled_s: Option<u64>,
    /// Last error, cleared when it works again.
    pub last_error: Option<String>,
}

/// Counts of messages since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MessageCounts {
    /// Messages received, each counted once per delivery by the broker.
    pub received: u64,
    /// Messages handled and acknowledged.
    pub handled: u64,
    /// Messages given up.
    pub failed: u64,
    /// Tries that failed and were repeated.
    pub retried: u64,
    /// Messages put into the dead-letter queue.
    pub dead_lettered: u64,
    /// Messages sent and confirmed.
    pub sent: u64,
    /// Messages refused: surely not sent.
    pub refused: u64,
    /// Messages with an unknown outcome.
    pub unknown: u64,
    /// Messages in flight now.
    pub in_flight: u64,
    /// Messages waiting at the broker, when it was asked last; null where that can't be known.
    pub waiting: Option<u64>,
    /// Connections to the broker after the first.
    pub reconnects: u64,
}

impl MessageCounts {
    /// Returns how many messages have come to an end.
    pub fn settled(&self) -> u64 {
        self.handled + self.failed + self.sent + self.refused + self.unknown
    }

    /// Returns true when there are messages to be settled.
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
    /// Returns the status of a connector whose process is being started.
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

    /// Returns the status with the time for which nothing was settled, as of `now`.
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
