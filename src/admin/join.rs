//! `POST /v1/cluster/join`: admits a newcomer as a member. Any member answers.

use axum::{
    Extension, Json,
    extract::{State, rejection::JsonRejection},
};
use http::StatusCode;
use quorate_types::{Member, MemberList, ProposeError};
use serde::{Deserialize, Serialize};

use super::{
    AdminContext,
    access::{self, Routes},
    client_identity::AdminCaller,
    cluster_answers::{JoinAnswer, JoinFailover},
    problem::{ApiProblem, FieldProblem},
};
use crate::settings::check_advertise;

/// The newcomer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinRequest {
    /// The newcomer's name.
    pub name: String,
    /// The address of its services.
    pub http: String,
    /// The address of its REST API.
    pub admin: String,
    /// The address for other members.
    pub peer: String,
}

/// The route.
pub(super) fn routes() -> Routes<AdminContext> {
    Routes::new().on(&access::JOIN, join)
}

async fn join(
    State(context): State<AdminContext>,
    Extension(caller): Extension<AdminCaller>,
    body: Result<Json<JoinRequest>, JsonRejection>,
) -> Result<Json<JoinAnswer>, ApiProblem> {
    let Json(request) = body?;
    check(&request)?;
    caller.may_join_as(&request.name)?;
    let JoinRequest {
        name,
        http,
        admin,
        peer,
    } = request;
    let newcomer = Member {
        name,
        http,
        admin,
        peer,
    };
    let deadline = context.cluster.write_deadline();
    let node = context.cluster.node();
    match node.admit(newcomer.clone(), deadline).await {
        Ok(admission) => Ok(Json(JoinAnswer {
            admission,
            failover: in_force(&context).await?,
        })),
        // Asking again helps against anything but another member of that name or address.
        Err(ProposeError::Refused(why)) if taken(&node.members(), &newcomer) => {
            Err(ApiProblem::new(StatusCode::CONFLICT, "conflict", why))
        }
        Err(error) => Err(ApiProblem::from(error)),
    }
}

/// Returns the promise as of after the admission. Every change of it that begins from here on waits
/// for the newcomer to apply it, and the newcomer goes by this one until then.
async fn in_force(context: &AdminContext) -> Result<JoinFailover, ApiProblem> {
    let deadline = context.cluster.write_deadline();
    let state = context.cluster.fresh_state(deadline).await?;
    let Some(promise) = state.failover() else {
        let detail =
            "the first member has not made its failover promise yet; try again in a moment";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(ApiProblem::new(status, "unavailable", detail));
    };
    Ok(JoinFailover {
        revision: promise.revision,
        lease_ms: promise.lease_ms(),
        patience_ms: promise.patience_ms(),
    })
}

fn taken(members: &MemberList, newcomer: &Member) -> bool {
    members
        .iter()
        .any(|known| known.member.name == newcomer.name || known.member.peer == newcomer.peer)
}

fn check(request: &JoinRequest) -> Result<(), ApiProblem> {
    let fields = [
        ("name", &request.name),
        ("http", &request.http),
        ("admin", &request.admin),
        ("peer", &request.peer),
    ];
    let errors: Vec<FieldProblem> = fields
        .into_iter()
        .filter_map(|(field, value)| {
            let problem = if field == "name" {
                bad_name(value).map(str::to_owned)
            } else {
                bad_address(value)
            }?;
            Some(FieldProblem::new(field, value, problem))
        })
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ApiProblem::invalid(
            "the newcomer can't be admitted like this",
            errors,
        ))
    }
}

fn bad_name(name: &str) -> Option<&'static str> {
    let good = (1..=63).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    (!good).then_some("must be 1 to 63 letters, digits, dots, underscores or hyphens")
}

/// Checks an address, which becomes part of the URLs that every member asks, by the rules of the
/// newcomer's own settings.
fn bad_address(address: &str) -> Option<String> {
    let wrong = check_advertise(address).err()?;
    Some(format!("must be host:port; {wrong}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_beyond_host_and_port_is_refused() {
        for good in ["10.0.0.1:17110", "[::1]:17110", "one.example:80"] {
            assert_eq!(bad_address(good), None, "{good}");
        }
        for bad in [
            "169.254.169.254/latest/x?:80",
            "user:pw@host:80",
            "http://a:80",
            "a b:80",
            "a\n:80",
            "a#:80",
            "0.0.0.0:80",
            "::1:80",
            ":80",
            "a:0",
            "a",
        ] {
            assert!(bad_address(bad).is_some(), "{bad}");
        }
    }
}
