//! Builder of one [`ConnectorSpec`] for each channel and outgoing that is declared.

use std::time::Duration;

use quorate_ipc::{ConnectorResource, ConnectorSettings, DeliverySettings, SendSettings};
use quorate_resources::{
    AmqpChannel, AmqpConnection, BrokerFence, DeliveryPolicy, IbmMqChannel, IbmMqConnection, Kind,
    Resource, StandbyMode, ZmqChannel, ZmqChannelSocket,
};
use quorate_state::{ConnectorOperation, State, StoredResource};
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
pub(crate) struct SpecVersion {
    /// Revision of the last change of the channel or outgoing, or of what it names.
    revision: u64,
    operation: ConnectorOperation,
    /// Number of times that all secrets were opened.
    openings: u64,
}

/// Lists every channel and outgoing with the version of its spec. Resources of other kinds, which
/// may be many, are not looked at.
pub(crate) fn all(
    state: &State,
) -> impl Iterator<Item = (ConnectorKey, SpecVersion, &StoredResource)> {
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
                openings: state.catalog().openings(),
            };
            (key, made_of, stored)
        })
}

/// Builds the spec of a channel or outgoing; `None` for other kinds, and where the connection is
/// missing that it names: the catalog refuses that.
pub(crate) fn spec(state: &State, stored: &StoredResource) -> Option<ConnectorSpec> {
    let spec = match &*stored.resource {
        Resource::AmqpChannel(it) => amqp_channel(state, it)?,
        Resource::IbmMqChannel(it) => ibm_mq_channel(state, it)?,
        Resource::ZmqChannel(it) => zmq_channel(state, it),
        Resource::AmqpOutgoing(it) => ConnectorSpec {
            active: it.active,
            ..sending(amqp_connection(state, &it.connection)?.clone(), &**it)
        },
        Resource::IbmMqOutgoing(it) => ConnectorSpec {
            active: it.active,
            ..sending(ibm_mq_connection(state, &it.connection)?.clone(), &**it)
        },
        Resource::ZmqOutgoing(it) => ConnectorSpec {
            active: it.active,
            // The socket that it binds or connects to may let in only one.
            fenced_by_broker: false,
            ..sending((), &**it)
        },
        _ => return None,
    };
    let resource = &stored.resource;
    let (kind, name) = (resource.kind(), resource.name());
    let operation = state.operations().get(kind, name);
    let wanted = spec.active && !operation.paused;
    let unusable = unusable_connection(state, resource).filter(|_| wanted);
    Some(ConnectorSpec {
        key: ConnectorKey {
            kind: kind.as_str(),
            name: name.to_owned(),
        },
        active: wanted && unusable.is_none(),
        unusable,
        created: stored.created,
        restarted: operation.restarted,
        ..spec
    })
}

fn amqp_channel(state: &State, it: &AmqpChannel) -> Option<ConnectorSpec> {
    let broker = amqp_connection(state, &it.connection)?;
    let settings = ConnectorSettings {
        connection: broker.clone(),
        resource: it.clone(),
        shared: DeliverySettings {
            prefetch: it.prefetch,
            concurrency_max: it.concurrency_max(),
            ordered: it.ordered,
            on_failure: it.on_failure.clone(),
        },
    };
    Some(ConnectorSpec {
        active: it.active,
        warm: it.standby == StandbyMode::Warm,
        in_order: it.ordered,
        fenced_by_broker: broker.fence == BrokerFence::Exclusive,
        management: management(broker),
        ..consuming(state, &it.service, &settings)
    })
}

fn ibm_mq_channel(state: &State, it: &IbmMqChannel) -> Option<ConnectorSpec> {
    let settings = ConnectorSettings {
        connection: ibm_mq_connection(state, &it.connection)?.clone(),
        resource: it.clone(),
        shared: DeliverySettings {
            // A unit of work has one message, and the queue is open for one only.
            prefetch: 1,
            concurrency_max: 1,
            ordered: true,
            on_failure: DeliveryPolicy {
                retries: it.backout_threshold.saturating_sub(1),
                dead_letter: it.backout_queue.clone(),
                ..DeliveryPolicy::default()
            },
        },
    };
    Some(ConnectorSpec {
        active: it.active,
        warm: it.standby == StandbyMode::Warm,
        ..consuming(state, &it.service, &settings)
    })
}

fn zmq_channel(state: &State, it: &ZmqChannel) -> ConnectorSpec {
    let mut on_failure = DeliveryPolicy::default();
    if it.socket_type == ZmqChannelSocket::Rep {
        // The client waits for the answer, and can ask again.
        on_failure.retries = 0;
    }
    let settings = ConnectorSettings {
        connection: (),
        resource: it.clone(),
        shared: DeliverySettings {
            prefetch: ZMQ_IN_FLIGHT_MAX,
            concurrency_max: ZMQ_IN_FLIGHT_MAX,
            ordered: false,
            on_failure,
        },
    };
    ConnectorSpec {
        active: it.active,
        fenced_by_broker: false,
        ..consuming(state, &it.service, &settings)
    }
}

