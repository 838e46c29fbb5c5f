//! The resources with their revisions.
//!
//! What is decided when a put is applied depends on what is there and on nothing else: on
//! the precondition, on what it names, and on what others hold already. The rules of fields
//! (how long, which characters, from where to where) are asked by the member that proposes
//! it ([`check`]) and by none that applies it: a program with a stricter rule than the one
//! that proposed would refuse an entry that the others store, and from then on its state
//! would be another one. So the reading of an entry ([`Resource::read`]) takes any value
//! that its type can hold. A field that a program does not know, or a value of another type,
//! makes the entry one that it does not know: [`Command::decode`](super::Command::decode)
//! refuses it before it comes here, and a snapshot that holds one is not read.
//!
//! How much there may be in all is decided here too ([`super::quota`]), by what is there.
//!
//! A put that changes nothing keeps the revision, so that applying the same file
//! twice disturbs nobody. A secret that is left out of a put stays as it is.

mod check;
mod index;
mod warnings;

use std::sync::Arc;

use imbl::{OrdMap, ordmap::DiffItem};
use serde_json::Value;

pub(super) use check::read;
pub use check::{SPEC_BYTES_MAX, check, check_parsed};
pub use warnings::ResourceWarning;

use index::{CatalogIndex, ResourceClaim};
use quorate_proto::command::FieldError;
use quorate_resources::{
    AmqpChannel, AmqpConnection, AmqpOutgoing, ApiKey, BasicAuth, HttpChannel, IbmMqChannel,
    IbmMqConnection, IbmMqOutgoing, Kind, Resource, Service, ZmqChannel, ZmqOutgoing, json,
};

use super::{
    Answer, BatchedPut, OverQuota, QuotaKind, WritePrecondition,
    announced_programs::AnnouncedPrograms,
    command::{error, in_batch},
    quota::{self, ResourceLimits},
    references,
};

/// How many of those that name a resource a refused deletion tells.
pub const DEPENDENTS_MAX: usize = 100;

/// A resource with its revision.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredResource {
    /// The log index that last changed it.
    pub revision: u64,
    /// The log index that created it; 0: not known, since the snapshot that it was read from
    /// is older than this field.
    pub created: u64,
    /// It, as this program reads it.
    pub resource: Arc<Resource>,
    /// What the user wrote, with the secret: canonical JSON, without defaults.
    spec: CanonicalSpec,
}

impl StoredResource {
    pub(super) fn spec(&self) -> &str {
        &self.spec.0
    }

    /// How many bytes of JSON it has.
    pub fn spec_bytes(&self) -> u64 {
        self.spec.0.len() as u64
    }
}

/// Whether a put asks by itself if there is room: those of a batch ask together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RoomCheck {
    Asked,
    NotAsked,
}

/// Secrets stand in it: it is never shown.
#[derive(Clone, PartialEq)]
struct CanonicalSpec(Arc<str>);

impl std::fmt::Debug for CanonicalSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

/// All resources.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    revision: u64,
    by_kind: [OrdMap<Arc<str>, StoredResource>; Kind::ALL.len()],
    index: CatalogIndex,
    /// Of all specs together.
    spec_bytes: u64,
    limits: ResourceLimits,
}

