//! Warnings to the user who declares a resource.

use std::fmt;

use quorate_resources::{Kind, Resource, Service};

use super::{Catalog, index::ResourceClaim};

/// Most channels that are named in a warning about their service.
const CHANNELS_MAX: usize = 3;

/// Warning about a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceWarning {
    /// Kind of the resource.
    pub kind: Kind,
    /// Name of the resource.
    pub name: String,
    /// Text: what is unusual, and what would be right.
    pub text: String,
}

impl fmt::Display for ResourceWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}: {}", self.kind, self.name, self.text)
    }
}

impl Catalog {
    /// Returns the warnings for a resource beside those that are declared already. Those of a
    /// service are about its channels.
    pub fn warnings(&self, resource: &Resource) -> Vec<ResourceWarning> {
        if let Resource::Service(service) = resource {
            return self.warnings_of_channels(service);
        }
        let service = match resource {
            Resource::AmqpChannel(it) => self.service(&it.service),
            _ => None,
        };
        let warning = warning(resource, service);
        warning.into_iter().collect()
    }

    fn warnings_of_channels(&self, service: &Service) -> Vec<ResourceWarning> {
        let named = ResourceClaim::Named(Kind::Service, service.name.as_str().into());
        let channels = self.index.holders(named);
        let warned = channels.filter_map(|(kind, name)| match kind {
            Kind::AmqpChannel => warning(&self.get(kind, name)?.resource, Some(service)),
            _ => None,
        });
        warned.take(CHANNELS_MAX).collect()
    }

    fn service(&self, name: &str) -> Option<&Service> {
        match &*self.get(Kind::Service, name)?.resource {
            Resource::Service(it) => Some(it),
            _ => None,
        }
    }
}

fn warning(resource: &Resource, service: Option<&Service>) -> Option<ResourceWarning> {
    let text = resource.warning(service)?;
    Some(ResourceWarning {
        kind: resource.kind(),
        name: resource.name().to_owned(),
        text,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Command, Machine};

    fn put(machine: &mut Machine, kind: Kind, spec: &Value) -> Vec<String> {
        let command = Command::PutResource {
            kind,
            name: spec["name"].as_str().unwrap().into(),
            spec: spec.to_string().into(),
            precondition: None,
        };
        let index = machine.state().applied() + 1;
        let (answer, _) = machine.apply(index, 1, 1, &command);
        assert!(answer.changed(), "{answer:?}");
        let resource = Resource::parse(kind, spec).unwrap();
        let warnings = machine.state().catalog().warnings(&resource);
        warnings.iter().map(ToString::to_string).collect()
    }

    /// RabbitMQ counts the calls as it counts the waits between them.
    #[test]
    fn calls_beyond_broker_patience_are_warned_of() {
        let mut machine = Machine::default();
        let mut put = |kind, spec: Value| put(&mut machine, kind, &spec);
        let service = |timeout_ms: u64| json!({"name": "slow", "upstream": "http://127.0.0.1:9/", "timeout_ms": timeout_ms});
        let connection = json!({"name": "b", "host": "h", "username": "u", "password": "p"});
        assert_eq!(put(Kind::AmqpConnection, connection), [""; 0]);
        assert_eq!(put(Kind::Service, service(600_000)), [""; 0]);
        let channel = |retries: u32, more: Value| {
            let mut it = json!({"name": "c", "connection": "b", "queue": "q", "service": "slow",
                                "on_failure": {"retries": retries}});
            let fields = more.as_object().unwrap().clone();
            it.as_object_mut().unwrap().extend(fields);
            it
        };
        // Two calls of ten minutes.
        assert_eq!(put(Kind::AmqpChannel, channel(1, json!({}))), [""; 0]);
        let warnings = put(Kind::AmqpChannel, channel(3, json!({}))).join("");
        assert!(
            warnings.contains("the calls of the service \"slow\" 40 min"),
            "{warnings}"
        );
        assert!(warnings.contains("consumer_timeout"), "{warnings}");
        // Two places for ten messages: each waits for four others.
        let narrow = channel(0, json!({"pool_size": 2}));
        let warnings = put(Kind::AmqpChannel, narrow).join("");
        assert!(warnings.contains("50 min"), "{warnings}");
        let warnings = put(Kind::Service, service(700_000)).join("");
        assert!(warnings.starts_with("amqp_channel/c: "), "{warnings}");
        assert!(warnings.contains("58 min"), "{warnings}");
        assert_eq!(put(Kind::Service, service(10_000)), [""; 0]);
    }
}
