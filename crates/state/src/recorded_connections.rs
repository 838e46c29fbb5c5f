//! Names that the brokers gave the connections of each member's connectors.
//!
//! A takeover may have to close the connection of a connector server that hangs or has vanished.
//! Brokers show a connection's name late, so it is recorded here when the connection is opened.
//! Only connectors whose connection has a `management_url` are recorded.

use std::{collections::BTreeMap, sync::Arc};

use imbl::OrdMap;
use quorate_proto::command::FieldError;
use quorate_types::MemberId;

use super::{Answer, field_errors::error};

/// Most connections that one member can record.
pub const CONNECTIONS_MAX: usize = 1000;
/// Longest of its texts, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// One connection of a connector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerConnection {
    /// Name that the broker gives it, if the addresses are the same at both ends.
    pub name: String,
    /// Label that the connector gave it.
    pub label: String,
}

/// Connections of one member by connector (`kind/name`).
pub type ConnectionsByConnector = BTreeMap<String, BrokerConnection>;

/// Connections of all members.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordedConnections {
    pub(super) by_member: OrdMap<MemberId, Arc<ConnectionsByConnector>>,
}

impl RecordedConnections {
    /// Returns the connection of a member's connector.
    pub fn connection(&self, member: MemberId, connector: &str) -> Option<&BrokerConnection> {
        self.by_member.get(&member)?.get(connector)
    }

    /// Returns the connections that a member has recorded.
    pub fn connections_of(&self, member: MemberId) -> Option<&Arc<ConnectionsByConnector>> {
        self.by_member.get(&member)
    }

    /// Lists the members that have recorded any.
    pub fn members(&self) -> impl Iterator<Item = MemberId> {
        self.by_member.keys().copied()
    }

    /// Replaces all that the member has recorded.
    pub(super) fn record(
        &mut self,
        index: u64,
        member: MemberId,
        connections: &ConnectionsByConnector,
    ) -> Answer {
        let before = self.by_member.get(&member);
        if before.map_or(connections.is_empty(), |before| **before == *connections) {
            return Answer::Done {
                revision: index,
                changed: false,
                created: false,
            };
        }
        let created = before.is_none();
        if connections.is_empty() {
            self.by_member.remove(&member);
        } else {
            self.by_member.insert(member, Arc::new(connections.clone()));
        }
        Answer::done(index, created)
    }
}

pub(super) fn check(member: MemberId, connections: &ConnectionsByConnector) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if member == 0 {
        errors.push(error("member", "0", "must be a member's id"));
    }
    if connections.len() > CONNECTIONS_MAX {
        let problem = format!("must be at most {CONNECTIONS_MAX}");
        errors.push(error("connections", connections.len().to_string(), problem));
    }
    let texts = connections
        .iter()
        .flat_map(|(connector, it)| [connector, &it.name, &it.label]);
    if let Some(text) = texts.into_iter().find(|text| text.len() > TEXT_BYTES_MAX) {
        let problem = format!("must have at most {TEXT_BYTES_MAX} bytes");
        errors.push(error(
            "connections",
            format!("{} bytes", text.len()),
            problem,
        ));
    }
    errors
}

#[cfg(test)]
mod tests;
