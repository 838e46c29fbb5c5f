//! Opening: resources with their secrets in clear.

use std::sync::Arc;

use quorate_keyring::{OpenError, SecretPlace};
use quorate_resources::{Kind, Resource, SealedText, StoredSecret, json};
use quorate_state::{Catalog, OpenedCatalog, State, StoredResource};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{KeySet, Vault, encoding};

/// Reason why the secrets of a resource can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnusableSecret {
    #[error(
        "the secret in `{field}` is sealed by version {version} of the cluster's key, which this member can't open: see `quorate secret status`"
    )]
    NoKey { field: &'static str, version: u32 },
    #[error("the secret in `{field}` does not open: {why}; put it again")]
    NotGenuine { field: &'static str, why: OpenError },
    #[error("secret/{name}, which `{field}` uses, can't be used: {why}")]
    Named {
        field: &'static str,
        name: String,
        why: String,
    },
    #[error("its secrets open, and it can't be read with them")]
    Unreadable,
}

/// Catalog that was opened last.
pub(crate) struct LatestOpened {
    keys: Arc<KeySet>,
    revision: u64,
    catalog: OpenedCatalog,
}

impl LatestOpened {
    /// Returns true if these keys would make the same of it: a revision is of one catalog.
    fn is_of(&self, stored: &Catalog, keys: &Arc<KeySet>) -> bool {
        self.revision == stored.revision() && Arc::ptr_eq(&self.keys, keys)
    }
}

impl Vault {
    /// Returns a state in which secrets are in clear as far as this member can open them; see
    /// [`StoredResource::unopened`] for the others. Cheap where nothing has changed since the last
    /// call.
    pub fn opened(&self, state: &State) -> State {
        let keys = self.keys(state.keyring());
        let open = |stored: &StoredResource, catalog: &Catalog| {
            let opened = self.open_resource(&keys, stored, catalog);
            opened.map_err(|why| why.to_string())
        };
        let mut latest = self.opened.lock();
        let opened = match &*latest {
            None => OpenedCatalog::new(state.catalog(), &open),
            // Most entries of the log change no resource.
            Some(it) if it.is_of(state.catalog(), &keys) => return state.with_opened(&it.catalog),
            Some(it) => {
                let keys_changed = !Arc::ptr_eq(&it.keys, &keys);
                it.catalog.next(state.catalog(), keys_changed, &open)
            }
        };
        let state_opened = state.with_opened(&opened);
        *latest = Some(LatestOpened {
            keys,
            revision: state.catalog().revision(),
            catalog: opened,
        });
        state_opened
    }

    fn open_resource(
        &self,
        keys: &KeySet,
        stored: &StoredResource,
        catalog: &Catalog,
    ) -> Result<Resource, UnusableSecret> {
        let unreadable = |_| UnusableSecret::Unreadable;
        let kind = stored.resource.kind();
        let mut spec = json::parse(stored.stored_spec().as_bytes()).map_err(unreadable)?;
        for (field, secret) in stored.secrets().iter() {
            let text = match secret {
                StoredSecret::Sealed(sealed) => {
                    self.open_text(keys, kind, stored.resource.name(), field, sealed)?
                }
                StoredSecret::Named(name) => {
                    let named = self.open_named(keys, &stored.resource, name, catalog);
                    named.map_err(|why| UnusableSecret::Named {
                        field,
                        name: name.clone(),
                        why,
                    })?
                }
            };
            spec[field] = text.as_str().into();
        }
        self.check_named(kind, stored, &spec)?;
        Resource::read(kind, &spec).map_err(|_| UnusableSecret::Unreadable)
    }

    /// Refuses values that the fields which use them by name would not have taken, such as a key
    /// that is too short: whoever named the secret may not have known its value.
    fn check_named(
        &self,
        kind: Kind,
        stored: &StoredResource,
        opened: &Value,
    ) -> Result<(), UnusableSecret> {
        let mut named = stored.secrets().named().peekable();
        if named.peek().is_none() {
            return Ok(());
        }
        let refused = Resource::parse(kind, opened).err().unwrap_or_default();
        for (field, name) in named {
            if let Some(error) = refused.iter().find(|error| error.field == field) {
                return Err(UnusableSecret::Named {
                    field,
                    name: name.to_owned(),
                    why: format!("its value {}", error.problem),
                });
            }
        }
        Ok(())
    }

    /// Opens the value of a `secret` for a resource that may use it.
    fn open_named(
        &self,
        keys: &KeySet,
        user: &Resource,
        name: &str,
        catalog: &Catalog,
    ) -> Result<Zeroizing<String>, String> {
        let stored = catalog.get(Kind::Secret, name).ok_or("it is not there")?;
        let targets = user.secret_targets();
        let allowed = match &*stored.resource {
            Resource::Secret(it) => it.allows(&targets),
            _ => false,
        };
        if !allowed {
            return Err("its allowed_targets don't have where it would go to".into());
        }
        match stored.secrets().get("value") {
            Some(StoredSecret::Sealed(sealed)) => self
                .open_text(keys, Kind::Secret, name, "value", sealed)
                .map_err(|why| why.to_string()),
            _ => match stored.resource.secret() {
                Some(text) => Ok(Zeroizing::new(text.to_owned())),
                None => Err("it has no value".into()),
            },
        }
    }

    pub(crate) fn open_text(
        &self,
        keys: &KeySet,
        kind: Kind,
        name: &str,
        field: &'static str,
        text: &SealedText,
    ) -> Result<Zeroizing<String>, UnusableSecret> {
        let version = text.key_version;
        let key = keys
            .get(version)
            .ok_or(UnusableSecret::NoKey { field, version })?;
        let place = self.place(kind, name, field, text.shown.as_deref());
        encoding::from_text(text)
            .and_then(|sealed| key.open(place, &sealed))
            .map_err(|why| UnusableSecret::NotGenuine { field, why })
    }

    pub(crate) fn place<'a>(
        &'a self,
        kind: Kind,
        name: &'a str,
        field: &'a str,
        shown: Option<&'a str>,
    ) -> SecretPlace<'a> {
        SecretPlace {
            cluster: &self.cluster,
            kind: kind.as_str(),
            name,
            field,
            shown,
        }
    }
}
