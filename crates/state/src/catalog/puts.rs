//! Puts into the catalog: one resource by itself, or several as one.

use std::sync::Arc;

use bytes::Bytes;
use quorate_proto::command::FieldError;
use quorate_resources::{Kind, Resource, StoredSecret, StoredSecrets, json};
use serde_json::Value;

use super::{
    CanonicalSpec, Catalog, StoredResource,
    check::{ReadResource, read, read_parsed},
    references,
};
use crate::{
    Answer, OverQuota, QuotaKind, WritePrecondition,
    announced_programs::AnnouncedPrograms,
    field_errors::{error, in_batch},
    quota::{self, ResourceLimits},
};

/// One of several resources that are put at once.
#[derive(Clone, PartialEq, Eq)]
pub struct BatchedPut {
    /// Kind of the resource.
    pub kind: Kind,
    /// Name of the resource; it stands in `spec` too.
    pub name: String,
    /// Fields as JSON.
    pub spec: Bytes,
}

/// State beside the catalog by which a put is decided.
#[derive(Clone, Copy)]
pub(crate) struct PutRules<'a> {
    pub announced: &'a AnnouncedPrograms,
    /// Oldest version of the cluster's key that there is. What was sealed by an older one before
    /// that was dropped, and comes after, could never be opened.
    pub oldest_key: u32,
}

/// Room check of a put: those of a batch are checked together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RoomCheck {
    Asked,
    NotAsked,
}

impl Catalog {
    /// Puts one resource, if there is room.
    pub(crate) fn put(
        &mut self,
        index: u64,
        kind: Kind,
        name: &str,
        spec: &[u8],
        precondition: Option<WritePrecondition>,
        rules: PutRules<'_>,
    ) -> Answer {
        match read(kind, name, spec) {
            Ok((spec, written)) => {
                self.put_read(index, spec, written, precondition, rules, RoomCheck::Asked)
            }
            Err(errors) => Answer::Invalid(errors),
        }
    }

    /// Checks that so many resources, with so many bytes of JSON, may come in place of the present
    /// ones.
    fn check_room(&self, count: usize, spec_bytes: u64) -> Result<(), OverQuota> {
        let ResourceLimits {
            count: count_max,
            bytes: bytes_max,
        } = self.limits;
        let (now, then) = (self.len() as u64, count as u64);
        quota::check(QuotaKind::Resources, now, then, count_max as u64)?;
        quota::check(
            QuotaKind::ResourceBytes,
            self.spec_bytes,
            spec_bytes,
            bytes_max,
        )
    }

    /// Puts a resource whose JSON has been parsed already.
    pub(crate) fn put_parsed(
        &mut self,
        index: u64,
        kind: Kind,
        name: &str,
        spec: Value,
        rules: PutRules<'_>,
    ) -> Answer {
        match read_parsed(kind, name, &spec) {
            Ok(written) => self.put_read(index, spec, written, None, rules, RoomCheck::Asked),
            Err(errors) => Answer::Invalid(errors),
        }
    }

    fn put_read(
        &mut self,
        index: u64,
        mut spec: Value,
        written: ReadResource,
        precondition: Option<WritePrecondition>,
        rules: PutRules<'_>,
        room: RoomCheck,
    ) -> Answer {
        let (kind, name) = (written.resource.kind(), written.resource.name().to_owned());
        let before = self.get(kind, &name);
        let revision = before.map(|stored| stored.revision);
        if precondition.is_some_and(|it| !it.holds(revision)) {
            return Answer::PreconditionFailed {
                revision: revision.unwrap_or(0),
            };
        }
        let ReadResource { resource, secrets } = match with_secret(written, &mut spec, before) {
            Ok(read) => read,
            Err(errors) => return Answer::Invalid(errors),
        };
        let is_same = |it: &&StoredResource| *it.resource == resource && it.secrets == secrets;
        if let Some(before) = before.filter(is_same) {
            return Answer::Done {
                revision: before.revision,
                changed: false,
                created: false,
            };
        }
        let mut errors = sealed_by_dropped_keys(&secrets, rules.oldest_key);
        errors.extend(references::missing(&resource, self, rules.announced));
        errors.extend(references::unusable_secrets(&resource, &secrets, self));
        errors.extend(references::clashes(&resource, self));
        errors.extend(references::order_conflict(&resource, self));
        if !errors.is_empty() {
            return Answer::Invalid(errors);
        }
        let stored = StoredResource {
            revision: index,
            created: before.map_or(index, |stored| stored.created),
            resource: Arc::new(resource),
            secrets,
            unopened: None,
            spec: CanonicalSpec(json::canonical(&spec).into()),
        };
        if room == RoomCheck::Asked {
            let count = self.len() + usize::from(before.is_none());
            let gone = before.map_or(0, StoredResource::spec_bytes);
            let bytes = self.spec_bytes - gone + stored.spec_bytes();
            if let Err(over) = self.check_room(count, bytes) {
                return Answer::Full(over);
            }
        }
        self.revision = index;
        self.keep(kind, &name, stored);
        Answer::done(index, revision.is_none())
    }

