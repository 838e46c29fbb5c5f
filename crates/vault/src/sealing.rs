//! Sealing: of the secrets that are put, and anew of those that an older key has sealed.

use std::sync::Arc;

use bytes::Bytes;
use quorate_keyring::{ClusterKey, NoRandomness};
use quorate_resources::{Kind, Resource, json};
use quorate_state::{BATCH_BYTES_MAX, RESEALED_MAX, ResealedResource, State, StoredResource};
use serde_json::Value;

use crate::{NoKey, Vault, encoding};

/// Reason why secrets can't be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is no key to seal them by.
    #[error(transparent)]
    NoKey(#[from] NoKey),
    /// There is no chance.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Place up to which the catalog has been resealed.
pub type ResealCursor = Option<(Kind, String)>;

/// Next resources to be resealed, and where to go on; `None`: from the beginning, all was seen.
pub struct ResealStep {
    /// Resources with their secrets sealed by the newest key.
    pub resources: Vec<ResealedResource>,
    /// Place to go on at.
    pub next: ResealCursor,
}

impl Vault {
    /// Seals the secrets of a put that stand in it in clear; `None` where there are none. A secret
    /// that is the one that is stored keeps its stored form, whatever version of the key sealed it,
    /// so that a put which changes nothing is known as one.
    pub fn seal(
        &self,
        state: &State,
        kind: Kind,
        name: &str,
        spec: &[u8],
    ) -> Result<Option<Bytes>, SealError> {
        let Ok(mut spec) = json::parse(spec) else {
            return Ok(None);
        };
        let Ok(resource) = Resource::read(kind, &spec) else {
            return Ok(None);
        };
        let texts = resource.texts_to_seal();
        if texts.is_empty() {
            return Ok(None);
        }
        let key = self.newest_key(state.keyring())?;
        let stored = state.catalog().get(kind, name);
        for (field, text, shown) in texts {
            let kept = stored.and_then(|it| self.kept(state, it, field, text, shown.as_deref()));
            spec[field] = match kept {
                Some(kept) => kept,
                None => self.seal_text(&key, kind, name, field, text, shown)?,
            };
        }
        Ok(Some(json::canonical(&spec).into()))
    }

    /// Returns the stored form of a field that has this text.
    fn kept(
        &self,
        state: &State,
        stored: &StoredResource,
        field: &str,
        text: &str,
        shown: Option<&str>,
    ) -> Option<Value> {
        let (field, sealed) = stored.secrets().sealed().find(|(it, _)| *it == field)?;
        if sealed.shown.as_deref() != shown {
            return None;
        }
        let keys = self.keys(state.keyring());
        let (kind, name) = (stored.resource.kind(), stored.resource.name());
        let opened = self.open_text(&keys, kind, name, field, sealed).ok()?;
        (*opened == text).then(|| sealed.json())
    }

    fn seal_text(
        &self,
        key: &ClusterKey,
        kind: Kind,
        name: &str,
        field: &str,
        text: &str,
        shown: Option<String>,
    ) -> Result<Value, NoRandomness> {
        let sealed = key.seal(self.place(kind, name, field, shown.as_deref()), text)?;
        Ok(encoding::to_text(&sealed, shown).json())
    }

    /// Seals the next resources anew whose secrets are in clear, or sealed by an older key than the
    /// newest. Those that this member can't open are left as they are.
    pub fn reseal(&self, state: &State, from: ResealCursor) -> Result<ResealStep, SealError> {
        let key = self.newest_key(state.keyring())?;
        let (mut resources, mut bytes) = (Vec::new(), 0);
        let (first, mut after) = match from {
            Some((kind, name)) => (Some(kind), Some(name)),
            None => (None, None),
        };
        let kinds = Kind::ALL.into_iter();
        for kind in kinds.skip_while(|kind| first.is_some_and(|first| *kind != first)) {
            if kind.sealed_fields().next().is_none() {
                continue;
            }
            let after = after.take();
            for (name, stored) in state.catalog().list_after(kind, after.as_deref()) {
                if let Some(spec) = self.resealed(&key, state, stored)? {
                    bytes += spec.len();
                    resources.push(ResealedResource {
                        kind,
                        name: name.to_owned(),
                        revision: stored.revision,
                        spec,
                    });
                }
                if resources.len() == RESEALED_MAX || bytes >= BATCH_BYTES_MAX {
                    let next = Some((kind, name.to_owned()));
                    return Ok(ResealStep { resources, next });
                }
            }
        }
        let next = None;
        Ok(ResealStep { resources, next })
    }

    fn resealed(
        &self,
        key: &Arc<ClusterKey>,
        state: &State,
        stored: &StoredResource,
    ) -> Result<Option<Bytes>, NoRandomness> {
        let (kind, name) = (stored.resource.kind(), stored.resource.name());
        let in_clear = stored.resource.texts_to_seal();
        let keys = self.keys(state.keyring());
        let old = stored.secrets().sealed().filter_map(|(field, sealed)| {
            let is_old = sealed.key_version < key.version();
            let text = is_old.then(|| self.open_text(&keys, kind, name, field, sealed).ok())??;
            Some((field, text, sealed.shown.clone()))
        });
        let old: Vec<_> = old.collect();
        if in_clear.is_empty() && old.is_empty() {
            return Ok(None);
        }
        let Ok(mut spec) = json::parse(stored.stored_spec().as_bytes()) else {
            return Ok(None);
        };
        for (field, text, shown) in in_clear {
            spec[field] = self.seal_text(key, kind, name, field, text, shown)?;
        }
        for (field, text, shown) in old {
            spec[field] = self.seal_text(key, kind, name, field, &text, shown)?;
        }
        Ok(Some(json::canonical(&spec).into()))
    }
}
