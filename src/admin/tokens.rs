//! `/v1/security/tokens`: the tokens of identities.
//!
//! | call | answer |
//! |---|---|
//! | `POST /v1/security/tokens` `{"identity","ttl_s"?}` | 201 `{"token","id","identity","expires_at"}`: the only time that the token is told |
//! | `GET /v1/security/tokens?identity=` | 200 `{"tokens":[{"id","identity","created_at","expires_at","expired"}]}` |
//! | `DELETE /v1/security/tokens/{id}` | 200 `{"id"}` |
//!
//! The secret is drawn by the member that is asked and is shown only once the token is known to be
//! there. Where that isn't known (504 `unknown_outcome`) the answer has the id, by which it can be
//! revoked; nobody knows its secret then.

use std::time::{Duration, SystemTime};

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    response::Response,
};
use http::{StatusCode, header::CACHE_CONTROL};
use quorate_resources::{AccessVerb, Kind};
use quorate_state::{AccessRequirement, AccessScope, Command, NewToken, StoredToken};
use quorate_types::ProposeError;
use serde::{Deserialize, Serialize};

use super::{
    AdminContext,
    access::{self, Routes},
    authenticate::{TOKEN_LIFE_MAX, now_ms},
    bearer_token::BearerToken,
    caller::{Caller, CallerCluster},
    problem::{ApiProblem, FieldProblem},
    revision_headers::{with_current_revision, with_revision},
};
use crate::cluster::ClusterHandle;

/// The life of a token for which none is asked: 90 days.
const LIFE_DEFAULT: Duration = Duration::from_secs(90 * 24 * 3600);

/// The time that slow members are waited for, so that a token counts, or doesn't any more, at
/// whichever member is asked next.
const SLOW_MEMBERS: Duration = Duration::from_millis(250);

/// The end of the year 9999: later times can't be written.
const RFC_3339_END_MS: u64 = 253_402_300_800_000;

/// How long a token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenLife {
    /// So many seconds.
    Seconds(u64),
    /// Until it is revoked.
    Word(NeverExpires),
}

/// The word for a token that does not expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NeverExpires {
    /// `never`
    #[serde(rename = "never")]
    Never,
}

/// The body of the call that creates a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateTokenRequest {
    /// The name of the identity.
    pub identity: String,
    /// How long it counts; 90 days by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<TokenLife>,
}

/// A token that was created.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCreated {
    /// The token, which is never told again.
    pub token: String,
    /// The id, which stands in the token.
    pub id: String,
    /// The name of the identity.
    pub identity: String,
    /// The last moment at which it counts, RFC 3339; `null` if it does not expire.
    pub expires_at: Option<String>,
}

/// A token in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRow {
    /// The id.
    pub id: String,
    /// The name of the identity.
    pub identity: String,
    /// The time when it was created, RFC 3339.
    pub created_at: String,
    /// The last moment at which it counts, RFC 3339; `null` if it does not expire.
    pub expires_at: Option<String>,
    /// True if it does not count any more.
    pub expired: bool,
}

/// `GET /v1/security/tokens`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokensAnswer {
    /// The tokens by id.
    pub tokens: Vec<TokenRow>,
}

/// A token that was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRevoked {
    /// The id.
    pub id: String,
}

/// The routes.
pub(super) fn routes() -> Routes<AdminContext> {
    Routes::new()
        .on(&access::LIST_TOKENS, list)
        .on(&access::CREATE_TOKEN, create)
        .on(&access::REVOKE_TOKEN, revoke)
}

async fn create(
    CallerCluster(cluster): CallerCluster,
    body: Result<Json<CreateTokenRequest>, JsonRejection>,
) -> Response {
    let created = async {
        let Json(request) = body?;
        let now_ms = now_ms();
        let not_after_ms = not_after_ms(request.ttl_s, now_ms)?;
        let token = BearerToken::random();
        let command = Command::CreateToken(Box::new(NewToken {
            id: token.id.clone(),
            hash: token.hash(),
            identity: request.identity.clone(),
            now_ms,
            not_after_ms,
        }));
        let proposed = cluster.propose(command, cluster.write_deadline()).await;
        let (index, answer) = proposed.map_err(|error| unfinished(error, &token.id))?;
        let subject = format!("identity/{}", request.identity);
        if let Some(problem) = ApiProblem::from_answer(&subject, answer) {
            return Err(problem);
        }
        let node = cluster.node();
        node.wait_applied_everywhere(index, SLOW_MEMBERS).await;
        let answer = TokenCreated {
            token: token.text(),
            id: token.id,
            identity: request.identity,
            expires_at: not_after_ms.map(rfc_3339),
        };
        let shown_once = [(CACHE_CONTROL, "no-store")];
        let response = (StatusCode::CREATED, shown_once, Json(answer));
        Ok(with_revision(index, response))
    };
    with_current_revision(&cluster, created.await)
}

