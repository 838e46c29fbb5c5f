//! Builder of one [`ConnectorSpec`] for each channel and outgoing that is declared.
//!
//! The catalog refuses a resource that names a connection or service that is missing. Should one be
//! missing all the same, the process reports it when it reads the empty connection.

use std::time::Duration;

use bytes::Bytes;
use quorate_resources::{
    AmqpChannel, AmqpConnection, BrokerFence, DeliveryPolicy, IbmMqChannel, Kind, Resource,
    StandbyMode, ZmqChannel, ZmqChannelSocket,
};
use quorate_state::{ConnectorOperation, State, StoredResource};
use serde::Serialize;
use url::Url;

use super::connector_spec::{ConnectorKey, ConnectorSpec};

/// Time beyond the service's own timeouts: the way to another member and back.
const ON_THE_WAY: Duration = Duration::from_millis(500);
/// Longest time for an outgoing's messages in flight to finish.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);
/// Most messages of an outgoing whose outcome is awaited. No kind of connector has more under way
/// at a time, so that what waits does so in its parent's queue.
const OUTGOING_IN_FLIGHT_MAX: u16 = 64;
/// Most messages of a ZeroMQ channel in flight.
const ZMQ_IN_FLIGHT_MAX: u16 = 100;

/// Version of a spec: as long as it is the same, so is the spec.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpecVersion {
    /// Revision of the last change of the channel or outgoing, or of what it names.
    revision: u64,
    operation: ConnectorOperation,
}

/// Lists every channel and outgoing with the version of its spec. Resources of other kinds, which
/// may be many, are not looked at.
pub fn all(state: &State) -> impl Iterator<Item = (ConnectorKey, SpecVersion, &StoredResource)> {
    let kinds = Kind::ALL.into_iter().filter(|kind| kind.has_connector());
    kinds
        .flat_map(|kind| {
            let list = state.catalog().list(kind);
            list.map(move |(name, stored)| (kind, name, stored))
        })
        .map(|(kind, name, stored)| {
            let key = ConnectorKey {
                kind: kind.as_str(),
                name: name.to_owned(),
            };
            let made_of = SpecVersion {
                revision: state.catalog().last_change(stored),
                operation: state.operations().get(kind, name),
            };
            (key, made_of, stored)
        })
}

/// Builds the spec of a channel or outgoing; `None` for other kinds.
pub fn spec(state: &State, stored: &StoredResource) -> Option<ConnectorSpec> {
    let spec = match &*stored.resource {
        Resource::AmqpChannel(it) => amqp_channel(state, it),
        Resource::IbmMqChannel(it) => ibm_mq_channel(state, it),
        Resource::ZmqChannel(it) => zmq_channel(state, it),
        Resource::AmqpOutgoing(it) => ConnectorSpec {
            connection: amqp_connection(state, &it.connection)
                .map(json)
                .unwrap_or_default(),
            ..sending(json(it), it.active)
        },
        Resource::IbmMqOutgoing(it) => ConnectorSpec {
            connection: ibm_mq_connection(state, &it.connection),
            ..sending(json(it), it.active)
        },
        Resource::ZmqOutgoing(it) => ConnectorSpec {
            // The socket that it binds or connects to may let in only one.
            fenced_by_broker: false,
            ..sending(json(it), it.active)
        },
        _ => return None,
    };
    let resource = &stored.resource;
    let (kind, name) = (resource.kind(), resource.name());
    let operation = state.operations().get(kind, name);
    Some(ConnectorSpec {
        key: ConnectorKey {
            kind: kind.as_str(),
            name: name.to_owned(),
        },
        active: spec.active && !operation.paused,
        created: stored.created,
        restarted: operation.restarted,
        ..spec
    })
}

fn amqp_channel(state: &State, it: &AmqpChannel) -> ConnectorSpec {
    let broker = amqp_connection(state, &it.connection);
    let common = EncodedChannelSettings {
        prefetch: it.prefetch,
        pool_size: it.pool_size.unwrap_or(it.prefetch),
        ordered: it.ordered,
        on_failure: &it.on_failure,
    };
    ConnectorSpec {
        active: it.active,
        warm: it.standby == StandbyMode::Warm,
        connection: broker.map(json).unwrap_or_default(),
        in_order: it.ordered,
        fenced_by_broker: broker.is_none_or(|it| it.fence == BrokerFence::Exclusive),
        management: broker.and_then(management),
        ..consuming(state, json(it), &it.service, &common)
    }
}

