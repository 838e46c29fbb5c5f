//! `POST /v1/cluster/join`: a newcomer asks to become a member. Any member answers.

use axum::{Json, Router, extract::State, extract::rejection::JsonRejection, routing::post};
use http::StatusCode;
use quorate_raft::{Admission, Member, Members, ProposeError};
use serde::{Deserialize, Serialize};

use super::{
    Context,
    problem::{FieldProblem, Problem},
};

/// The newcomer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// Its name.
    pub name: String,
    /// Where its services will listen.
    pub http: String,
    /// Where its REST face will listen.
    pub admin: String,
    /// Where it will be reached by other members.
    pub peer: String,
    /// Its failover promise; must be the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover_ms: Option<u64>,
}

/// The route.
pub fn routes() -> Router<Context> {
    Router::new().route("/v1/cluster/join", post(join))
}

async fn join(
    State(context): State<Context>,
    body: Result<Json<JoinRequest>, JsonRejection>,
) -> Result<Json<Admission>, Problem> {
    let Json(request) = body?;
    check(&request)?;
    let ours = context.timing.failover.as_millis() as u64;
    if let Some(theirs) = request.failover_ms.filter(|theirs| *theirs != ours) {
        // A lease is only safe while every voter waits as long as its holder counts on.
        let detail = format!(
            "failover_ms is {theirs} at the newcomer and {ours} in this cluster; set it to {ours}"
        );
        return Err(Problem::new(StatusCode::CONFLICT, "conflict", detail));
    }
    let JoinRequest {
        name,
        http,
        admin,
        peer,
        ..
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
        Ok(admission) => Ok(Json(admission)),
        // Asking again helps against anything but another member of that name or address.
        Err(ProposeError::Refused(why)) if taken(&node.members(), &newcomer) => {
            Err(Problem::new(StatusCode::CONFLICT, "conflict", why))
        }
        Err(error) => Err(Problem::from(error)),
    }
}

fn taken(members: &Members, newcomer: &Member) -> bool {
    members
        .iter()
        .any(|known| known.member.name == newcomer.name || known.member.peer == newcomer.peer)
}

fn check(request: &JoinRequest) -> Result<(), Problem> {
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
                bad_name(value)
            } else {
                bad_address(value)
            }?;
            Some(FieldProblem::new(field, value, problem))
        })
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(
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

fn bad_address(address: &str) -> Option<&'static str> {
    let good = address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    (!good).then_some("must be host:port")
}
