//! What the connectors need to know of the replicated state, and nothing more.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use quorate_raft::MemberId;

/// Who runs the connectors, as applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reign {
    /// The connector server; `None` before the first takeover.
    pub holder: Option<MemberId>,
    /// The log index of its takeover.
    pub epoch: u64,
    /// The term that it led in.
    pub term: u64,
    /// Whether it has let go.
    pub released: bool,
}

/// A channel's kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// For example `amqp_channel`.
    pub kind: &'static str,
    /// The channel's name.
    pub name: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// One channel as its process and the gateway need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Kind and name.
    pub key: Key,
    /// Whether it is to run.
    pub active: bool,
    /// The connection as JSON, defaults filled in.
    pub connection: Bytes,
    /// The channel as JSON, defaults filled in.
    pub channel: Bytes,
    /// The service that handles its messages.
    pub service: String,
    /// How long one call of the service may take, its own retries included.
    pub call_timeout: Duration,
    /// Most messages in flight.
    pub prefetch: u16,
    /// Whether the broker keeps a second consumer out. If not, a new reign waits until
    /// the leases of all earlier ones are over.
    pub fenced_by_broker: bool,
}

/// What is to run, and under whom.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Who runs the connectors.
    pub reign: Reign,
    /// The channels that are declared. The same `Arc` as long as none has changed.
    pub channels: Arc<BTreeMap<Key, Arc<Spec>>>,
}
