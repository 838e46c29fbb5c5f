//! References between resources.
//!
//! A resource is stored only while all that it names exists, and nothing is deleted while another
//! names it.

use quorate_proto::command::FieldError;
use quorate_resources::{
    BrokerFence, HttpChannel, Kind, Resource, ResourceReference, StoredSecrets,
};

use super::Catalog;
use crate::{announced_programs::AnnouncedPrograms, field_errors::error};

/// Most names that an error lists.
const LISTED_MAX: usize = 8;

/// Returns errors for the names in the resource that don't exist.
pub(super) fn missing(
    resource: &Resource,
    catalog: &Catalog,
    announced: &AnnouncedPrograms,
) -> Vec<FieldError> {
    let named = resource
        .references()
        .into_iter()
        .filter(|it| catalog.get(it.kind, it.name).is_none())
        .filter(|it| it.kind != Kind::Service || !announced.carries(it.name));
    let mut errors: Vec<FieldError> = named
        .map(
            |ResourceReference {
                 field,
                 text,
                 kind,
                 name,
             }| {
                let mut there: Vec<&str> = catalog
                    .list(kind)
                    .map(|(name, _)| name)
                    .take(LISTED_MAX)
                    .collect();
                let mut count = catalog.count(kind);
                if kind == Kind::Service {
                    let carried = announced.services().into_iter();
                    let carried = carried.filter(|name| catalog.get(kind, name).is_none());
                    for name in carried {
                        there.push(name);
                        count += 1;
                    }
                    there.sort_unstable();
                    there.truncate(LISTED_MAX);
                }
                let problem = format!(
                    "there is no {kind}/{name}: create it first{}",
                    listed(&there, count)
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
            all_listed(&announced.services())
        );
        errors.push(error("builtin", name, problem));
    }
    errors
}

/// Returns errors for the secrets that the resource uses by name and may not use, or that don't
/// exist.
pub(super) fn unusable_secrets(
    resource: &Resource,
    secrets: &StoredSecrets,
    catalog: &Catalog,
) -> Vec<FieldError> {
    let targets = resource.secret_targets();
    let problem = |name: &str| match catalog.secret(name) {
        None => {
            let (there, count) = (catalog.list(Kind::Secret), catalog.count(Kind::Secret));
            let there: Vec<&str> = there.map(|(name, _)| name).take(LISTED_MAX).collect();
            Some(format!(
                "there is no secret/{name}: create it first{}",
                listed(&there, count)
            ))
        }
        Some(it) if it.allows(&targets) => None,
        Some(_) if targets.is_empty() => Some(format!(
            "secret/{name} may not be used here: it has allowed_targets, and this is no connection and no service"
        )),
        Some(it) => {
            let refused = targets
                .iter()
                .filter(|target| !it.allows(&[(*target).clone()]));
            let refused: Vec<&str> = refused.map(String::as_str).collect();
            Some(format!(
                "secret/{name} may not be used here: its allowed_targets don't have {}",
                refused.join(", ")
            ))
        }
    };
    let named = secrets.named();
    named
        .filter_map(|(field, name)| Some(error(field, name, problem(name)?)))
        .collect()
}

fn all_listed(names: &[&str]) -> String {
    listed(&names[..names.len().min(LISTED_MAX)], names.len())
}

/// Lists the first few of so many.
fn listed(first: &[&str], count: usize) -> String {
    let names = first.join(", ");
    match count - first.len() {
        0 if first.is_empty() => String::new(),
        0 => format!(" (there are: {names})"),
        others => format!(" (there are: {names} and {others} others)"),
    }
}

/// Returns errors for what the resource would take from others that are active: from the first few
/// of them.
pub(super) fn clashes(resource: &Resource, catalog: &Catalog) -> Vec<FieldError> {
    let rivals = catalog.rivals(resource);
    rivals
        .filter_map(|rival| match (resource, rival) {
            (Resource::HttpChannel(it), Resource::HttpChannel(other)) => {
                Some(path_taken(it, other))
            }
            (Resource::AmqpChannel(it), other) => Some(queue_taken(other, &it.queue)),
            (Resource::IbmMqChannel(it), other) => Some(queue_taken(other, &it.queue)),
            (Resource::ZmqChannel(it), other) => address_taken(&it.address, other),
            (Resource::ZmqOutgoing(it), other) => address_taken(&it.address, other),
            _ => None,
        })
        .collect()
}

fn path_taken(it: &HttpChannel, other: &HttpChannel) -> FieldError {
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
}

fn queue_taken(other: &Resource, queue: &str) -> FieldError {
    let problem = format!(
        "{}/{} consumes this queue already, and exclusively: change the queue, or make one of them inactive",
        other.kind(),
        other.name()
    );
    error("queue", queue, problem)
}

/// Refuses an address that is taken: all connectors run on one member, so two of them can't bind
/// one.
fn address_taken(address: &str, other: &Resource) -> Option<FieldError> {
    let bound = match other {
        Resource::ZmqChannel(it) => it.bound(),
        Resource::ZmqOutgoing(it) => it.bound(),
        _ => None,
    };
    let problem = format!(
        "{}/{} binds {} already: change the address, or make one of them inactive",
        other.kind(),
        other.name(),
        bound?
    );
    Some(error("address", address, problem))
}

/// Refuses a resource that would break the order that a channel promises. The messages that a dead
/// connection had taken go back to their places in the queue, but only once the broker drops it:
/// with `fence: lease` the successor consumes the later ones by then.
pub(super) fn order_conflict(resource: &Resource, catalog: &Catalog) -> Option<FieldError> {
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
            (connection.fence == BrokerFence::Lease).then(|| error("ordered", "true", problem))
        }
        Resource::AmqpConnection(it) if it.fence == BrokerFence::Lease => {
            let mut ordered = catalog.in_order_over(&it.name);
            let first: Vec<&str> = ordered.by_ref().take(LISTED_MAX).collect();
            let count = first.len() + ordered.count();
            let problem = format!(
                "must be exclusive for channels with `ordered: true`{}: {WHY}",
                listed(&first, count)
            );
            (count > 0).then(|| error("fence", "lease", problem))
        }
        _ => None,
    }
}