/// Builds the spec of a channel, but for its name.
fn consuming<R: ConnectorResource<Shared = DeliverySettings>>(
    state: &State,
    service: &str,
    settings: &ConnectorSettings<R>,
) -> ConnectorSpec {
    let finish = match state.catalog().get(Kind::Service, service) {
        Some(stored) => match &*stored.resource {
            Resource::Service(it) => Duration::from_millis(it.longest_ms()),
            _ => Duration::ZERO,
        },
        None => Duration::from_secs(10),
    };
    ConnectorSpec {
        service: Some(service.to_owned()),
        drain_timeout: finish + ON_THE_WAY,
        concurrency_max: settings.shared.concurrency_max,
        ..bare(settings)
    }
}

/// Builds the spec of an outgoing, but for its name.
fn sending<R: ConnectorResource<Shared = SendSettings>>(
    connection: R::Connection,
    resource: &R,
) -> ConnectorSpec {
    let settings = ConnectorSettings {
        connection,
        resource: resource.clone(),
        shared: SendSettings {
            concurrency_max: OUTGOING_IN_FLIGHT_MAX,
        },
    };
    ConnectorSpec {
        drain_timeout: CONFIRM_TIMEOUT,
        concurrency_max: OUTGOING_IN_FLIGHT_MAX,
        ..bare(&settings)
    }
}

fn bare<R: ConnectorResource>(settings: &ConnectorSettings<R>) -> ConnectorSpec {
    ConnectorSpec {
        key: ConnectorKey {
            kind: "",
            name: String::new(),
        },
        active: true,
        unusable: None,
        created: 0,
        restarted: 0,
        warm: true,
        settings: settings.encode().into(),
        service: None,
        drain_timeout: Duration::ZERO,
        concurrency_max: 1,
        in_order: false,
        fenced_by_broker: true,
        management: None,
    }
}

/// Returns why the connection of a channel or outgoing can't be used on this member: its password
/// is sealed by a key that this member doesn't have.
fn unusable_connection(state: &State, resource: &Resource) -> Option<String> {
    let references = resource.references();
    references.iter().find_map(|it| {
        let why = state.catalog().get(it.kind, it.name)?.unopened()?;
        Some(format!("{}/{}: {why}", it.kind, it.name))
    })
}

fn amqp_connection<'a>(state: &'a State, name: &str) -> Option<&'a AmqpConnection> {
    match &*state.catalog().get(Kind::AmqpConnection, name)?.resource {
        Resource::AmqpConnection(it) => Some(it),
        _ => None,
    }
}

fn ibm_mq_connection<'a>(state: &'a State, name: &str) -> Option<&'a IbmMqConnection> {
    match &*state.catalog().get(Kind::IbmMqConnection, name)?.resource {
        Resource::IbmMqConnection(it) => Some(it),
        _ => None,
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

#[cfg(test)]
mod tests {
    use quorate_resources::AmqpOutgoing;
    use quorate_state::{Command, Machine};
    use serde_json::{Value, json};

    use super::*;

    /// Returns the spec of the last of these resources, which are all named `a`.
    fn spec_of_last(resources: &[(Kind, Value)]) -> ConnectorSpec {
        let mut machine = Machine::default();
        for (index, (kind, spec)) in (1..).zip(resources) {
            let put = Command::PutResource {
                kind: *kind,
                name: "a".into(),
                spec: spec.to_string().into(),
                precondition: None,
            };
            let (answer, _) = machine.apply(index, 1, 1, &put);
            assert!(answer.changed(), "{answer:?}");
        }
        let state = machine.state();
        let (kind, _) = resources.last().unwrap();
        spec(state, state.catalog().get(*kind, "a").unwrap()).unwrap()
    }

    fn amqp_connection(password: &str) -> (Kind, Value) {
        let spec = json!({"name": "a", "host": "h", "username": "u", "password": password});
        (Kind::AmqpConnection, spec)
    }

    #[test]
    fn process_reads_the_settings_as_they_were_built() {
        let outgoing = json!({"name": "a", "connection": "a", "exchange": "x"});
        let spec = spec_of_last(&[amqp_connection("secret"), (Kind::AmqpOutgoing, outgoing)]);
        let settings = ConnectorSettings::<AmqpOutgoing>::decode(&spec.settings).unwrap();
        assert_eq!(settings.connection.password.as_deref(), Some("secret"));
        assert_eq!(settings.resource.exchange, "x");
        assert_eq!(settings.shared.concurrency_max, spec.concurrency_max);
    }

    /// The rules refuse a 0, but do not bind those that apply the log.
    #[test]
    fn zero_in_the_log_is_no_panic() {
        let connection = json!({"name": "a", "host": "h", "queue_manager": "Q", "channel": "C"});
        let channel = json!({"name": "a", "connection": "a", "queue": "q", "service": "a", "backout_threshold": 0});
        let service = json!({"name": "a", "upstream": "http://127.0.0.1:1"});
        let spec = spec_of_last(&[
            (Kind::Service, service.clone()),
            (Kind::IbmMqConnection, connection),
            (Kind::IbmMqChannel, channel),
        ]);
        let settings = ConnectorSettings::<IbmMqChannel>::decode(&spec.settings).unwrap();
        assert_eq!(settings.shared.on_failure.retries, 0);

        let channel =
            json!({"name": "a", "connection": "a", "queue": "q", "service": "a", "pool_size": 0});
        let spec = spec_of_last(&[
            (Kind::Service, service),
            amqp_connection("secret"),
            (Kind::AmqpChannel, channel),
        ]);
        assert_eq!(spec.concurrency_max, 1);
    }
}
