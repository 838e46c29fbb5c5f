//! Requirement of a call or a command: a verb, and the scope on which it has to be granted.

use std::fmt;

use quorate_resources::{AccessVerb, Kind, Resource, json};

use super::Permissions;
use crate::{Command, State};

/// Scope that a verb is used on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessScope {
    /// The cluster as a whole.
    Cluster,
    /// One resource, whether it is there or not.
    Resource {
        /// Kind of the resource.
        kind: Kind,
        /// Name of the resource.
        name: String,
    },
    /// All resources of a kind.
    Kind(Kind),
    /// All resources but those of security kinds.
    AllKinds,
    /// One key, whether it is there or not.
    Key(String),
    /// All keys that begin like this.
    Prefix(String),
    /// One service.
    Service(String),
}

/// Verb and scope that have to be granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRequirement {
    /// The verb.
    pub verb: AccessVerb,
    /// The scope.
    pub scope: AccessScope,
}

impl AccessRequirement {
    /// Requires a verb on a scope.
    pub fn new(verb: AccessVerb, scope: AccessScope) -> AccessRequirement {
        let is_security = match &scope {
            AccessScope::Resource { kind, .. } | AccessScope::Kind(kind) => kind.is_security(),
            _ => false,
        };
        let is_change = matches!(verb, AccessVerb::Write | AccessVerb::Delete);
        AccessRequirement {
            verb: if is_security && is_change {
                AccessVerb::Grant
            } else {
                verb
            },
            scope,
        }
    }

    /// Requires a verb on one resource.
    pub fn on_resource(verb: AccessVerb, kind: Kind, name: &str) -> AccessRequirement {
        let name = name.to_owned();
        AccessRequirement::new(verb, AccessScope::Resource { kind, name })
    }
}

impl fmt::Display for AccessScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccessScope::Cluster => write!(f, "the cluster"),
            AccessScope::Resource { kind, name } => write!(f, "{kind}/{name}"),
            AccessScope::Kind(kind) => write!(f, "every {kind}"),
            AccessScope::AllKinds => write!(f, "every resource"),
            AccessScope::Key(key) => write!(f, "key {key:?}"),
            AccessScope::Prefix(prefix) => write!(f, "every key that begins with {prefix:?}"),
            AccessScope::Service(name) => write!(f, "service {name}"),
        }
    }
}

impl fmt::Display for AccessRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.verb.as_str(), self.scope)
    }
}

/// Permissions that requirements are met by, until one is not.
struct Check<'a> {
    state: &'a State,
    permissions: &'a Permissions,
    identity: &'a str,
}

type Met = Result<(), AccessRequirement>;

/// Returns the first requirement of a command that the permissions of this identity don't meet.
pub(super) fn missing(
    state: &State,
    permissions: &Permissions,
    identity: &str,
    command: &Command,
) -> Option<AccessRequirement> {
    if permissions.is_everything() {
        return None;
    }
    let check = Check {
        state,
        permissions,
        identity,
    };
    check.command(command).err()
}