/// Names the id of a token of which nobody knows whether it is there.
fn unfinished(error: ProposeError, id: &str) -> ApiProblem {
    let is_unknown = matches!(error, ProposeError::Unknown(_));
    let problem = ApiProblem::from(error);
    if is_unknown {
        problem.with_more(&format!(
            "The token would have the id {id}, and nobody knows its secret: revoke it (quorate token revoke {id}) and have another one made"
        ))
    } else {
        problem
    }
}

fn not_after_ms(life: Option<TokenLife>, now_ms: u64) -> Result<Option<u64>, ApiProblem> {
    let most = TOKEN_LIFE_MAX.as_secs();
    let seconds = match life {
        None => LIFE_DEFAULT.as_secs(),
        Some(TokenLife::Word(NeverExpires::Never)) => return Ok(None),
        Some(TokenLife::Seconds(seconds)) => seconds,
    };
    if !(1..=most).contains(&seconds) {
        let problem = format!("must be a whole number from 1 to {most}, or \"never\"");
        let error = FieldProblem::new("ttl_s", seconds.to_string(), problem);
        return Err(ApiProblem::invalid("the token can't be like this", [error]));
    }
    Ok(Some(now_ms.saturating_add(seconds * 1000)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokensQuery {
    identity: Option<String>,
}

async fn list(
    State(context): State<AdminContext>,
    caller: Caller,
    query: Result<Query<TokensQuery>, QueryRejection>,
) -> Result<Response, ApiProblem> {
    let Query(TokensQuery { identity }) = query?;
    let is_own = identity.as_deref() == Some(&*caller.name);
    let scope = match &identity {
        Some(name) => AccessScope::Resource {
            kind: Kind::Identity,
            name: name.clone(),
        },
        None => AccessScope::Kind(Kind::Identity),
    };
    if !is_own {
        caller.check(&AccessRequirement::new(AccessVerb::Grant, scope))?;
    }
    let cluster: &ClusterHandle = &context.cluster;
    let state = cluster.fresh_state(cluster.write_deadline()).await?;
    let now_ms = now_ms();
    let tokens = state.access().tokens().all();
    let tokens = tokens
        .filter(|(_, it)| identity.as_deref().is_none_or(|name| *it.identity == *name))
        .map(|(id, it)| row(id, it, now_ms));
    let answer = TokensAnswer {
        tokens: tokens.collect(),
    };
    Ok(with_revision(state.revision(), Json(answer)))
}

fn row(id: &str, token: &StoredToken, now_ms: u64) -> TokenRow {
    TokenRow {
        id: id.to_owned(),
        identity: token.identity.to_string(),
        created_at: rfc_3339(token.created_ms),
        expires_at: token.not_after_ms.map(rfc_3339),
        expired: !token.is_live(now_ms),
    }
}

async fn revoke(
    CallerCluster(cluster): CallerCluster,
    path: Result<Path<String>, PathRejection>,
) -> Response {
    let revoked = async {
        let Path(id) = path?;
        let command = Command::RevokeToken { id: id.clone() };
        let (index, answer) = cluster.propose(command, cluster.write_deadline()).await?;
        if let Some(problem) = ApiProblem::from_answer(&format!("token {id}"), answer) {
            return Err(problem);
        }
        let node = cluster.node();
        node.wait_applied_everywhere(index, SLOW_MEMBERS).await;
        Ok(with_revision(index, Json(TokenRevoked { id })))
    };
    with_current_revision(&cluster, revoked.await)
}

/// Writes a time in milliseconds since 1970.
pub fn rfc_3339(ms: u64) -> String {
    let ms = Duration::from_millis(ms.min(RFC_3339_END_MS - 1));
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + ms).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn life_is_ninety_days_unless_given() {
        let life = |text: &str| {
            serde_json::from_str::<CreateTokenRequest>(text)
                .unwrap()
                .ttl_s
        };
        let after = |text| not_after_ms(life(text), 1_000);
        let default = 1_000 + 90 * 24 * 3_600_000;
        assert_eq!(after(r#"{"identity": "a"}"#), Ok(Some(default)));
        assert_eq!(after(r#"{"identity": "a", "ttl_s": 2}"#), Ok(Some(3_000)));
        assert_eq!(after(r#"{"identity": "a", "ttl_s": "never"}"#), Ok(None));
        assert!(after(r#"{"identity": "a", "ttl_s": 0}"#).is_err());
        for bad in [
            r#"{"identity": "a", "ttl_s": "soon"}"#,
            r#"{"identity": "a", "ttl": 1}"#,
            r#"{"ttl_s": 1}"#,
        ] {
            assert!(
                serde_json::from_str::<CreateTokenRequest>(bad).is_err(),
                "{bad}"
            );
        }
        assert_eq!(rfc_3339(u64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn unknown_outcome_names_id_to_revoke() {
        let problem = unfinished(ProposeError::Unknown("lost".into()), "abcdefgh");
        assert_eq!(problem.code(), "unknown_outcome");
        assert!(problem.detail().contains("quorate token revoke abcdefgh"));
        let none = unfinished(ProposeError::NoQuorum { waited_ms: 1 }, "abcdefgh");
        assert!(!none.detail().contains("abcdefgh"), "{none:?}");
    }
}
