//! One connector as its process, its keeper and the gateway need it.

use std::{fmt, time::Duration};

use bytes::Bytes;

/// The shortest time without progress that is worth a word.
const PATIENCE_MIN: Duration = Duration::from_secs(5);

/// The kind and name of a channel or outgoing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectorKey {
    /// For example `amqp_channel`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ConnectorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// One channel or outgoing.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectorSpec {
    /// Kind and name.
    pub key: ConnectorKey,
    /// Whether it is to run: declared active, and nobody has paused it.
    pub active: bool,
    /// The revision at which it was created: one of another is not this connector, whatever
    /// else they share.
    pub created: u64,
    /// The last order to restart it; another one starts another process.
    pub restarted: u64,
    /// Whether the members that don't run it have a process that stands by.
    pub warm: bool,
    /// The connection as JSON, defaults filled in, its password too.
    pub connection: Bytes,
    /// The channel or outgoing as JSON, defaults filled in.
    pub own: Bytes,
    /// What means the same for every kind, as JSON.
    pub common: Bytes,
    /// The service that handles a channel's messages; `None`: an outgoing.
    pub service: Option<String>,
    /// How long what is in flight may take to finish: of a channel one call of its service,
    /// the service's own retries included. So often the broker is asked how many wait.
    pub drain_timeout: Duration,
    /// Most calls of the service, or sends, at a time.
    pub concurrency_max: u16,
    /// Whether it is a channel that keeps order, and gives back all that it holds for that as
    /// soon as its lease lapses.
    pub in_order: bool,
    /// Whether a second process at work does no harm: the broker keeps a second consumer out,
    /// or messages are only sent, each asked for by somebody. If not, a new reign waits until
    /// the leases of all earlier ones are over.
    pub fenced_by_broker: bool,
    /// Where the broker can be asked to close a connection, user and password in it.
    pub management: Option<String>,
}

impl ConnectorSpec {
    /// Whether the process of `other` is to go, and another one to begin anew.
    pub fn requires_new_process(&self, other: &ConnectorSpec) -> bool {
        (self.created, self.restarted) != (other.created, other.restarted)
    }

    /// Whether a process that was told of `other` has nothing to learn.
    pub fn has_same_settings(&self, other: &ConnectorSpec) -> bool {
        self.connection == other.connection
            && self.own == other.own
            && self.common == other.common
            && self.drain_timeout == other.drain_timeout
    }

    /// For how long messages may wait while none is settled: a service that is slow and
    /// steady has settled one by then.
    pub fn patience(&self) -> Duration {
        (self.drain_timeout * 3).max(PATIENCE_MIN)
    }
}

#[cfg(test)]
impl ConnectorSpec {
    /// A channel `amqp_channel/orders` to the service `store`.
    pub fn of_test() -> ConnectorSpec {
        ConnectorSpec {
            key: ConnectorKey {
                kind: "amqp_channel",
                name: "orders".into(),
            },
            active: true,
            created: 1,
            restarted: 0,
            warm: true,
            connection: Bytes::new(),
            own: Bytes::new(),
            common: Bytes::new(),
            service: Some("store".into()),
            drain_timeout: Duration::from_secs(10),
            concurrency_max: 10,
            in_order: false,
            fenced_by_broker: true,
            management: None,
        }
    }
}
