//! Spec of one connector, as its process, its actor and the gateway need it.

use std::{fmt, time::Duration};

use bytes::Bytes;

/// Shortest time without progress that counts as a stall.
const PATIENCE_MIN: Duration = Duration::from_secs(5);

/// Kind and name of a channel or outgoing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectorKey {
    /// Kind, for example `amqp_channel`.
    pub kind: &'static str,
    /// Name within the kind.
    pub name: String,
}

impl fmt::Display for ConnectorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// Spec of one channel or outgoing.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectorSpec {
    /// Kind and name.
    pub key: ConnectorKey,
    /// True when the connector is to run: declared active, not paused, and of a connection that can
    /// be used.
    pub active: bool,
    /// Reason why it can't run on this member, though it is declared active.
    pub unusable: Option<String>,
    /// Revision at which it was created: a resource of another creation is another connector,
    /// whatever else they share.
    pub created: u64,
    /// Revision of the last command to restart it; a newer one starts another process.
    pub restarted: u64,
    /// True when members that don't run it keep a process that stands by.
    pub warm: bool,
    /// Its [`quorate_ipc::ConnectorSettings`], encoded, with the connection's password.
    pub settings: Bytes,
    /// Service that handles a channel's messages; `None`: an outgoing.
    pub service: Option<String>,
    /// Longest time for what is in flight to finish: for a channel one call of its service, the
    /// service's own retries included. It is also the interval at which the broker is asked how
    /// many messages wait.
    pub drain_timeout: Duration,
    /// Most calls of the service, or sends, at a time.
    pub concurrency_max: u16,
    /// True for a channel that keeps order, and for that gives back all it holds as soon as its
    /// lease lapses.
    pub in_order: bool,
    /// True when a second process at work does no harm: the broker keeps a second consumer out, or
    /// messages are only sent, each at the request of a caller. Otherwise a new reign waits until
    /// the leases of all earlier ones are over.
    pub fenced_by_broker: bool,
    /// Root of the broker's management API, with user and password in it.
    pub management: Option<String>,
}

impl ConnectorSpec {
    /// Returns true when the process of `other` has to go and another one to begin anew.
    pub fn requires_new_process(&self, other: &ConnectorSpec) -> bool {
        (self.created, self.restarted) != (other.created, other.restarted)
    }

    /// Returns true when a process that was configured by `other` needs no new settings.
    pub fn has_same_settings(&self, other: &ConnectorSpec) -> bool {
        self.settings == other.settings && self.drain_timeout == other.drain_timeout
    }

    /// Returns the time for which messages may wait while none is settled: a service that is slow
    /// and steady has settled one by then.
    pub fn patience(&self) -> Duration {
        (self.drain_timeout * 3).max(PATIENCE_MIN)
    }
}

#[cfg(test)]
impl ConnectorSpec {
    /// Returns a channel `amqp_channel/orders` to the service `store`.
    pub fn for_test() -> ConnectorSpec {
        ConnectorSpec {
            key: ConnectorKey {
                kind: "amqp_channel",
                name: "orders".into(),
            },
            active: true,
            unusable: None,
            created: 1,
            restarted: 0,
            warm: true,
            settings: Bytes::new(),
            service: Some("store".into()),
            drain_timeout: Duration::from_secs(10),
            concurrency_max: 10,
            in_order: false,
            fenced_by_broker: true,
            management: None,
        }
    }
}
