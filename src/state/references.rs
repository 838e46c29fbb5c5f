//! What resources need of each other. A resource is stored only while all that it
//! names exists, and nothing is deleted while another names it.

use super::{Catalog, FieldError, Kind, Resource, announced::Announcements, command::error};

/// How many names an error lists.
const LISTED_MAX: usize = 8;

/// What the resource names and what isn't there.
pub(super) fn missing(
    resource: &Resource,
    catalog: &Catalog,
    announced: &Announcements,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut need = |field: &str, value: &str, kind: Kind, name: &str| {
        if catalog.get(kind, name).is_none() {
            let there = catalog.list(kind).map(|(name, _)| name).collect();
            let problem = format!(
                "there is no {kind}/{name}: create it first{}",
                listed(there)
            );
            errors.push(error(field, value, problem));
        }
    };
    match resource {
        Resource::HttpChannel(it) => {
            if let Some((kind, name)) = it.security_object() {
                need(
                    "security",
                    it.security.as_deref().unwrap_or(name),
                    kind,
                    name,
                );
            }
            errors.extend(missing_service(&it.service, catalog, announced));
        }
        Resource::AmqpChannel(it) => {
            need(
                "connection",
                &it.connection,
                Kind::AmqpConnection,
                &it.connection,
            );
            errors.extend(missing_service(&it.service, catalog, announced));
        }
        Resource::Service(it) => {
            let builtin = it
                .builtin
                .as_deref()
                .filter(|name| !announced.carries(name));
            if let Some(name) = builtin {
                let problem = format!(
                    "no member carries a service {name:?} in code{}",
                    listed(announced.services())
                );
                errors.push(error("builtin", name, problem));
            }
        }
        Resource::AmqpConnection(_) | Resource::BasicAuth(_) | Resource::ApiKey(_) => {}
    }
    errors
}

fn missing_service(name: &str, catalog: &Catalog, announced: &Announcements) -> Option<FieldError> {
    if catalog.get(Kind::Service, name).is_some() || announced.carries(name) {
        return None;
    }
    let mut there: Vec<&str> = catalog.list(Kind::Service).map(|(name, _)| name).collect();
    there.extend(announced.services());
    there.sort_unstable();
    there.dedup();
    let problem = format!(
        "there is no service/{name}: create it first{}",
        listed(there)
    );
    Some(error("service", name, problem))
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
        Resource::AmqpChannel(it) if it.active => catalog
            .amqp_channels()
            .filter(|(other, _)| {
                other.active
                    && other.name != it.name
                    && other.queue == it.queue
                    && other.connection == it.connection
            })
            .map(|(other, _)| {
                let problem = format!(
                    "amqp_channel/{} consumes this queue already, and exclusively: change the queue, or make one of them inactive",
                    other.name,
                );
                error("queue", &it.queue, problem)
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Those that name the resource, as `kind/name`.
pub(super) fn dependents(kind: Kind, name: &str, catalog: &Catalog) -> Vec<String> {
    let http = catalog
        .http_channels()
        .filter(|(it, _)| {
            (kind == Kind::Service && it.service == name)
                || it.security_object() == Some((kind, name))
        })
        .map(|(it, _)| format!("{}/{}", Kind::HttpChannel, it.name));
    let amqp = catalog
        .amqp_channels()
        .filter(|(it, _)| match kind {
            Kind::Service => it.service == name,
            Kind::AmqpConnection => it.connection == name,
            _ => false,
        })
        .map(|(it, _)| format!("{}/{}", Kind::AmqpChannel, it.name));
    http.chain(amqp).collect()
}
