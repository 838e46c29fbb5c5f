//! Who is asking: what a request's handler knows of its caller.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use quorate_state::{AccessRequirement, Actor, Permissions, State};
use quorate_types::MemberId;
use serde::{Deserialize, Serialize};

use super::{authenticate::now_ms, problem::ApiProblem};
use crate::cluster::ClusterHandle;

/// How a caller came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallerProof {
    /// Nobody is asked (`security.mode` is `local`).
    NotAsked,
    /// The local socket, as the member's own user or as root.
    LocalSocket,
    /// A bearer token.
    Token,
    /// The word of another member, for itself.
    Member,
}

impl CallerProof {
    /// Returns the word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            CallerProof::NotAsked => "not_asked",
            CallerProof::LocalSocket => "local_socket",
            CallerProof::Token => "token",
            CallerProof::Member => "member",
        }
    }
}

/// The one on whose behalf a request is handled.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The name that answers and logs show.
    pub name: Arc<str>,
    pub proof: CallerProof,
    pub roles: Vec<String>,
    /// The last moment at which the token counts, in milliseconds since 1970.
    pub not_after_ms: Option<u64>,
    permissions: Arc<Permissions>,
    /// `None`: nobody knows who the caller is, or the caller is another member.
    actor: Option<Arc<Actor>>,
}

impl Caller {
    /// Makes the caller at a member that asks nobody: nothing is refused to him, and what he does is
    /// not audited, since nobody knows who he is.
    pub(super) fn anyone() -> Caller {
        Caller {
            actor: None,
            ..Caller::unrestricted("anyone", CallerProof::NotAsked, 0)
        }
    }

    /// Makes the caller from whom nothing can be taken.
    pub(super) fn unrestricted(name: &str, proof: CallerProof, member: MemberId) -> Caller {
        let actor = Actor {
            identity: name.into(),
            token: "".into(),
            unrestricted: true,
            via: proof.as_str().into(),
            source: "local socket".into(),
            member,
            now_ms: now_ms(),
        };
        Caller {
            name: name.into(),
            proof,
            roles: vec!["admin".to_owned()],
            not_after_ms: None,
            permissions: Arc::new(Permissions::everything()),
            actor: Some(Arc::new(actor)),
        }
    }

    /// Makes the caller that is another member, for itself.
    pub(super) fn member() -> Caller {
        Caller {
            name: "member".into(),
            proof: CallerProof::Member,
            roles: vec!["member".to_owned()],
            not_after_ms: None,
            permissions: Arc::new(Permissions::of_member()),
            actor: None,
        }
    }

    /// Makes the caller of an identity's token, with what it may do as of `state`; `None` if the
    /// identity is disabled or not there.
    pub(super) fn of_token(
        state: &State,
        identity: &str,
        token: &str,
        not_after_ms: Option<u64>,
        (source, member): (&str, MemberId),
    ) -> Option<Caller> {
        let known = state.identity(identity)?;
        let actor = Actor {
            identity: identity.into(),
            token: token.into(),
            unrestricted: false,
            via: CallerProof::Token.as_str().into(),
            source: source.into(),
            member,
            now_ms: now_ms(),
        };
        Some(Caller {
            name: identity.into(),
            proof: CallerProof::Token,
            roles: known.roles.clone(),
            not_after_ms,
            permissions: Arc::new(state.permissions_of_actor(&actor)),
            actor: Some(Arc::new(actor)),
        })
    }

    /// Returns the actor that writes are on behalf of.
    pub(super) fn actor(&self) -> Option<&Arc<Actor>> {
        self.actor.as_ref()
    }

    /// Returns true if nothing is refused to the caller.
    pub(super) fn is_unrestricted(&self) -> bool {
        self.permissions.is_everything()
    }

    /// Returns true if the caller may do this.
    pub(super) fn may(&self, requirement: &AccessRequirement) -> bool {
        self.permissions.allow(requirement)
    }

    /// Refuses what the caller may not do.
    pub(super) fn check(&self, requirement: &AccessRequirement) -> Result<(), ApiProblem> {
        if self.may(requirement) {
            return Ok(());
        }
        Err(ApiProblem::forbidden(&requirement.to_string()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, ApiProblem> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.ok_or_else(|| ApiProblem::internal("nobody has asked who calls"))
    }
}

/// The cluster, with writes on behalf of the caller.
pub(super) struct CallerCluster(pub ClusterHandle);

impl<S> FromRequestParts<S> for CallerCluster
where
    S: Send + Sync,
    ClusterHandle: FromRef<S>,
{
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiProblem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let cluster = ClusterHandle::from_ref(state);
        Ok(CallerCluster(cluster.acting_for(caller.actor)))
    }
}
