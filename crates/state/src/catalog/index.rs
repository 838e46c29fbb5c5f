//! Index of what resources hold, by what others would ask for: paths, queues, addresses and names.
//!
//! A put is compared with what it could meet and with nothing else, whatever else is there: a claim
//! is looked up where an equal one would stand, so that a put, a delete and each entry of a log
//! that is replayed cost the logarithm of what is there. The index is made of the resources alone
//! and kept beside them in maps that share their memory between copies, because the state is copied
//! for its readers at every entry.
//!
//! Paths are found without a comparison of templates. Two templates overlap if they are the same
//! but for the names of their parameters, or the same up to a place where one takes the whole rest
//! and the other the rest or a parameter. So a template meets another of its own shape; one that
//! takes the rest at the place of one of its parameters; and, if it takes the rest itself, every
//! one with a parameter there, which stand side by side in the order of shapes (see
//! [`ShapeOverlap`]).

use std::{collections::BTreeSet, sync::Arc};

use imbl::OrdSet;
use quorate_resources::{
    HttpChannel, Kind, PathTemplate, Resource, ShapeOverlap, StoredSecrets, zeromq::BoundAddress,
};

/// Most holders of a contested claim that are reported.
pub(crate) const RIVALS_MAX: usize = 8;

/// Claim of a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ResourceClaim {
    /// The resource names this one.
    Named(Kind, Arc<str>),
    /// The resource takes requests: a method, and the shape of a template.
    Route(Arc<str>, Arc<str>),
    /// The resource consumes a queue of a connection.
    Queue(Kind, Arc<str>, Arc<str>),
    /// The resource binds a port at a host; everywhere is `*`.
    Port(u16, Arc<str>),
    /// The resource binds a socket in the file system.
    File(Arc<str>),
    /// The resource keeps the order of what comes over this connection.
    Ordered(Arc<str>),
}

/// Holder of a claim.
type ClaimHolder = (Kind, Arc<str>);

/// All claims, each with its holder.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct CatalogIndex(OrdSet<(ResourceClaim, ClaimHolder)>);

impl CatalogIndex {
    pub(super) fn add(&mut self, resource: &Resource, secrets: &StoredSecrets) {
        let holder = holder(resource);
        for claim in claims(resource).into_iter().chain(named_secrets(secrets)) {
            self.0.insert((claim, holder.clone()));
        }
    }

    pub(super) fn remove(&mut self, resource: &Resource, secrets: &StoredSecrets) {
        let holder = holder(resource);
        for claim in claims(resource).into_iter().chain(named_secrets(secrets)) {
            self.0.remove(&(claim, holder.clone()));
        }
    }

    /// Lists the holders of exactly this claim, by kind and name.
    pub(super) fn holders(&self, claim: ResourceClaim) -> impl Iterator<Item = (Kind, &str)> {
        let first = (claim.clone(), first_holder());
        self.0
            .range(first..)
            .take_while(move |(held, _)| *held == claim)
            .map(|(_, (kind, name))| (*kind, &**name))
    }

    /// Lists the resources that take a method at shapes that begin so.
    fn takers_below(&self, method: &str, start: &str) -> impl Iterator<Item = (Kind, &str)> {
        let first = (
            ResourceClaim::Route(method.into(), start.into()),
            first_holder(),
        );
        self.0
            .range(first..)
            .take_while(move |(held, _)| {
                matches!(held, ResourceClaim::Route(of, shape) if **of == *method && shape.starts_with(start))
            })
            .map(|(_, (kind, name))| (*kind, &**name))
    }

    fn binders_of(&self, port: u16) -> impl Iterator<Item = (Kind, &str)> {
        let first = (ResourceClaim::Port(port, "".into()), first_holder());
        self.0
            .range(first..)
            .take_while(move |(held, _)| matches!(held, ResourceClaim::Port(of, _) if *of == port))
            .map(|(_, (kind, name))| (*kind, &**name))
    }