impl Check<'_> {
    fn command(&self, command: &Command) -> Met {
        match command {
            Command::PutResource {
                kind,
                name,
                spec,
                precondition,
            } => {
                self.put(*kind, name, spec)?;
                self.reads_if(precondition.is_some(), resource(*kind, name))
            }
            Command::PutResources(puts) => puts
                .iter()
                .try_for_each(|it| self.put(it.kind, &it.name, &it.spec)),
            Command::DeleteResource {
                kind,
                name,
                precondition,
            } => {
                self.has(AccessVerb::Delete, resource(*kind, name))?;
                self.covers_present(*kind, name)?;
                self.reads_if(precondition.is_some(), resource(*kind, name))
            }
            Command::PutKey {
                key, precondition, ..
            } => {
                self.has(AccessVerb::Write, AccessScope::Key(key.clone()))?;
                self.reads_if(precondition.is_some(), AccessScope::Key(key.clone()))
            }
            Command::DeleteKey { key, precondition } => {
                self.has(AccessVerb::Delete, AccessScope::Key(key.clone()))?;
                self.reads_if(precondition.is_some(), AccessScope::Key(key.clone()))
            }
            Command::OperateConnector { kind, name, .. } => {
                self.has(AccessVerb::Operate, resource(*kind, name))
            }
            Command::BeginSend(intent) => self.has(
                AccessVerb::Send,
                resource(intent.key.kind, &intent.key.name),
            ),
            Command::CreateToken(token) => self.token_of(&token.identity),
            Command::RevokeToken { id } => match self.state.access().tokens().get(id) {
                Some(token) if *token.identity == *self.identity => Ok(()),
                Some(token) => self.grants_to(&token.identity),
                None => self.has(AccessVerb::Grant, AccessScope::Kind(Kind::Identity)),
            },
            // Nobody proposes the others but for the cluster, or as a member.
            _ => self.has(AccessVerb::Cluster, AccessScope::Cluster),
        }
    }

    fn has(&self, verb: AccessVerb, scope: AccessScope) -> Met {
        let requirement = AccessRequirement::new(verb, scope);
        if self.permissions.allow(&requirement) {
            Ok(())
        } else {
            Err(requirement)
        }
    }

    /// The answer to a precondition tells of the thing.
    fn reads_if(&self, conditional: bool, scope: AccessScope) -> Met {
        if conditional {
            self.has(AccessVerb::Read, scope)
        } else {
            Ok(())
        }
    }

    fn put(&self, kind: Kind, name: &str, spec: &[u8]) -> Met {
        self.has(AccessVerb::Write, resource(kind, name))?;
        self.covers_present(kind, name)?;
        // One that can't be read is refused anyway.
        let spec = json::parse(spec).ok();
        let read = spec.and_then(|spec| Resource::read_stored(kind, &spec).ok());
        let Some((put, secrets)) = read else {
            return Ok(());
        };
        let named = put.references().into_iter();
        let named = named.map(|it| (it.kind, it.name));
        let secrets = secrets.named().map(|(_, name)| (Kind::Secret, name));
        match &put {
            Resource::AccessRole(_) | Resource::Identity(_) => self.covers(&put),
            _ => named
                .chain(secrets)
                .try_for_each(|(kind, name)| self.has(AccessVerb::Use, resource(kind, name))),
        }
    }

    /// A token of one's own is no more than one has.
    fn token_of(&self, name: &str) -> Met {
        if name == self.identity {
            return Ok(());
        }
        self.grants_to(name)
    }

    /// The tokens of an identity, also of a disabled one, are for who could have made it.
    fn grants_to(&self, name: &str) -> Met {
        self.has(AccessVerb::Grant, identity(name))?;
        self.covers_present(Kind::Identity, name)
    }

    /// Whoever takes away what he doesn't have could keep a token of it for when it is given back.
    fn covers_present(&self, kind: Kind, name: &str) -> Met {
        match self.state.catalog().get(kind, name) {
            Some(stored) => self.covers(&stored.resource),
            None => Ok(()),
        }
    }

    /// A role or an identity is for someone who may do all that it may, disabled or not.
    fn covers(&self, it: &Resource) -> Met {
        let (kind, name, is_covered) = match it {
            Resource::AccessRole(it) => (
                Kind::AccessRole,
                &it.name,
                self.permissions.cover_grants(&it.grants),
            ),
            Resource::Identity(it) => {
                let theirs = Permissions::of_roles(&it.roles, self.state.catalog());
                (Kind::Identity, &it.name, self.permissions.cover(&theirs))
            }
            _ => return Ok(()),
        };
        if is_covered {
            Ok(())
        } else {
            Err(AccessRequirement::on_resource(
                AccessVerb::Grant,
                kind,
                name,
            ))
        }
    }
}

fn resource(kind: Kind, name: &str) -> AccessScope {
    AccessScope::Resource {
        kind,
        name: name.to_owned(),
    }
}

fn identity(name: &str) -> AccessScope {
    resource(Kind::Identity, name)
}
