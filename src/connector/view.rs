//! What the connectors need to know of the replicated state, and nothing more.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::watch;
use url::Url;

pub use crate::state::Reign;
use crate::state::{
    Brokers, Kind, Resource, State,
    resource::{AmqpChannel, AmqpConnection, Fence, Standby},
};

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
#[derive(Clone, PartialEq, Eq)]
pub struct Spec {
    /// Kind and name.
    pub key: Key,
    /// Whether it is to run.
    pub active: bool,
    /// Whether the members that don't run it have a process that stands by.
    pub warm: bool,
    /// The connection as JSON, defaults filled in, its password too.
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
    /// Where the broker can be asked to close a connection, user and password in it.
    pub management: Option<String>,
}

/// What is to run, and under whom.
#[derive(Clone, Default)]
pub struct View {
    /// Who runs the connectors.
    pub reign: Reign,
    /// The channels that are declared. The same `Arc` as long as none has changed.
    pub channels: Arc<BTreeMap<Key, Arc<Spec>>>,
    /// What the brokers call the members' connections.
    pub brokers: Brokers,
}

/// Beyond the service's own timeouts: the way to another member and back.
const ON_THE_WAY: Duration = Duration::from_millis(500);

impl View {
    /// What `state` says. Channels that have not changed stay the same `Arc`s as `before`.
    pub fn of(state: &State, before: &View) -> View {
        let channels = state.catalog().amqp_channels().map(|(channel, _)| {
            let spec = amqp(state, channel);
            let same = before.channels.get(&spec.key).filter(|old| ***old == spec);
            let spec = same.cloned().unwrap_or_else(|| Arc::new(spec));
            (spec.key.clone(), spec)
        });
        View {
            reign: *state.reign(),
            channels: Arc::new(channels.collect()),
            brokers: state.brokers().clone(),
        }
    }

    /// Follows the state. Writes that concern no connector are not passed on.
    pub fn follow(mut state: watch::Receiver<Arc<State>>) -> watch::Receiver<Arc<View>> {
        let now = state.borrow_and_update().clone();
        let mut revision = now.catalog().revision();
        let (sender, receiver) = watch::channel(Arc::new(View::of(&now, &View::default())));
        tokio::spawn(async move {
            while !sender.is_closed() && state.changed().await.is_ok() {
                let now = state.borrow_and_update().clone();
                let before = sender.borrow().clone();
                let view = if now.catalog().revision() == revision {
                    View {
                        reign: *now.reign(),
                        channels: before.channels.clone(),
                        brokers: now.brokers().clone(),
                    }
                } else {
                    View::of(&now, &before)
                };
                revision = now.catalog().revision();
                if view.reign != before.reign
                    || view.channels != before.channels
                    || view.brokers != before.brokers
                {
                    sender.send_replace(Arc::new(view));
                }
            }
        });
        receiver
    }
}

/// The catalog refuses a channel whose connection or service is missing. Should one be
/// missing all the same, the process says so when it reads the empty connection.
fn amqp(state: &State, channel: &AmqpChannel) -> Spec {
    let find = |kind, name: &str| {
        state
            .catalog()
            .get(kind, name)
            .map(|stored| &*stored.resource)
    };
    let (connection, fence, management) = match find(Kind::AmqpConnection, &channel.connection) {
        Some(Resource::AmqpConnection(it)) => (json(it), it.fence, management(it)),
        _ => (Bytes::new(), Fence::Exclusive, None),
    };
    let call_timeout = match find(Kind::Service, &channel.service) {
        Some(Resource::Service(it)) => {
            Duration::from_millis(it.timeout_ms) * it.retries.saturating_add(1)
        }
        _ => Duration::from_secs(10),
    };
    Spec {
        key: Key {
            kind: Kind::AmqpChannel.as_str(),
            name: channel.name.clone(),
        },
        active: channel.active,
        warm: channel.standby == Standby::Warm,
        connection,
        channel: json(channel),
        service: channel.service.clone(),
        call_timeout: call_timeout + ON_THE_WAY,
        prefetch: channel.prefetch,
        fenced_by_broker: fence == Fence::Exclusive,
        management,
    }
}

/// With the connection's own credentials where the URL has none.
fn management(connection: &AmqpConnection) -> Option<String> {
    let text = connection.management_url.as_deref()?;
    let mut url = Url::parse(text).ok()?;
    if url.username().is_empty() && url.password().is_none() {
        url.set_username(&connection.username).ok()?;
        url.set_password(connection.password.as_deref()).ok()?;
    }
    Some(url.into())
}

fn json(resource: &impl Serialize) -> Bytes {
    // Resources are made of texts, numbers and flags: there is nothing to fail on.
    serde_json::to_vec(resource).unwrap_or_default().into()
}