    /// Returns the first [`RIVALS_MAX`] others that hold what this resource needs for itself.
    pub(super) fn rivals<'a>(&'a self, resource: &Resource) -> BTreeSet<(Kind, &'a str)> {
        let mut rivals = Rivals {
            of: (resource.kind(), resource.name()),
            found: BTreeSet::new(),
        };
        match resource {
            Resource::HttpChannel(it) if it.active => {
                let meetings = PathTemplate::new(&it.path).overlapping_shapes();
                for method in &it.methods {
                    for meeting in &meetings {
                        match meeting {
                            ShapeOverlap::At(shape) => rivals.take(self.holders(
                                ResourceClaim::Route(method.as_str().into(), shape.as_str().into()),
                            )),
                            ShapeOverlap::Below(start) => {
                                rivals.take(self.takers_below(method, start));
                            }
                        }
                    }
                }
            }
            Resource::ZmqChannel(it) => self.binders(it.bound(), &mut rivals),
            Resource::ZmqOutgoing(it) => self.binders(it.bound(), &mut rivals),
            _ => {
                for claim in claims(resource) {
                    if let ResourceClaim::Queue(..) = claim {
                        rivals.take(self.holders(claim));
                    }
                }
            }
        }
        rivals.found
    }

    fn binders<'a>(&'a self, address: Option<&str>, rivals: &mut Rivals<'a, '_>) {
        match address.and_then(BoundAddress::parse) {
            Some(BoundAddress::Everywhere(port)) => rivals.take(self.binders_of(port)),
            Some(BoundAddress::Host(host, port)) => {
                rivals.take(self.holders(ResourceClaim::Port(port, host.into())));
                rivals.take(self.holders(ResourceClaim::Port(port, EVERYWHERE.into())));
            }
            Some(BoundAddress::File(path)) => {
                rivals.take(self.holders(ResourceClaim::File(path.into())))
            }
            None => {}
        }
    }
}

/// Collector of others than the resource that asks, until there are enough.
struct Rivals<'a, 'of> {
    of: (Kind, &'of str),
    found: BTreeSet<(Kind, &'a str)>,
}

impl<'a> Rivals<'a, '_> {
    fn take(&mut self, holders: impl Iterator<Item = (Kind, &'a str)>) {
        for holder in holders.filter(|it| *it != self.of) {
            if self.found.len() == RIVALS_MAX {
                return;
            }
            self.found.insert(holder);
        }
    }
}

const EVERYWHERE: &str = "*";

fn holder(resource: &Resource) -> ClaimHolder {
    (resource.kind(), resource.name().into())
}

/// Returns the least of all holders.
fn first_holder() -> ClaimHolder {
    (Kind::ALL[0], "".into())
}

/// Lists the claims of the secrets that are used by name.
fn named_secrets(secrets: &StoredSecrets) -> impl Iterator<Item = ResourceClaim> {
    secrets
        .named()
        .map(|(_, name)| ResourceClaim::Named(Kind::Secret, name.into()))
}

/// Lists everything else that a resource holds.
fn claims(resource: &Resource) -> Vec<ResourceClaim> {
    let mut claims: Vec<ResourceClaim> = resource
        .references()
        .into_iter()
        .map(|it| ResourceClaim::Named(it.kind, it.name.into()))
        .collect();
    match resource {
        Resource::HttpChannel(it) if it.active => claims.extend(routes(it)),
        Resource::AmqpChannel(it) => {
            let connection: Arc<str> = it.connection.as_str().into();
            if it.ordered {
                claims.push(ResourceClaim::Ordered(connection.clone()));
            }
            if it.active {
                let queue = it.queue.as_str().into();
                claims.push(ResourceClaim::Queue(Kind::AmqpChannel, connection, queue));
            }
        }
        Resource::IbmMqChannel(it) if it.active => {
            let (connection, queue) = (it.connection.as_str().into(), it.queue.as_str().into());
            claims.push(ResourceClaim::Queue(Kind::IbmMqChannel, connection, queue));
        }
        Resource::ZmqChannel(it) => claims.extend(it.bound().and_then(binding)),
        Resource::ZmqOutgoing(it) => claims.extend(it.bound().and_then(binding)),
        _ => {}
    }
    claims
}

fn routes(channel: &HttpChannel) -> impl Iterator<Item = ResourceClaim> + '_ {
    let shape: Arc<str> = PathTemplate::new(&channel.path).shape().into();
    channel
        .methods
        .iter()
        .map(move |method| ResourceClaim::Route(method.as_str().into(), shape.clone()))
}

fn binding(address: &str) -> Option<ResourceClaim> {
    Some(match BoundAddress::parse(address)? {
        BoundAddress::Everywhere(port) => ResourceClaim::Port(port, EVERYWHERE.into()),
        BoundAddress::Host(host, port) => ResourceClaim::Port(port, host.into()),
        BoundAddress::File(path) => ResourceClaim::File(path.into()),
    })
}
