//! Lists of resources, without their secrets.

use quorate_resources::Kind;
use quorate_state::{State, StoredResource};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One resource in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceRow {
    /// The resource's kind.
    pub kind: Kind,
    /// The resource's name.
    pub name: String,
    /// The log index that last changed the resource.
    pub revision: u64,
    /// The fields with defaults filled in, without the secret.
    pub resource: Value,
}

impl ResourceRow {
    fn new(kind: Kind, name: &str, stored: &StoredResource) -> ResourceRow {
        ResourceRow {
            kind,
            name: name.to_owned(),
            revision: stored.revision,
            resource: stored.shown(),
        }
    }
}

/// Resources, in an order in which they could be created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourcesAnswer {
    /// The resources.
    pub resources: Vec<ResourceRow>,
    /// The revision that the list reflects.
    pub revision: u64,
}

impl ResourcesAnswer {
    pub(super) fn from_state(state: &State, kind: Option<Kind>) -> ResourcesAnswer {
        let resources = state
            .catalog()
            .all()
            .filter(|(it, ..)| kind.is_none_or(|kind| kind == *it))
            .map(|(kind, name, stored)| ResourceRow::new(kind, name, stored))
            .collect();
        ResourcesAnswer {
            resources,
            revision: state.revision(),
        }
    }
}
