//! What operators have asked of connectors: to pause, to resume, to restart.
//!
//! It stands in the replicated state, apart from the resources, so that a takeover does not
//! resume what someone paused, and so that putting the same resource again does not either.

use std::sync::Arc;

use imbl::OrdMap;
use quorate_proto::command::FieldError;
use quorate_resources::Kind;

use super::{Answer, Catalog, command::error};

/// What can be asked of a connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorAction {
    /// It stops, whoever the connector server is, until it is resumed.
    Pause,
    /// It runs again.
    Resume,
    /// Its process is replaced by a new one; a paused one stays paused.
    Restart,
}

/// What stands of the orders for one connector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectorOperation {
    /// Whether it is paused.
    pub paused: bool,
    /// The log index of the last restart; 0 if there was none. A process that was started
    /// for a lower one is to be replaced.
    pub restarted: u64,
}

/// The connectors that were given orders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectorOperations {
    revision: u64,
    by_kind: [OrdMap<Arc<str>, ConnectorOperation>; Kind::ALL.len()],
}

impl ConnectorOperations {
    /// The log index that last changed any.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What stands for one connector.
    pub fn get(&self, kind: Kind, name: &str) -> ConnectorOperation {
        let found = self.by_kind[kind as usize].get(name);
        found.copied().unwrap_or_default()
    }

    /// Those that were given orders, by kind and name.
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

    /// Its resource was deleted: another one of its name starts anew.
    pub(super) fn forget(&mut self, index: u64, kind: Kind, name: &str) {
        if self.by_kind[kind as usize].remove(name).is_some() {
            self.revision = index;
        }
    }

    pub(super) fn keep(&mut self, kind: Kind, name: &str, operation: ConnectorOperation) {
        let of_kind = &mut self.by_kind[kind as usize];
        match operation == ConnectorOperation::default() {
            true => of_kind.remove(name),
            false => of_kind.insert(name.into(), operation),
        };
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