macro_rules! typed {
    ($(#[$doc:meta])* $list:ident, $kind:ident) => {
        $(#[$doc])*
        pub fn $list(&self) -> impl Iterator<Item = (&Arc<$kind>, u64)> {
            self.list(Kind::$kind).filter_map(|(_, stored)| match &*stored.resource {
                Resource::$kind(it) => Some((it, stored.revision)),
                _ => None,
            })
        }
    };
}

impl Catalog {
    /// The log index that last changed any resource.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// One resource.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&StoredResource> {
        self.by_kind[kind as usize].get(name)
    }

    /// The log index that last changed this resource or one that it names.
    pub fn last_change(&self, stored: &StoredResource) -> u64 {
        let named = stored.resource.references();
        let revisions = named.iter().filter_map(|it| self.get(it.kind, it.name));
        revisions
            .map(|it| it.revision)
            .fold(stored.revision, u64::max)
    }

    /// The resources of a kind, by name.
    pub fn list(&self, kind: Kind) -> impl Iterator<Item = (&str, &StoredResource)> {
        self.by_kind[kind as usize]
            .iter()
            .map(|(name, stored)| (&**name, stored))
    }

    /// The resources of a kind that differ from those of `before`, by name: each as it was and
    /// as it is, where it was or is at all. What both catalogs share is not looked at, so that
    /// this costs what has changed, whatever else is there.
    pub fn changes<'c>(
        &'c self,
        before: &'c Catalog,
        kind: Kind,
    ) -> impl Iterator<Item = (Option<&'c StoredResource>, Option<&'c StoredResource>)> {
        let (was, is) = (&before.by_kind[kind as usize], &self.by_kind[kind as usize]);
        was.diff(is).map(|it| match it {
            DiffItem::Add(_, is) => (None, Some(is)),
            DiffItem::Update { old, new } => (Some(old.1), Some(new.1)),
            DiffItem::Remove(_, was) => (Some(was), None),
        })
    }

    /// All resources, in an order in which they could be created.
    pub fn all(&self) -> impl Iterator<Item = (Kind, &str, &StoredResource)> {
        Kind::ALL.into_iter().flat_map(|kind| {
            self.list(kind)
                .map(move |(name, stored)| (kind, name, stored))
        })
    }

    typed!(
        /// The services, with their revisions.
        services, Service
    );
    typed!(
        /// The HTTP channels, with their revisions.
        http_channels, HttpChannel
    );
    typed!(
        /// The AMQP connections, with their revisions.
        amqp_connections, AmqpConnection
    );
    typed!(
        /// The AMQP channels, with their revisions.
        amqp_channels, AmqpChannel
    );
    typed!(
        /// The AMQP outgoings, with their revisions.
        amqp_outgoings, AmqpOutgoing
    );
    typed!(
        /// The connections to IBM MQ, with their revisions.
        ibm_mq_connections, IbmMqConnection
    );
    typed!(
        /// The channels of IBM MQ, with their revisions.
        ibm_mq_channels, IbmMqChannel
    );
    typed!(
        /// The outgoings of IBM MQ, with their revisions.
        ibm_mq_outgoings, IbmMqOutgoing
    );
    typed!(
        /// The ZeroMQ channels, with their revisions.
        zmq_channels, ZmqChannel
    );
    typed!(
        /// The ZeroMQ outgoings, with their revisions.
        zmq_outgoings, ZmqOutgoing
    );

    /// One `basic_auth`.
    pub fn basic_auth(&self, name: &str) -> Option<&Arc<BasicAuth>> {
        match &*self.get(Kind::BasicAuth, name)?.resource {
            Resource::BasicAuth(it) => Some(it),
            _ => None,
        }
    }

    /// One `api_key`.
    pub fn api_key(&self, name: &str) -> Option<&Arc<ApiKey>> {
        match &*self.get(Kind::ApiKey, name)?.resource {
            Resource::ApiKey(it) => Some(it),
            _ => None,
        }
    }

    /// How many resources of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.by_kind[kind as usize].len()
    }

    /// How many resources there are.
    pub fn len(&self) -> usize {
        self.by_kind.iter().map(OrdMap::len).sum()
    }

    /// How many bytes of JSON they have, all together.
    pub fn spec_bytes(&self) -> u64 {
        self.spec_bytes
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Others that hold what this resource needs for itself: the first few of them.
    pub(super) fn rivals(&self, resource: &Resource) -> impl Iterator<Item = &Resource> {
        let rivals = self.index.rivals(resource);
        let rivals: Vec<&Resource> = rivals
            .into_iter()
            .filter_map(|(kind, name)| Some(&*self.get(kind, name)?.resource))
            .collect();
        rivals.into_iter()
    }

    /// The channels that keep the order of what comes over an AMQP connection.
    pub(super) fn in_order_over(&self, connection: &str) -> impl Iterator<Item = &str> {
        let holders = self
            .index
            .holders(ResourceClaim::Ordered(connection.into()));
        holders.map(|(_, name)| name)
    }

    /// Those that name the resource, as `kind/name`: the first [`DEPENDENTS_MAX`] of them.
    fn dependents(&self, kind: Kind, name: &str) -> Vec<String> {
        let holders = self.index.holders(ResourceClaim::Named(kind, name.into()));
        holders
            .take(DEPENDENTS_MAX)
            .map(|(kind, name)| format!("{kind}/{name}"))
            .collect()
    }

    /// Keeps a resource in place of the one of its name.
    fn keep(&mut self, kind: Kind, name: &str, stored: StoredResource) {
        let resource = stored.resource.clone();
        self.spec_bytes += stored.spec_bytes();
        if let Some(before) = self.by_kind[kind as usize].insert(name.into(), stored) {
            self.index.remove(&before.resource);
            self.spec_bytes -= before.spec_bytes();
        }
        self.index.add(&resource);
    }

    /// Puts one, if there is room.
    pub(super) fn put(
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

    /// Whether as many resources, with as many bytes of JSON, may come in place of what is here.
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

    /// Puts what was read from JSON already.
    pub(super) fn put_parsed(
        &mut self,
        index: u64,
        kind: Kind,
        name: &str,
        spec: Value,
        announced: &AnnouncedPrograms,
    ) -> Answer {
        match check::read_parsed(kind, name, &spec) {
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
    pub(super) fn put_all(
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

    pub(super) fn delete(
        &mut self,
        index: u64,
        kind: Kind,
        name: &str,
        precondition: Option<WritePrecondition>,
    ) -> Answer {
        let revision = self.get(kind, name).map(|stored| stored.revision);
        if precondition.is_some_and(|it| !it.holds(revision)) {
            return Answer::PreconditionFailed {
                revision: revision.unwrap_or(0),
            };
        }
        if revision.is_none() {
            return Answer::NotFound;
        }
        let by = self.dependents(kind, name);
        if !by.is_empty() {
            return Answer::Referenced(by);
        }
        self.revision = index;
        if let Some(before) = self.by_kind[kind as usize].remove(name) {
            self.index.remove(&before.resource);
            self.spec_bytes -= before.spec_bytes();
        }
        Answer::done(index, false)
    }

    pub(super) fn restored(revision: u64) -> Catalog {
        Catalog {
            revision,
            ..Catalog::default()
        }
    }

    /// Takes a resource from a snapshot as it is: others that it names may follow.
    pub(super) fn restore(
        &mut self,
        kind: Kind,
        name: &str,
        (revision, created): (u64, u64),
        spec: &str,
    ) -> Result<(), Vec<FieldError>> {
        let (_, resource) = read(kind, name, spec.as_bytes())?;
        let stored = StoredResource {
            revision,
            created,
            resource: Arc::new(resource),
            spec: CanonicalSpec(spec.into()),
        };
        self.keep(kind, name, stored);
        Ok(())
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
            None if !kind.may_lack_its_secret() => {
                let problem = format!(
                    "is required: there is no {kind} {:?} yet to keep it from",
                    written.name()
                );
                return Err(vec![error(field, "", problem)]);
            }
            _ => {}
        }
    }
    match filled {
        true => Resource::read(kind, spec),
        false => Ok(written),
    }
}

/// A secret that is kept goes only where it was given for: whoever may write a resource, and
/// doesn't know its secret, could have it sent to a host of his own otherwise.
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

#[cfg(test)]
mod tests;
