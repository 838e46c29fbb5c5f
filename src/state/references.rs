//! What resources need of each other. A resource is stored only while all that it
//! names exists, and nothing is deleted while another names it.

use super::{
    Catalog, FieldError, Kind, Resource,
    announced::Announcements,
    command::error,
    resource::{Fence, Reference, zeromq::taken_by_one},
};

/// How many names an error lists.
const LISTED_MAX: usize = 8;

/// What the resource names and what isn't there.
pub(super) fn missing(
    resource: &Resource,
    catalog: &Catalog,
    announced: &Announcements,
) -> Vec<FieldError> {
    let named = resource
        .references()
        .into_iter()
        .filter(|it| catalog.get(it.kind, it.name).is_none())
        .filter(|it| it.kind != Kind::Service || !announced.carries(it.name));
    let mut errors: Vec<FieldError> = named
        .map(
            |Reference {
                 field,
                 text,
                 kind,
                 name,
             }| {
                let mut there: Vec<&str> = catalog.list(kind).map(|(name, _)| name).collect();
                if kind == Kind::Service {
                    there.extend(announced.services());
                    there.sort_unstable();
                    there.dedup();
                }
                let problem = format!(
                    "there is no {kind}/{name}: create it first{}",
                    listed(there)
                );
                error(field, text, problem)
            },
        )
        .collect();
    if let Resource::Service(it) = resource
        && let Some(name) = it
            .builtin
            .as_deref()
            .filter(|name| !announced.carries(name))
    {
        let problem = format!(
            "no member carries a service {name:?} in code{}",
            listed(announced.services())
        );
        errors.push(error("builtin", name, problem));
    }
    errors
}

fn listed(names: Vec<&str>) -> String {
    match names.len() {
        0 => String::new(),
        1..=LISTED_MAX => format!(" (there are: {})", names.join(", ")),
        more => {
            let others = more - LISTED_MAX;
            format!(
                " (there are: {} and {others} others)",
                names[..LISTED_MAX].join(", ")
            )
        }
    }
}

/// What the resource would take from another that is active.
pub(super) fn clashes(resource: &Resource, catalog: &Catalog) -> Vec<FieldError> {
    match resource {
        Resource::HttpChannel(it) if it.active => catalog
            .http_channels()
            .filter(|(other, _)| other.active && other.name != it.name && other.overlaps(it))
            .map(|(other, _)| {
                let shared: Vec<&str> = it
                    .methods
                    .iter()
                    .filter(|method| other.methods.contains(method))
                    .map(String::as_str)
                    .collect();
                let problem = format!(
                    "http_channel/{} takes {} on {} already: change the path or the methods, or make one of them inactive",
                    other.name,
                    shared.join(", "),
                    other.path,
                );
                error("path", &it.path, problem)
            })
            .collect(),
        Resource::AmqpChannel(it) if it.active => {
            let others = catalog.amqp_channels().map(|(it, _)| it);
            others
                .filter(|other| other.active && other.name != it.name)
                .filter(|other| (&other.queue, &other.connection) == (&it.queue, &it.connection))
                .map(|other| queue_taken(Kind::AmqpChannel, &other.name, &it.queue))
                .collect()
        }
        Resource::IbmMqChannel(it) if it.active => {
            let others = catalog.ibm_mq_channels().map(|(it, _)| it);
            others
                .filter(|other| other.active && other.name != it.name)
                .filter(|other| (&other.queue, &other.connection) == (&it.queue, &it.connection))
                .map(|other| queue_taken(Kind::IbmMqChannel, &other.name, &it.queue))
                .collect()
        }
        Resource::ZmqChannel(it) => address_taken(Kind::ZmqChannel, &it.name, it.bound(), catalog),
        Resource::ZmqOutgoing(it) => {
            address_taken(Kind::ZmqOutgoing, &it.name, it.bound(), catalog)
        }
        _ => Vec::new(),
    }
}

fn queue_taken(kind: Kind, name: &str, queue: &str) -> FieldError {
    let problem = format!(
        "{kind}/{name} consumes this queue already, and exclusively: change the queue, or make one of them inactive"
    );
    error("queue", queue, problem)
}

/// All connectors run on one member, so two of them can't bind one address.
fn address_taken(
    kind: Kind,
    name: &str,
    address: Option<&str>,
    catalog: &Catalog,
) -> Vec<FieldError> {
    let Some(address) = address else {
        return Vec::new();
    };
    let channels = catalog
        .zmq_channels()
        .map(|(it, _)| (Kind::ZmqChannel, &it.name, it.bound()));
    let outgoings = catalog
        .zmq_outgoings()
        .map(|(it, _)| (Kind::ZmqOutgoing, &it.name, it.bound()));
    channels
        .chain(outgoings)
        .filter(|(of, other, _)| (*of, other.as_str()) != (kind, name))
        .filter(|(_, _, other)| other.is_some_and(|other| taken_by_one(address, other)))
        .map(|(kind, name, other)| {
            let problem = format!(
                "{kind}/{name} binds {} already: change the address, or make one of them inactive",
                other.unwrap_or_default()
            );
            error("address", address, problem)
        })
        .collect()
}

/// What would break the order that a channel promises. The messages that a dead connection
/// had taken go back to their places in the queue, but only once the broker drops it: with
/// `fence: lease` the successor consumes the later ones by then.
pub(super) fn disorder(resource: &Resource, catalog: &Catalog) -> Option<FieldError> {
    const WHY: &str =
        "with `lease` the messages that a dead connection had taken come back after later ones";
    match resource {
        Resource::AmqpChannel(it) if it.ordered => {
            let connection = catalog.get(Kind::AmqpConnection, &it.connection)?;
            let Resource::AmqpConnection(connection) = &*connection.resource else {
                return None;
            };
            let problem = format!(
                "needs a connection with `fence: exclusive`, and amqp_connection/{} has `lease`: {WHY}",
                it.connection
            );
            (connection.fence == Fence::Lease).then(|| error("ordered", "true", problem))
        }
        Resource::AmqpConnection(it) if it.fence == Fence::Lease => {
            let ordered: Vec<&str> = catalog
                .amqp_channels()
                .filter(|(channel, _)| channel.ordered && channel.connection == it.name)
                .map(|(channel, _)| channel.name.as_str())
                .collect();
            let problem = format!(
                "must be exclusive for channels with `ordered: true`{}: {WHY}",
                listed(ordered.clone())
            );
            (!ordered.is_empty()).then(|| error("fence", "lease", problem))
        }
        _ => None,
    }
}

/// Those that name the resource, as `kind/name`.
pub(super) fn dependents(kind: Kind, name: &str, catalog: &Catalog) -> Vec<String> {
    catalog
        .all()
        .filter(|(_, _, stored)| {
            let named = stored.resource.references();
            named.iter().any(|it| (it.kind, it.name) == (kind, name))
        })
        .map(|(kind, name, _)| format!("{kind}/{name}"))
        .collect()
}
