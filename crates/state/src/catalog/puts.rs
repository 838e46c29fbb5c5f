//! Puts into the catalog: one resource by itself, or several as one.

use std::sync::Arc;

use bytes::Bytes;
use quorate_proto::command::FieldError;
use quorate_resources::{Kind, Resource, json};
use serde_json::Value;

use super::{
    CanonicalSpec, Catalog, StoredResource,
    check::{read, read_parsed},
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
        announced: &AnnouncedPrograms,
    ) -> Answer {
        match read(kind, name, spec) {
            Ok((spec, written)) => self.put_read(
                index,
                spec,
                written,
                precondition,
                announced,
                RoomCheck::Asked,
            ),
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
        announced: &AnnouncedPrograms,
    ) -> Answer {
        match read_parsed(kind, name, &spec) {
            Ok(written) => self.put_read(index, spec, written, None, announced, RoomCheck::Asked),
            Err(errors) => Answer::Invalid(errors),
        }
    }

    fn put_read(
        &mut self,
        index: u64,
        mut spec: Value,
        written: Resource,
        precondition: Option<WritePrecondition>,
        announced: &AnnouncedPrograms,
        room: RoomCheck,
    ) -> Answer {
        let (kind, name) = (written.kind(), written.name().to_owned());
        let before = self.get(kind, &name);
        let revision = before.map(|stored| stored.revision);
        if precondition.is_some_and(|it| !it.holds(revision)) {
            return Answer::PreconditionFailed {
                revision: revision.unwrap_or(0),
            };
        }
        let resource = match with_secret(written, &mut spec, before) {
            Ok(resource) => resource,
            Err(errors) => return Answer::Invalid(errors),
        };
        if let Some(before) = before.filter(|before| *before.resource == resource) {
            return Answer::Done {
                revision: before.revision,
                changed: false,
                created: false,
            };
        }
        let mut errors = references::missing(&resource, self, announced);
        errors.extend(references::clashes(&resource, self));
        errors.extend(references::order_conflict(&resource, self));
        if !errors.is_empty() {
            return Answer::Invalid(errors);
        }
        let stored = StoredResource {
            revision: index,
            created: before.map_or(index, |stored| stored.created),
            resource: Arc::new(resource),
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
        announced: &AnnouncedPrograms,
    ) -> Answer {
        let before = self.clone();
        let mut answer = self.put_each(index, puts, announced);
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
    fn put_each(
        &mut self,
        index: u64,
        puts: &[BatchedPut],
        announced: &AnnouncedPrograms,
    ) -> Answer {
        let (mut any_changed, mut any_created) = (false, false);
        for (position, it) in puts.iter().enumerate() {
            let put = read(it.kind, &it.name, &it.spec).map(|(spec, written)| {
                self.put_read(index, spec, written, None, announced, RoomCheck::NotAsked)
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

/// Fills in the secret that was left out, from what is there.
fn with_secret(
    written: Resource,
    spec: &mut Value,
    before: Option<&StoredResource>,
) -> Result<Resource, Vec<FieldError>> {
    let kind = written.kind();
    let mut filled = false;
    if let Resource::AmqpConnection(it) = &written
        && let Some(Resource::AmqpConnection(before)) = before.map(|before| &*before.resource)
        && let Some(url) = it.management_url_kept(before)
    {
        spec["management_url"] = url.into();
        filled = true;
    }
    if let Some(field) = kind.secret_field().filter(|_| written.secret().is_none()) {
        match before.and_then(|before| before.resource.secret()) {
            Some(secret) if written.keeps_its_secret() => {
                check_secret_target(&written, spec, before, field)?;
                spec[field] = secret.into();
                filled = true;
            }
            None if !written.may_lack_its_secret() => {
                let problem = format!(
                    "is required: there is no {kind} {:?} yet to keep it from",
                    written.name()
                );
                return Err(vec![error(field, "", problem)]);
            }
            _ => {}
        }
    }
    if filled {
        Resource::read(kind, spec)
    } else {
        Ok(written)
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