fn ibm_mq_channel(state: &State, it: &IbmMqChannel) -> ConnectorSpec {
    let on_failure = DeliveryPolicy {
        retries: it.backout_threshold - 1,
        dead_letter: it.backout_queue.clone(),
        ..DeliveryPolicy::default()
    };
    let common = EncodedChannelSettings {
        // A unit of work has one message, and the queue is open for one only.
        prefetch: 1,
        pool_size: 1,
        ordered: true,
        on_failure: &on_failure,
    };
    ConnectorSpec {
        active: it.active,
        warm: it.standby == StandbyMode::Warm,
        connection: ibm_mq_connection(state, &it.connection),
        fenced_by_broker: true,
        ..consuming(state, json(it), &it.service, &common)
    }
}

fn zmq_channel(state: &State, it: &ZmqChannel) -> ConnectorSpec {
    let mut on_failure = DeliveryPolicy::default();
    if it.socket_type == ZmqChannelSocket::Rep {
        // The client waits for the answer, and can ask again.
        on_failure.retries = 0;
    }
    let common = EncodedChannelSettings {
        prefetch: ZMQ_IN_FLIGHT_MAX,
        pool_size: ZMQ_IN_FLIGHT_MAX,
        ordered: false,
        on_failure: &on_failure,
    };
    ConnectorSpec {
        active: it.active,
        ..consuming(state, json(it), &it.service, &common)
    }
}

/// Settings that mean the same for every kind of channel.
#[derive(Serialize)]
struct EncodedChannelSettings<'a> {
    prefetch: u16,
    pool_size: u16,
    ordered: bool,
    on_failure: &'a DeliveryPolicy,
}

/// Builds the spec of a channel, but for its name and its connection.
fn consuming(
    state: &State,
    own: Bytes,
    service: &str,
    common: &EncodedChannelSettings<'_>,
) -> ConnectorSpec {
    let finish = match state.catalog().get(Kind::Service, service) {
        Some(stored) => match &*stored.resource {
            Resource::Service(it) => {
                Duration::from_millis(it.timeout_ms) * it.retries.saturating_add(1)
            }
            _ => Duration::ZERO,
        },
        None => Duration::from_secs(10),
    };
    ConnectorSpec {
        common: json(common),
        service: Some(service.to_owned()),
        drain_timeout: finish + ON_THE_WAY,
        concurrency_max: if common.ordered { 1 } else { common.pool_size },
        fenced_by_broker: false,
        ..bare(own)
    }
}

/// Settings that mean the same for every kind of outgoing.
#[derive(Serialize)]
struct EncodedOutgoingSettings {
    prefetch: u16,
}

/// Builds the spec of an outgoing, but for its name and its connection.
fn sending(own: Bytes, active: bool) -> ConnectorSpec {
    ConnectorSpec {
        active,
        common: json(&EncodedOutgoingSettings {
            prefetch: OUTGOING_IN_FLIGHT_MAX,
        }),
        drain_timeout: CONFIRM_TIMEOUT,
        concurrency_max: OUTGOING_IN_FLIGHT_MAX,
        ..bare(own)
    }
}

fn bare(own: Bytes) -> ConnectorSpec {
    ConnectorSpec {
        key: ConnectorKey {
            kind: "",
            name: String::new(),
        },
        active: true,
        created: 0,
        restarted: 0,
        warm: true,
        connection: Bytes::from_static(b"{}"),
        own,
        common: Bytes::new(),
        service: None,
        drain_timeout: Duration::ZERO,
        concurrency_max: 1,
        in_order: false,
        fenced_by_broker: true,
        management: None,
    }
}

fn amqp_connection<'a>(state: &'a State, name: &str) -> Option<&'a AmqpConnection> {
    match &*state.catalog().get(Kind::AmqpConnection, name)?.resource {
        Resource::AmqpConnection(it) => Some(it),
        _ => None,
    }
}

fn ibm_mq_connection(state: &State, name: &str) -> Bytes {
    let found = state.catalog().get(Kind::IbmMqConnection, name);
    match found.map(|stored| &*stored.resource) {
        Some(Resource::IbmMqConnection(it)) => json(it),
        _ => Bytes::new(),
    }
}

/// Returns the management URL, with the connection's own credentials where it has none.
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
    // Resources are made of texts, numbers and flags: serializing them can't fail.
    serde_json::to_vec(resource).unwrap_or_default().into()
}
