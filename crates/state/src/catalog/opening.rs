//! Opened catalog: the same resources with their secrets in clear, for one member alone.
//!
//! What uses secrets (the guards of channels, signatures, connectors) reads an opened catalog and
//! needs to know nothing of sealing. It is made beside the replicated state and is never part of
//! it: nothing writes it anywhere. From one state to the next only what has changed is opened.

use std::sync::Arc;

use quorate_resources::{Kind, Resource};

use super::{Catalog, StoredResource, index::ResourceClaim};

/// Opener of a resource: the same with its secrets in clear, or why they can't be opened. It is
/// given the catalog for the secrets that are used by name.
pub type OpenResource<'a> = dyn Fn(&StoredResource, &Catalog) -> Result<Resource, String> + 'a;

/// Catalog with the secrets in clear, and the one that it was made from.
#[derive(Clone)]
pub struct OpenedCatalog {
    stored: Catalog,
    opened: Catalog,
}

impl OpenedCatalog {
    /// Opens a whole catalog.
    pub fn new(stored: &Catalog, open: &OpenResource<'_>) -> OpenedCatalog {
        OpenedCatalog::anew(stored, 0, open)
    }

    /// Opens a later catalog, or an earlier one. `keys_changed`: what could be opened before may
    /// be another now, so all is opened anew.
    pub fn next(
        &self,
        stored: &Catalog,
        keys_changed: bool,
        open: &OpenResource<'_>,
    ) -> OpenedCatalog {
        if keys_changed {
            return OpenedCatalog::anew(stored, self.opened.openings + 1, open);
        }
        let mut opened = Catalog {
            openings: self.opened.openings,
            ..stored.clone()
        };
        for kind in kinds() {
            let mut list = self.opened.by_kind[kind as usize].clone();
            for (was, is) in stored.changes(&self.stored, kind) {
                match (was, is) {
                    (_, Some(is)) => {
                        let name = is.resource.name().into();
                        list.insert(name, opened_one(is, stored, open));
                    }
                    (Some(was), None) => {
                        list.remove(was.resource.name());
                    }
                    (None, None) => {}
                }
            }
            opened.by_kind[kind as usize] = list;
        }
        // Those that use a secret by its name are others as soon as it is.
        for (was, is) in stored.changes(&self.stored, Kind::Secret) {
            let Some(changed) = is.or(was) else { continue };
            let claim = ResourceClaim::Named(Kind::Secret, changed.resource.name().into());
            for (kind, name) in stored.index.holders(claim) {
                if let Some(user) = stored.get(kind, name) {
                    let user = opened_one(user, stored, open);
                    opened.by_kind[kind as usize].insert(name.into(), user);
                }
            }
        }
        OpenedCatalog {
            stored: stored.clone(),
            opened,
        }
    }

    fn anew(stored: &Catalog, openings: u64, open: &OpenResource<'_>) -> OpenedCatalog {
        let mut opened = Catalog {
            openings,
            ..stored.clone()
        };
        for kind in kinds() {
            let list = stored.by_kind[kind as usize].iter();
            let list = list.map(|(name, it)| (name.clone(), opened_one(it, stored, open)));
            opened.by_kind[kind as usize] = list.collect();
        }
        OpenedCatalog {
            stored: stored.clone(),
            opened,
        }
    }

    /// Returns the catalog with the secrets in clear.
    pub fn catalog(&self) -> &Catalog {
        &self.opened
    }
}

/// Lists the kinds whose resources have secrets.
fn kinds() -> impl Iterator<Item = Kind> {
    let has_secrets = |kind: &Kind| kind.sealed_fields().next().is_some();
    Kind::ALL.into_iter().filter(has_secrets)
}

fn opened_one(
    stored: &StoredResource,
    catalog: &Catalog,
    open: &OpenResource<'_>,
) -> StoredResource {
    if stored.secrets.is_empty() {
        return stored.clone();
    }
    match open(stored, catalog) {
        // With the names of secrets, so that their changes count as its own.
        Ok(resource) => StoredResource {
            resource: Arc::new(resource),
            ..stored.clone()
        },
        Err(why) => StoredResource {
            unopened: Some(why.into()),
            ..stored.clone()
        },
    }
}
