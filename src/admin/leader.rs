//! `GET /v1/cluster/leader`: the same answer from every member.

use axum::{Json, Router, extract::State, routing::get};
use quorate_raft::{Leadership, MemberId, Members, Role};

use super::{
    Context,
    answers::{ConnectorServer, LeaderAnswer, MemberRef, failure_tolerance},
    problem::Problem,
    refusal,
};
use crate::state::Reign;

/// The route.
pub fn routes() -> Router<Context> {
    Router::new().route("/v1/cluster/leader", get(leader))
}

async fn leader(State(context): State<Context>) -> Result<Json<LeaderAnswer>, Problem> {
    now(&context).map(Json).ok_or_else(refusal::no_leader)
}

/// Who leads; `None` unless this member has heard it, or as leader a quorum, within the lease.
pub fn now(context: &Context) -> Option<LeaderAnswer> {
    let leadership = context.leadership();
    let fresh = leadership
        .heard_at
        .is_some_and(|at| at.elapsed() < context.timing.lease);
    let id = leading(&leadership)?;
    let members = context.cluster.node().members();
    let leader = members.iter().find(|member| member.id == id)?;
    fresh.then(|| LeaderAnswer {
        leader: MemberRef::new(id, &leader.member),
        term: leadership.term,
        connector_server: connector_server(context.cluster.state().reign(), &leadership, &members),
        failure_tolerance: failure_tolerance(voters(&members)),
    })
}

/// One that is elected and has committed nothing yet does not lead, in its own eyes.
fn leading(leadership: &Leadership) -> Option<MemberId> {
    leadership
        .leader
        .filter(|leader| *leader != leadership.me || leadership.leading)
}

/// The holder of a reign of this very term. One of an earlier term is over or will be in a
/// moment, when the leader has taken over.
pub fn connector_server(
    reign: &Reign,
    leadership: &Leadership,
    members: &Members,
) -> Option<ConnectorServer> {
    let holder = reign
        .holder
        .filter(|_| !reign.released && reign.term == leadership.term)?;
    let member = members.iter().find(|member| member.id == holder)?;
    Some(ConnectorServer {
        id: holder,
        name: member.member.name.clone(),
        epoch: reign.epoch,
    })
}

/// How many members vote.
pub fn voters(members: &Members) -> usize {
    members
        .iter()
        .filter(|member| member.role == Role::Voter)
        .count()
}
