//! From what is declared to what runs: one [`Spec`] for each channel and outgoing.
//!
//! The catalog refuses what names a connection or service that is missing. Should one be
//! missing all the same, the process says so when it reads the empty connection.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use url::Url;

use super::spec::{Key, Spec};
use crate::state::{
    Kind, Resource, State,
    resource::{AmqpChannel, AmqpConnection, Fence, OnFailure, Standby},
};

/// Beyond the service's own timeouts: the way to another member and back.
const ON_THE_WAY: Duration = Duration::from_millis(500);

/// Every channel and outgoing.
pub fn specs(state: &State) -> impl Iterator<Item = Spec> {
    let catalog = state.catalog();
    catalog
        .amqp_channels()
        .map(|(channel, _)| amqp_channel(state, channel))
}

fn amqp_channel(state: &State, channel: &AmqpChannel) -> Spec {
    let broker = amqp_connection(state, &channel.connection);
    Spec {
        warm: channel.standby == Standby::Warm,
        connection: json(&broker),
        fenced_by_broker: broker.is_none_or(|it| it.fence == Fence::Exclusive),
        management: broker.and_then(management),
        ..consuming(
            state,
            Kind::AmqpChannel,
            &channel.name,
            channel,
            &channel.service,
            &Consuming {
                prefetch: channel.prefetch,
                pool_size: channel.prefetch,
                ordered: false,
                on_failure: &channel.on_failure,
            },
        )
    }
    .when(state, channel.active)
}

/// What means the same for every kind of channel.
#[derive(Serialize)]
struct Consuming<'a> {
    prefetch: u16,
    pool_size: u16,
    ordered: bool,
    on_failure: &'a OnFailure,
}

/// A channel, but for its connection.
fn consuming(
    state: &State,
    kind: Kind,
    name: &str,
    own: &impl Serialize,
    service: &str,
    common: &Consuming<'_>,
) -> Spec {
    let finish = match resource(state, Kind::Service, service) {
        Some(Resource::Service(it)) => {
            Duration::from_millis(it.timeout_ms) * it.retries.saturating_add(1)
        }
        _ => Duration::from_secs(10),
    };
    Spec {
        key: key(kind, name),
        active: true,
        restarted: 0,
        warm: true,
        connection: Bytes::from_static(b"{}"),
        own: json(own),
        common: json(common),
        service: Some(service.to_owned()),
        finish: finish + ON_THE_WAY,
        places: if common.ordered { 1 } else { common.pool_size },
        fenced_by_broker: false,
        management: None,
    }
}

impl Spec {
    /// Whether it runs: as it is declared, unless somebody has paused it.
    fn when(self, _state: &State, declared_active: bool) -> Spec {
        Spec {
            active: declared_active,
            ..self
        }
    }
}

fn key(kind: Kind, name: &str) -> Key {
    Key {
        kind: kind.as_str(),
        name: name.to_owned(),
    }
}

fn resource<'a>(state: &'a State, kind: Kind, name: &str) -> Option<&'a Resource> {
    let stored = state.catalog().get(kind, name)?;
    Some(&*stored.resource)
}

fn amqp_connection<'a>(state: &'a State, name: &str) -> Option<&'a AmqpConnection> {
    match resource(state, Kind::AmqpConnection, name)? {
        Resource::AmqpConnection(it) => Some(it),
        _ => None,
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
