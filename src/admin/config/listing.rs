//! Resources in lists: what may be shown of them.

use quorate_resources::Kind;
use quorate_state::{State, Stored};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One resource in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The log index that last changed it.
    pub revision: u64,
    /// Its fields with defaults filled in, without its secret.
    pub resource: Value,
}

impl Listed {
    fn of(kind: Kind, name: &str, stored: &Stored) -> Listed {
        Listed {
            kind,
            name: name.to_owned(),
            revision: stored.revision,
            resource: stored.resource.shown(),
        }
    }
}

/// Resources, in an order in which they could be created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// Each.
    pub resources: Vec<Listed>,
    /// The revision that the list reflects.
    pub revision: u64,
}

impl Listing {
    pub(super) fn of(state: &State, kind: Option<Kind>) -> Listing {
        let resources = state
            .catalog()
            .all()
            .filter(|(it, ..)| kind.is_none_or(|kind| kind == *it))
            .map(|(kind, name, stored)| Listed::of(kind, name, stored))
            .collect();
        Listing {
            resources,
            revision: state.revision(),
        }
    }
}
