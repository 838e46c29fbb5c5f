//! What holds between resources at any time. It is told from their JSON, without the code
//! that sees to it.

use std::collections::BTreeSet;

use quorate_resources::Kind;
use serde_json::Value;

use super::super::State;

/// Every resource that is there has all that it names, but for services that a member
/// announced once and no longer carries; no two active ones share what they can't, and none
/// has lost its secret.
pub(super) fn referential_integrity(
    state: &State,
    ever_announced: &BTreeSet<String>,
) -> Result<(), String> {
    let catalog = state.catalog();
    let there = |kind: &str, name: &str| {
        let kind: Kind = kind.parse().expect("a kind");
        catalog.get(kind, name).is_some()
    };
    for (kind, name, stored) in catalog.all() {
        let it = stored.resource.without_secret();
        let service = it["service"]
            .as_str()
            .is_none_or(|name| there("service", name) || ever_announced.contains(name));
        let builtin = it["builtin"]
            .as_str()
            .is_none_or(|name| ever_announced.contains(name));
        let security = match &it["security"] {
            Value::Array(objects) => objects.as_slice(),
            object => std::slice::from_ref(object),
        };
        let security = security
            .iter()
            .filter_map(|object| object.as_str()?.split_once('/'))
            .all(|(kind, name)| there(kind, name));
        let connection = it["connection"]
            .as_str()
            .is_none_or(|name| there(&connection_of(kind), name));
        if !(service && builtin && security && connection) {
            return Err(format!("{kind}/{name} hangs in the air: {it}"));
        }
        let apart = |field| stored.secrets().get(field).is_some();
        let is_there = |field| stored.resource.secret().is_some() || apart(field);
        let lacks = kind.secret_field().is_some_and(|field| !is_there(field));
        let mut named = stored.secrets().named();
        if let Some((_, secret)) = named.find(|(_, secret)| !there("secret", secret)) {
            return Err(format!(
                "{kind}/{name} uses secret/{secret}, which is not there"
            ));
        }
        if lacks && !stored.resource.may_lack_its_secret() {
            return Err(format!("{kind}/{name} lost its secret"));
        }
    }
    for (kind, name, _) in state.operations().all() {
        if catalog.get(kind, name).is_none() {
            return Err(format!("orders for {kind}/{name} outlived it"));
        }
    }
    exclusive(state)?;
    ordered(state)
}

/// `amqp_channel` and `amqp_outgoing` have an `amqp_connection`.
fn connection_of(kind: Kind) -> String {
    let (family, _) = kind.as_str().rsplit_once('_').expect("a family");
    format!("{family}_connection")
}

/// Paths, queues and addresses that only one can have.
fn exclusive(state: &State) -> Result<(), String> {
    let catalog = state.catalog();
    for (channel, _) in catalog.http_channels() {
        for (other, _) in catalog.http_channels() {
            let both = channel.active && other.active && channel.name != other.name;
            if both && channel.overlaps(other) {
                return Err(format!("{channel:?} and {other:?} overlap"));
            }
        }
    }
    let mut taken = BTreeSet::new();
    let mut bound = BTreeSet::new();
    for (kind, name, stored) in catalog.all() {
        let it = stored.resource.without_secret();
        if it["active"] != true {
            continue;
        }
        let inbound = matches!(kind, Kind::AmqpChannel | Kind::IbmMqChannel);
        if inbound && !taken.insert((kind, text(&it["connection"]), text(&it["queue"]))) {
            return Err(format!("{kind}/{name} shares its queue"));
        }
        // The generator has one host for each port, or `*`.
        if it["method"] == "bind" {
            let address = text(&it["address"]);
            let (_, port) = address.rsplit_once(':').expect("a port");
            if !bound.insert(port.to_owned()) {
                return Err(format!("{kind}/{name} shares its port"));
            }
        }
    }
    Ok(())
}

/// A channel that keeps the order has a broker that keeps others out.
fn ordered(state: &State) -> Result<(), String> {
    let catalog = state.catalog();
    for (channel, _) in catalog.amqp_channels().filter(|(it, _)| it.ordered) {
        let connection = catalog
            .get(Kind::AmqpConnection, &channel.connection)
            .map(|stored| stored.resource.without_secret());
        if connection.is_none_or(|it| it["fence"] != "exclusive") {
            return Err(format!("{channel:?} can't keep its order"));
        }
    }
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
