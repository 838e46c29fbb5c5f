//! Permissions: what someone may do, decided from the roles of his identity and from nothing else.
//!
//! A command that is proposed for an identity carries an [`Actor`]. The member that is asked checks
//! it against the state that it has applied, and every member checks it again where it is applied,
//! against the state as of that place in the log. So:
//!
//! 1. A grant, an identity or a token that was taken away at revision R allows no command that
//!    comes after R, also when it was checked before (`revoked_actor_changes_nothing` in
//!    `crates/state/src/access/tests.rs`).
//! 2. Both checks are [`State::refusal`], which reads the state and the command alone: all members
//!    come to the same answer. What built-in roles may do is therefore part of the format: a version
//!    can change it only with a command of its own (see [`super::command`]).
//! 3. What is not granted is refused. There are no rules that take away.
//! 4. Nobody grants what he doesn't have: a role, an identity and a token are written only by
//!    someone whose own grants cover theirs.
//!
//! Expiry is the one thing that is not checked on apply: the state has no clock. The member that is
//! asked checks it.

mod permissions;
mod redaction;
mod requirement;
mod tokens;
pub(crate) mod wire;

use std::{fmt, sync::Arc};

use quorate_resources::{Identity, Kind, Resource};

pub use permissions::Permissions;
pub use requirement::{AccessRequirement, AccessScope};
pub use tokens::{NewToken, StoredToken, TOKENS_OF_ONE_MAX, TokenTable};

use quorate_types::MemberId;

use super::{Answer, Command, State};

/// Principal on whose behalf a command is proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Name of the identity.
    pub identity: Arc<str>,
    /// Id of the token by which it was known; empty: it was known otherwise.
    pub token: Arc<str>,
    /// True for someone from whom nothing can be taken: the host's administrator.
    pub unrestricted: bool,
    /// How the principal came to be known.
    pub via: Arc<str>,
    /// Address from which the request came.
    pub source: Arc<str>,
    /// Member that was asked.
    pub member: MemberId,
    /// Wall clock of that member, in milliseconds since 1970.
    pub now_ms: u64,
}

/// Key by which members vouch to each other for whom they pass a request on.
#[derive(Clone, PartialEq, Eq)]
pub struct VoucherKey([u8; 32]);

impl VoucherKey {
    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for VoucherKey {
    fn from(bytes: [u8; 32]) -> Self {
        VoucherKey(bytes)
    }
}

impl fmt::Debug for VoucherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Tokens and the voucher key, beside the roles and identities, which are resources.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccessTable {
    pub(crate) revision: u64,
    pub(crate) voucher_key: Option<VoucherKey>,
    pub(crate) tokens: TokenTable,
}

impl AccessTable {
    /// Returns the log index that last changed a role, an identity or a token.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the tokens.
    pub fn tokens(&self) -> &TokenTable {
        &self.tokens
    }

    /// Returns the voucher key; `None` before a member has made one.
    pub fn voucher_key(&self) -> Option<&VoucherKey> {
        self.voucher_key.as_ref()
    }

    pub(crate) fn create_token(
        &mut self,
        index: u64,
        token: &NewToken,
        identity_is_there: bool,
    ) -> Answer {
        if !identity_is_there {
            return Answer::NotFound;
        }
        let answer = self.tokens.create(index, token);
        self.note(index, &answer);
        answer
    }

    pub(crate) fn revoke_token(&mut self, index: u64, id: &str) -> Answer {
        let answer = self.tokens.revoke(index, id);
        self.note(index, &answer);
        answer
    }

    /// Takes the first key; every later one changes nothing.
    pub(crate) fn create_key(&mut self, index: u64, key: &VoucherKey) -> Answer {
        if self.voucher_key.is_some() {
            return Answer::Done {
                revision: self.revision,
                changed: false,
                created: false,
            };
        }
        self.voucher_key = Some(key.clone());
        self.revision = index;
        Answer::done(index, true)
    }

    /// Notes that resources of security kinds may have changed: a deleted identity takes its tokens
    /// with it, so that another of its name does not come by them.
    pub(crate) fn resource_changed(&mut self, index: u64, kind: Kind, deleted: Option<&str>) {
        if !kind.is_security() {
            return;
        }
        self.revision = index;
        if let Some(name) = deleted.filter(|_| kind == Kind::Identity) {
            self.tokens.forget_identity(name);
        }
    }

    fn note(&mut self, index: u64, answer: &Answer) {
        if answer.changed() {
            self.revision = index;
        }
    }
}

impl State {
    /// Returns an identity that is not disabled.
    pub fn identity(&self, name: &str) -> Option<&Arc<Identity>> {
        match &*self.catalog().get(Kind::Identity, name)?.resource {
            Resource::Identity(it) if !it.disabled => Some(it),
            _ => None,
        }
    }

    /// Returns what an identity may do: nothing when there is none, or it is disabled.
    pub fn permissions_of(&self, identity: &str) -> Permissions {
        match self.identity(identity) {
            Some(it) => Permissions::of_roles(&it.roles, self.catalog()),
            None => Permissions::default(),
        }
    }

    /// Returns what an actor may do: nothing once its token is revoked.
    pub fn permissions_of_actor(&self, actor: &Actor) -> Permissions {
        if actor.unrestricted {
            Permissions::everything()
        } else if self.is_live(actor) {
            self.permissions_of(&actor.identity)
        } else {
            Permissions::default()
        }
    }

    /// Returns the requirement of a command that the actor does not meet, as of this state.
    pub fn refusal(&self, actor: &Actor, command: &Command) -> Option<AccessRequirement> {
        let permissions = self.permissions_of_actor(actor);
        // Whoever is nobody any more has nothing of his own either, such as tokens.
        let identity = if self.is_live(actor) {
            &*actor.identity
        } else {
            ""
        };
        requirement::missing(self, &permissions, identity, command)
    }

    /// Returns true while the actor's identity may be let in, and its token is not revoked.
    fn is_live(&self, actor: &Actor) -> bool {
        let token = self.access().tokens().get(&actor.token);
        self.identity(&actor.identity).is_some()
            && (actor.token.is_empty() || token.is_some_and(|it| *it.identity == *actor.identity))
    }
}

#[cfg(test)]
mod tests;
