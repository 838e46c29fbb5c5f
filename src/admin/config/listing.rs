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

/// The kinds that a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListedKinds {
    /// All kinds.
    All,
    /// All kinds but roles and identities, which no grant on all kinds reaches.
    AllButSecurity,
    /// One kind.
    One(Kind),
}

impl ListedKinds {
    fn has(self, kind: Kind) -> bool {
        match self {
            ListedKinds::All => true,
            ListedKinds::AllButSecurity => !kind.is_security(),
            ListedKinds::One(one) => one == kind,
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
    /// Kinds that are left out, since the caller may not read them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Kind>,
}

impl ResourcesAnswer {
    pub(super) fn from_state(state: &State, kinds: ListedKinds) -> ResourcesAnswer {
        let resources = state
            .catalog()
            .all()
            .filter(|(kind, ..)| kinds.has(*kind))
            .map(|(kind, name, stored)| ResourceRow::new(kind, name, stored))
            .collect();
        ResourcesAnswer {
            resources,
            revision: state.revision(),
            left_out: match kinds {
                ListedKinds::AllButSecurity => {
                    let kinds = Kind::ALL.into_iter();
                    kinds.filter(|it| it.is_security()).collect()
                }
                ListedKinds::All | ListedKinds::One(_) => Vec::new(),
            },
        }
    }
}