    /// Puts several in order, all of them or none.
    pub(crate) fn put_all(
        &mut self,
        index: u64,
        puts: &[BatchedPut],
        rules: PutRules<'_>,
    ) -> Answer {
        let before = self.clone();
        let mut answer = self.put_each(index, puts, rules);
        let is_done = matches!(answer, Answer::Done { .. });
        // One may make the room that another takes.
        let room = before.check_room(self.len(), self.spec_bytes);
        if !is_done || room.is_err() {
            *self = before;
        }
        if let (true, Err(over)) = (is_done, room) {
            answer = Answer::Full(over);
        }
        answer
    }

    /// Puts several in order, up to the first that is refused.
    fn put_each(&mut self, index: u64, puts: &[BatchedPut], rules: PutRules<'_>) -> Answer {
        let (mut any_changed, mut any_created) = (false, false);
        for (position, it) in puts.iter().enumerate() {
            let put = read(it.kind, &it.name, &it.spec).map(|(spec, written)| {
                self.put_read(index, spec, written, None, rules, RoomCheck::NotAsked)
            });
            match put {
                Ok(Answer::Done {
                    changed, created, ..
                }) => {
                    any_changed |= changed;
                    any_created |= created;
                }
                Ok(Answer::Invalid(errors)) | Err(errors) => {
                    return Answer::Invalid(in_batch(position, errors));
                }
                Ok(refused) => return refused,
            }
        }
        Answer::Done {
            revision: self.revision,
            changed: any_changed,
            created: any_created,
        }
    }
}

fn sealed_by_dropped_keys(secrets: &StoredSecrets, oldest: u32) -> Vec<FieldError> {
    let dropped = secrets.sealed().filter(|(_, it)| it.key_version < oldest);
    let problem = "was sealed by a key that the cluster has dropped meanwhile: put it again";
    dropped
        .map(|(field, _)| error(field, "", problem))
        .collect()
}

/// Fills in the secret that was left out, from what is there: sealed as it is, or its name.
fn with_secret(
    written: ReadResource,
    spec: &mut Value,
    before: Option<&StoredResource>,
) -> Result<ReadResource, Vec<FieldError>> {
    let kind = written.resource.kind();
    let mut filled = false;
    if let Some(url) = before.and_then(|before| management_url_kept(&written, before)) {
        spec["management_url"] = url;
        filled = true;
    }
    let Some(field) = kind.secret_field() else {
        return Ok(written);
    };
    let is_stored = written.secrets.get(field).is_some();
    if is_stored && !written.resource.keeps_its_secret() {
        let other = written.resource.secret_goes_with();
        let problem = format!("goes with {other}: give both, or leave both out");
        return Err(vec![error(field, "", problem)]);
    }
    if !is_stored && written.resource.secret().is_none() {
        match before.and_then(|before| secret_json(before, field)) {
            Some(secret) if written.resource.keeps_its_secret() => {
                check_secret_target(&written.resource, spec, before, field)?;
                spec[field] = secret;
                filled = true;
            }
            None if !written.resource.may_lack_its_secret() => {
                let problem = format!(
                    "is required: there is no {kind} {:?} yet to keep it from",
                    written.resource.name()
                );
                return Err(vec![error(field, "", problem)]);
            }
            _ => {}
        }
    }
    if filled {
        ReadResource::from_spec(kind, spec)
    } else {
        Ok(written)
    }
}

/// Returns the secret of a resource as it stands in its JSON.
fn secret_json(stored: &StoredResource, field: &str) -> Option<Value> {
    let in_clear = || stored.resource.secret().map(Value::from);
    let kept = stored.secrets.get(field).map(StoredSecret::json);
    kept.or_else(in_clear)
}

/// Returns the `management_url` of before, with its credentials, where it was put without them.
fn management_url_kept(written: &ReadResource, before: &StoredResource) -> Option<Value> {
    const FIELD: &str = "management_url";
    let (Resource::AmqpConnection(it), Resource::AmqpConnection(was)) =
        (&written.resource, &*before.resource)
    else {
        return None;
    };
    if written.secrets.get(FIELD).is_some() {
        return None;
    }
    match before.secrets.get(FIELD) {
        Some(sealed) => it.has_bare_management_url_of(was).then(|| sealed.json()),
        None => it.management_url_kept(was).map(Value::from),
    }
}

/// Refuses to keep a secret for another target than it was given for: a writer of a resource who
/// doesn't know its secret could have it sent to a host of his own otherwise.
fn check_secret_target(
    written: &Resource,
    spec: &Value,
    before: Option<&StoredResource>,
    secret: &str,
) -> Result<(), Vec<FieldError>> {
    let Some(before) = before else {
        return Ok(());
    };
    // The spec has the credentials of management_url again, where they were left out.
    let now = Resource::read(written.kind(), spec)?;
    let changed = now.changed_target_fields(&before.resource);
    if changed.is_empty() {
        return Ok(());
    }
    let problem = format!(
        "is required where {} changes: the one that is kept goes only where it was given for",
        changed.join(", ")
    );
    Err(vec![error(secret, "", problem)])
}
