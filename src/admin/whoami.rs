//! `GET /v1/security/whoami`: what this API knows of its caller.

use axum::Json;
use serde::{Deserialize, Serialize};

use super::{
    AdminContext,
    access::{self, Routes},
    caller::{Caller, CallerProof},
    tokens::rfc_3339,
};

/// The caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhoamiAnswer {
    /// The name of the identity; `local` at the local socket, `anyone` where nobody is asked.
    pub name: String,
    /// How the caller came to be known.
    pub via: CallerProof,
    /// The roles.
    pub roles: Vec<String>,
    /// The last moment at which the token counts, RFC 3339; `null` if it does not expire.
    pub expires_at: Option<String>,
}

/// The route.
pub(super) fn routes() -> Routes<AdminContext> {
    Routes::new().on(&access::WHOAMI, whoami)
}

async fn whoami(caller: Caller) -> Json<WhoamiAnswer> {
    Json(WhoamiAnswer {
        name: caller.name.to_string(),
        via: caller.proof,
        expires_at: caller.not_after_ms.map(rfc_3339),
        roles: caller.roles,
    })
}
