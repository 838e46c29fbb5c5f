//! Resealing: the secrets of resources, sealed by a newer version of the cluster's key.
//!
//! A reseal changes the form of secrets and nothing else, so a resource keeps its revision, and
//! whoever uses it notices nothing. It is decided here that it is one: the resource has to have the
//! revision that was resealed, so that a put at the same time is not undone; every field beside the
//! secrets has to be the same; and a secret can only go to a newer version of the key, so that a
//! reseal that comes late takes nothing back. That the text is the same can't be seen here, where
//! there are no keys: who proposes a reseal has opened it.

use std::sync::Arc;

use bytes::Bytes;
use quorate_proto::command::FieldError;
use quorate_resources::{Kind, StoredSecret, json};
use serde_json::Value;

use super::{
    CanonicalSpec, Catalog, StoredResource,
    check::{ReadResource, read},
};
use crate::{Answer, field_errors::error};

/// Most resources of one command.
pub const RESEALED_MAX: usize = 100;

/// Resource whose secrets were sealed anew.
#[derive(Clone, PartialEq, Eq)]
pub struct ResealedResource {
    /// Kind of the resource.
    pub kind: Kind,
    /// Name of the resource.
    pub name: String,
    /// Revision of the resource that was resealed.
    pub revision: u64,
    /// All of its fields as JSON.
    pub spec: Bytes,
}

impl Catalog {
    /// Takes resources with their secrets sealed anew. Those that have changed meanwhile are left
    /// as they are. Bounds are not asked: a sealed form is longer by a few hundred bytes at most.
    pub(crate) fn reseal(&mut self, index: u64, resealed: &[ResealedResource]) -> Answer {
        let mut changed = false;
        for it in resealed {
            let Some(before) = self.get(it.kind, &it.name) else {
                continue;
            };
            let Ok((spec, read)) = read(it.kind, &it.name, &it.spec) else {
                continue;
            };
            if before.revision != it.revision || !is_reseal(before, &read, &spec) {
                continue;
            }
            let stored = StoredResource {
                revision: before.revision,
                created: before.created,
                resource: Arc::new(read.resource),
                secrets: read.secrets,
                unopened: None,
                spec: CanonicalSpec(json::canonical(&spec).into()),
            };
            self.keep(it.kind, &it.name, stored);
            changed = true;
        }
        if changed {
            self.revision = index;
        }
        Answer::Done {
            revision: index,
            changed,
            created: false,
        }
    }
}

fn is_reseal(before: &StoredResource, now: &ReadResource, spec: &Value) -> bool {
    let kind = before.resource.kind();
    let Ok(was) = json::parse(before.spec().as_bytes()) else {
        return false;
    };
    let rest = |spec: &Value| {
        let mut rest = spec.clone();
        for field in kind.sealed_fields() {
            rest[field] = Value::Null;
        }
        json::canonical(&rest)
    };
    // Where there is a part that may be shown, it stays.
    let same_target = now
        .resource
        .changed_target_fields(&shown(before))
        .is_empty();
    same_target
        && was != *spec
        && rest(&was) == rest(spec)
        && kind.sealed_fields().all(|field| {
            is_newer(
                before,
                was.get(field),
                now.secrets.get(field),
                spec.get(field),
            )
        })
}

/// Returns the resource without the secrets that stand in it in clear.
fn shown(stored: &StoredResource) -> quorate_resources::Resource {
    let shown = stored.resource.without_secret();
    let kind = stored.resource.kind();
    quorate_resources::Resource::read(kind, &shown).unwrap_or_else(|_| (*stored.resource).clone())
}

/// Returns true if a field is as it was, or was sealed by a newer version of the key than before.
fn is_newer(
    before: &StoredResource,
    was: Option<&Value>,
    secret: Option<&StoredSecret>,
    is: Option<&Value>,
) -> bool {
    if was == is {
        return true;
    }
    let (Some(was), Some(StoredSecret::Sealed(now))) = (was, secret) else {
        return false;
    };
    let sealed = before.secrets.sealed();
    let mut same_field = sealed.filter(|(_, it)| it.json() == *was);
    match same_field.next() {
        Some((_, sealed)) => now.key_version > sealed.key_version,
        // In clear until now.
        None => was.is_string(),
    }
}

pub(crate) fn check(resealed: &[ResealedResource]) -> Vec<FieldError> {
    if resealed.len() <= RESEALED_MAX {
        return Vec::new();
    }
    let count = resealed.len().to_string();
    vec![error(
        "resources",
        count,
        format!("must be at most {RESEALED_MAX}"),
    )]
}
