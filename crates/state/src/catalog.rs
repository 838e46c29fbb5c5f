//! Catalog of the resources with their revisions.
//!
//! A decision when a put is applied depends on what is there and on nothing else: on the
//! precondition, on the resources that it names, and on what others hold already. The rules of
//! fields (how long, which characters, from where to where) are asked by the member that proposes
//! it ([`check`]) and by none that applies it: a program with a stricter rule than the one that
//! proposed would refuse an entry that the others store, and from then on its state would be
//! another one. So the reading of an entry ([`Resource::read`]) takes any value that its type can
//! hold. A field that a program does not know, or a value of another type, makes the entry one that
//! it does not know: [`Command::decode`](super::Command::decode) refuses it before it comes here,
//! and a snapshot that holds one is not read.
//!
//! The bounds on all resources together are decided here too ([`super::quota`]), by what is there.
//!
//! A put that changes nothing keeps the revision, so that applying the same file twice disturbs
//! nobody. A secret that is left out of a put stays as it is.

mod check;
mod index;
mod puts;
mod references;
mod warnings;

use std::sync::Arc;

use imbl::{OrdMap, ordmap::DiffItem};

pub(super) use check::read;
pub use check::{SPEC_BYTES_MAX, check, check_parsed};
pub use puts::BatchedPut;
pub use warnings::ResourceWarning;

use index::{CatalogIndex, ResourceClaim};
use quorate_proto::command::FieldError;
use quorate_resources::{
    AmqpChannel, AmqpConnection, AmqpOutgoing, ApiKey, BasicAuth, ClientCertificate, Hmac,
    HttpChannel, IbmMqChannel, IbmMqConnection, IbmMqOutgoing, Jwt, Kind, Resource, Service,
    ZmqChannel, ZmqOutgoing,
};

use super::{Answer, WritePrecondition, quota::ResourceLimits};

/// Most dependents that a refused deletion lists.
pub const DEPENDENTS_MAX: usize = 100;

/// A resource with its revision.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredResource {
    /// Log index that last changed it.
    pub revision: u64,
    /// Log index that created it; 0: not known, since the snapshot that it was read from is older
    /// than this field.
    pub created: u64,
    /// Resource as this program reads it.
    pub resource: Arc<Resource>,
    /// JSON that the user wrote, with the secret: canonical, without defaults.
    spec: CanonicalSpec,
}

impl StoredResource {
    pub(super) fn spec(&self) -> &str {
        &self.spec.0
    }

    /// Returns the bytes of its JSON.
    pub fn spec_bytes(&self) -> u64 {
        self.spec.0.len() as u64
    }
}

/// JSON with secrets in it: it is never shown.
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
    /// Bytes of all specs together.
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

macro_rules! named {
    ($(#[$doc:meta])* $get:ident, $kind:ident) => {
        $(#[$doc])*
        pub fn $get(&self, name: &str) -> Option<&Arc<$kind>> {
            match &*self.get(Kind::$kind, name)?.resource {
                Resource::$kind(it) => Some(it),
                _ => None,
            }
        }
    };
}

impl Catalog {
    /// Returns the log index that last changed any resource.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns one resource.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&StoredResource> {
        self.by_kind[kind as usize].get(name)
    }

    /// Returns the log index that last changed this resource or one that it names.
    pub fn last_change(&self, stored: &StoredResource) -> u64 {
        let named = stored.resource.references();
        let revisions = named.iter().filter_map(|it| self.get(it.kind, it.name));
        revisions
            .map(|it| it.revision)
            .fold(stored.revision, u64::max)
    }

    /// Lists the resources of a kind, by name.
    pub fn list(&self, kind: Kind) -> impl Iterator<Item = (&str, &StoredResource)> {
        self.by_kind[kind as usize]
            .iter()
            .map(|(name, stored)| (&**name, stored))
    }

    /// Lists the resources of a kind that differ from those of `before`, by name: each as it was
    /// and as it is, where it was or is at all. What both catalogs share is not looked at, so that
    /// this costs as much as has changed, whatever else is there.
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

    /// Lists all resources, in an order in which they could be created.
    pub fn all(&self) -> impl Iterator<Item = (Kind, &str, &StoredResource)> {
        Kind::ALL.into_iter().flat_map(|kind| {
            self.list(kind)
                .map(move |(name, stored)| (kind, name, stored))
        })
    }

    typed!(
        /// Lists the services, with their revisions.
        services, Service
    );
    typed!(
        /// Lists the HTTP channels, with their revisions.
        http_channels, HttpChannel
    );
    typed!(
        /// Lists the AMQP connections, with their revisions.
        amqp_connections, AmqpConnection
    );
    typed!(
        /// Lists the AMQP channels, with their revisions.
        amqp_channels, AmqpChannel
    );
    typed!(
        /// Lists the AMQP outgoings, with their revisions.
        amqp_outgoings, AmqpOutgoing
    );
    typed!(
        /// Lists the connections to IBM MQ, with their revisions.
        ibm_mq_connections, IbmMqConnection
    );
    typed!(
        /// Lists the channels of IBM MQ, with their revisions.
        ibm_mq_channels, IbmMqChannel
    );
    typed!(
        /// Lists the outgoings of IBM MQ, with their revisions.
        ibm_mq_outgoings, IbmMqOutgoing
    );
    typed!(
        /// Lists the ZeroMQ channels, with their revisions.
        zmq_channels, ZmqChannel
    );
    typed!(
        /// Lists the ZeroMQ outgoings, with their revisions.
        zmq_outgoings, ZmqOutgoing
    );

    named!(
        /// Returns one `basic_auth`.
        basic_auth, BasicAuth
    );
    named!(
        /// Returns one `api_key`.
        api_key, ApiKey
    );
    named!(
        /// Returns one `jwt`.
        jwt, Jwt
    );
    named!(
        /// Returns one `client_certificate`.
        client_certificate, ClientCertificate
    );
    named!(
        /// Returns one `hmac`.
        hmac, Hmac
    );

    /// Returns how many resources of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.by_kind[kind as usize].len()
    }

    /// Returns how many resources there are.
    pub fn len(&self) -> usize {
        self.by_kind.iter().map(OrdMap::len).sum()
    }

    /// Returns the bytes of JSON of all resources together.
    pub fn spec_bytes(&self) -> u64 {
        self.spec_bytes
    }

    /// Returns true when there are no resources.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lists others that hold what this resource needs for itself: the first few of them.
    pub(super) fn rivals(&self, resource: &Resource) -> impl Iterator<Item = &Resource> {
        let rivals = self.index.rivals(resource);
        let rivals: Vec<&Resource> = rivals
            .into_iter()
            .filter_map(|(kind, name)| Some(&*self.get(kind, name)?.resource))
            .collect();
        rivals.into_iter()
    }

    /// Lists the channels that keep the order of what comes over an AMQP connection.
    pub(super) fn in_order_over(&self, connection: &str) -> impl Iterator<Item = &str> {
        let holders = self
            .index
            .holders(ResourceClaim::Ordered(connection.into()));
        holders.map(|(_, name)| name)
    }

    /// Lists the resources that name this one, as `kind/name`: the first [`DEPENDENTS_MAX`] of
    /// them.
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

#[cfg(test)]
mod tests;
