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
mod opening;
mod puts;
mod references;
mod resealing;
mod warnings;

use std::{ops::Bound, sync::Arc};

use imbl::{OrdMap, ordmap::DiffItem};

pub(super) use check::check_readable;
pub use check::{SPEC_BYTES_MAX, check, check_parsed};
pub use opening::{OpenResource, OpenedCatalog};
pub use puts::BatchedPut;
pub(super) use puts::PutRules;
pub(super) use resealing::check as check_resealed;
pub use resealing::{RESEALED_MAX, ResealedResource};
pub use warnings::ResourceWarning;

use index::{CatalogIndex, ResourceClaim};
use quorate_proto::command::FieldError;
use quorate_resources::{
    AmqpChannel, AmqpConnection, AmqpOutgoing, ApiKey, BasicAuth, ClientCertificate, Hmac,
    HttpChannel, IbmMqChannel, IbmMqConnection, IbmMqOutgoing, Jwt, Kind, Resource, Secret,
    Service, StoredSecrets, ZmqChannel, ZmqOutgoing,
};

use check::{ReadResource, read};

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
    /// Resource as this program reads it, without the secrets that are not in clear.
    pub resource: Arc<Resource>,
    secrets: StoredSecrets,
    /// Reason why the secrets of an opened catalog's resource are not in clear.
    unopened: Option<Arc<str>>,
    /// JSON that the user wrote, with the secret: canonical, without defaults.
    spec: CanonicalSpec,
}

impl StoredResource {
    pub(super) fn spec(&self) -> &str {
        &self.spec.0
    }

    /// Returns its JSON as it is stored, with its secrets as they are: sealed, or in clear where an
    /// older version put them.
    pub fn stored_spec(&self) -> &str {
        self.spec()
    }

    /// Returns the secrets that are not in clear.
    pub fn secrets(&self) -> &StoredSecrets {
        &self.secrets
    }

    /// Returns why secrets of an opened catalog's resource are not in clear, if they are not.
    pub fn unopened(&self) -> Option<&str> {
        self.unopened.as_deref()
    }

    /// Returns the JSON form that may be shown.
    pub fn shown(&self) -> serde_json::Value {
        self.resource.shown_with(&self.secrets)
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
    /// Number of secrets that each version of the cluster's key has sealed; 0: in clear.
    sealed_by: OrdMap<u32, u64>,
    /// Number of times that all secrets of an opened catalog were opened anew.
    openings: u64,
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

    /// Returns the log index that last changed this resource or one that it names, or one that one
    /// of these names.
    pub fn last_change(&self, stored: &StoredResource) -> u64 {
        let secrets = stored.secrets.named().map(|(_, name)| (Kind::Secret, name));
        let references = stored.resource.references();
        let named = references.iter().map(|it| (it.kind, it.name));
        // A resource names only such as could be created before it: there is no circle.
        named
            .chain(secrets)
            .filter_map(|(kind, name)| self.get(kind, name))
            .map(|it| self.last_change(it))
            .fold(stored.revision, u64::max)
    }

    /// Returns how many secrets this version of the cluster's key has sealed; 0: how many are in
    /// clear.
    pub fn sealed_by(&self, key_version: u32) -> u64 {
        self.sealed_by.get(&key_version).copied().unwrap_or(0)
    }

    /// Returns how many secrets there are.
    pub fn secret_count(&self) -> u64 {
        self.sealed_by.values().sum()
    }

    /// Returns how often all secrets were opened anew, of an opened catalog: another number is
    /// another reading of resources whose revisions are the same.
    pub fn openings(&self) -> u64 {
        self.openings
    }

    /// Lists the resources of a kind, by name.
    pub fn list(&self, kind: Kind) -> impl Iterator<Item = (&str, &StoredResource)> {
        self.by_kind[kind as usize]
            .iter()
            .map(|(name, stored)| (&**name, stored))
    }

    /// Lists the resources of a kind after this name, or from the first on, by name.
    pub fn list_after(
        &self,
        kind: Kind,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&str, &StoredResource)> {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_kind[kind as usize]
            .range::<_, str>((first, Bound::Unbounded))
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
        /// Returns one `secret`.
        secret, Secret
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
        // First: the index holds what both claim once only.
        self.remove(kind, name);
        self.index.add(&stored.resource, &stored.secrets);
        self.spec_bytes += stored.spec_bytes();
        for version in key_versions(&stored) {
            *self.sealed_by.entry(version).or_default() += 1;
        }
        self.by_kind[kind as usize].insert(name.into(), stored);
    }

    fn remove(&mut self, kind: Kind, name: &str) {
        let Some(before) = self.by_kind[kind as usize].remove(name) else {
            return;
        };
        self.index.remove(&before.resource, &before.secrets);
        self.spec_bytes -= before.spec_bytes();
        for version in key_versions(&before) {
            let left = self.sealed_by(version).saturating_sub(1);
            match left {
                0 => self.sealed_by.remove(&version),
                left => self.sealed_by.insert(version, left),
            };
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
        self.remove(kind, name);
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
        let (_, ReadResource { resource, secrets }) = read(kind, name, spec.as_bytes())?;
        let stored = StoredResource {
            revision,
            created,
            resource: Arc::new(resource),
            secrets,
            unopened: None,
            spec: CanonicalSpec(spec.into()),
        };
        self.keep(kind, name, stored);
        Ok(())
    }
}

/// Lists the versions of the cluster's key that have sealed the secrets of a resource, one for each
/// secret; 0 for one in clear.
fn key_versions(stored: &StoredResource) -> impl Iterator<Item = u32> {
    let sealed = stored.secrets.sealed().map(|(_, it)| it.key_version);
    let clear = stored.resource.texts_to_seal().into_iter().map(|_| 0);
    sealed.chain(clear)
}

#[cfg(test)]
mod tests;
