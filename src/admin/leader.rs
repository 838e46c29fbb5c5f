//! `GET /v1/cluster/leader`: the same answer from every member.

use axum::{Json, extract::State};
use quorate_state::Reign;
use quorate_types::{Leadership, MemberId, MemberList, Role};

use super::{
    AdminContext,
    access::{self, Routes},
    cluster_answers::{ConnectorServer, LeaderAnswer, MemberRef, failure_tolerance},
    problem::ApiProblem,
};

/// The route.
pub(super) fn routes() -> Routes<AdminContext> {
    Routes::new().on(&access::LEADER, leader)
}

async fn leader(State(context): State<AdminContext>) -> Result<Json<LeaderAnswer>, ApiProblem> {
    current_leader(&context)
        .map(Json)
        .ok_or_else(ApiProblem::no_leader)
}

/// Returns the leader; `None` unless this member has heard it, or as leader a quorum, within the
/// lease.
pub(super) fn current_leader(context: &AdminContext) -> Option<LeaderAnswer> {
    let leadership = context.leadership();
    let fresh = context.cluster.is_fresh(leadership.heard_at);
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

/// A member that is elected and has committed nothing yet does not lead, in its own eyes.
fn leading(leadership: &Leadership) -> Option<MemberId> {
    leadership
        .leader
        .filter(|leader| *leader != leadership.me || leadership.leading)
}

/// Returns the leader as the connector server, if the reign is of this very election. Any other
/// reign is over or will be in a moment, when the leader has taken over: one of an earlier term, or
/// of this term's leader before, as a term can have two leaders, one after the other.
pub(super) fn connector_server(
    reign: &Reign,
    leadership: &Leadership,
    members: &MemberList,
) -> Option<ConnectorServer> {
    let holder = reign.holder.filter(|holder| {
        !reign.released && reign.term == leadership.term && leadership.leader == Some(*holder)
    })?;
    let member = members.iter().find(|member| member.id == holder)?;
    Some(ConnectorServer {
        id: holder,
        name: member.member.name.clone(),
        epoch: reign.epoch,
    })
}

/// Counts the voters.
pub(super) fn voters(members: &MemberList) -> usize {
    members
        .iter()
        .filter(|member| member.role == Role::Voter)
        .count()
}

#[cfg(test)]
mod tests {
    use quorate_types::{Member, MemberStatus};

    use super::*;

    #[test]
    fn second_leader_of_term_reigns_only_after_takeover() {
        let members: Vec<_> = [2, 5]
            .map(|id| MemberStatus {
                id,
                member: Member::default(),
                role: Role::Voter,
                lag: None,
                reachable: None,
            })
            .into();
        let seen = |leader, holder| {
            let leadership = Leadership {
                term: 7,
                leader: Some(leader),
                ..Leadership::default()
            };
            let reign = Reign {
                holder: Some(holder),
                epoch: 40,
                term: 7,
                ..Reign::default()
            };
            connector_server(&reign, &leadership, &members).map(|it| it.id)
        };
        assert_eq!(seen(2, 2), Some(2));
        assert_eq!(seen(5, 2), None);
        assert_eq!(seen(5, 5), Some(5));
    }
}
