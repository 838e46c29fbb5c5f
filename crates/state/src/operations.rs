//! Operations on connectors: what operators have paused, resumed or restarted.
//!
//! They stand in the replicated state, apart from the resources, so that a takeover does not resume
//! what an operator paused, and so that putting the same resource again does not either.

use std::sync::Arc;

use imbl::OrdMap;
use quorate_proto::command::FieldError;
use quorate_resources::Kind;

use super::{Answer, Catalog, field_errors::error};

/// Action on a connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorAction {
    /// The connector stops, whichever member is the connector server, until it is resumed.
    Pause,
    /// The connector runs again.
    Resume,
    /// The process is replaced by a new one; a paused one stays paused.
    Restart,
}

/// Effect of all actions on one connector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectorOperation {
    /// True while the connector is paused.
    pub paused: bool,
    /// Log index of the last restart; 0 if there was none. A process that was started for a lower
    /// one is to be replaced.
    pub restarted: u64,
}

/// Connectors that were operated on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectorOperations {
    revision: u64,
    by_kind: [OrdMap<Arc<str>, ConnectorOperation>; Kind::ALL.len()],
}

impl ConnectorOperations {
    /// Returns the log index that last changed any.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the effect of all actions on one connector.
    pub fn get(&self, kind: Kind, name: &str) -> ConnectorOperation {
        let found = self.by_kind[kind as usize].get(name);
        found.copied().unwrap_or_default()
    }

    /// Lists the connectors that were operated on, by kind and name.
    pub fn all(&self) -> impl Iterator<Item = (Kind, &str, ConnectorOperation)> {
        Kind::ALL.into_iter().flat_map(|kind| {
            self.by_kind[kind as usize]
                .iter()
                .map(move |(name, it)| (kind, &**name, *it))
        })
    }

    pub(super) fn operate(
        &mut self,
        index: u64,
        kind: Kind,
        name: &str,
        order: OperatorAction,
        catalog: &Catalog,
    ) -> Answer {
        if catalog.get(kind, name).is_none() {
            return Answer::NotFound;
        }
        let before = self.get(kind, name);
        let after = match order {
            OperatorAction::Pause => ConnectorOperation {
                paused: true,
                ..before
            },
            OperatorAction::Resume => ConnectorOperation {
                paused: false,
                ..before
            },
            OperatorAction::Restart => ConnectorOperation {
                restarted: index,
                ..before
            },
        };
        if after == before {
            return Answer::Done {
                revision: index,
                changed: false,
                created: false,
            };
        }
        self.revision = index;
        self.keep(kind, name, after);
        Answer::done(index, false)
    }

    /// Forgets a connector whose resource was deleted: another one of its name starts anew.
    pub(super) fn forget(&mut self, index: u64, kind: Kind, name: &str) {
        if self.by_kind[kind as usize].remove(name).is_some() {
            self.revision = index;
        }
    }

    pub(super) fn keep(&mut self, kind: Kind, name: &str, operation: ConnectorOperation) {
        let of_kind = &mut self.by_kind[kind as usize];
        if operation == ConnectorOperation::default() {
            of_kind.remove(name);
        } else {
            of_kind.insert(name.into(), operation);
        }
    }

    pub(super) fn restored(revision: u64) -> ConnectorOperations {
        ConnectorOperations {
            revision,
            ..ConnectorOperations::default()
        }
    }
}

pub(super) fn check(kind: Kind) -> Vec<FieldError> {
    if kind.has_connector() {
        return Vec::new();
    }
    let with: Vec<&str> = Kind::ALL
        .into_iter()
        .filter(|kind| kind.has_connector())
        .map(Kind::as_str)
        .collect();
    let problem = format!(
        "has no connectors to pause, resume or restart; these have: {}",
        with.join(", ")
    );
    vec![error("kind", kind.as_str(), problem)]
}

#[cfg(test)]
mod tests;
