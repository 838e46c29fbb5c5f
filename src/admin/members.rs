//! `GET /v1/cluster/members`: the members, with their roles, reachability and lag.
//!
//! Only the leader knows which members are behind and which are silent, so the others ask it.

use axum::{Json, extract::State};
use http::HeaderMap;
use quorate_types::{MemberId, MemberStatus};

use super::{
    AdminContext,
    access::{self, Routes},
    cluster_answers::{MemberRow, MemberState, MembersAnswer},
    peers::PASSED_ON,
};

/// The path, here and at the leader.
const PATH: &str = "/v1/cluster/members";

/// The route.
pub(super) fn routes() -> Routes<AdminContext> {
    Routes::new().on(&access::MEMBERS, members)
}

async fn members(State(context): State<AdminContext>, headers: HeaderMap) -> Json<MembersAnswer> {
    let rows = if headers.contains_key(PASSED_ON) {
        own_view(&context)
    } else {
        rows(&context).await
    };
    let longest_wait = context.services.longest_wait();
    Json(MembersAnswer {
        members: rows,
        longest_wait_ms: longest_wait.as_millis() as u64,
    })
}

/// Returns the members as the leader sees them, or as this member does where the leader is silent.
pub(super) async fn rows(context: &AdminContext) -> Vec<MemberRow> {
    let leadership = context.leadership();
    let other = leadership.leader.filter(|leader| *leader != leadership.me);
    if let Some(leader) = other.and_then(|id| context.member(id)) {
        let asked =
            context
                .peers
                .get::<MembersAnswer>(&leader.member.admin, PATH, context.peer_wait());
        match asked.await {
            Ok(answer) => return answer.members,
            Err(error) => tracing::debug!(%error, "the leader does not tell of the members"),
        }
    }
    own_view(context)
}

fn own_view(context: &AdminContext) -> Vec<MemberRow> {
    let me = context.me();
    context
        .cluster
        .node()
        .members()
        .into_iter()
        .map(|status| row(me, status))
        .collect()
}

fn row(me: MemberId, status: MemberStatus) -> MemberRow {
    let MemberStatus {
        id,
        member,
        role,
        lag,
        reachable,
    } = status;
    let state = match reachable {
        _ if id == me => MemberState::Alive,
        Some(true) => MemberState::Alive,
        Some(false) => MemberState::Unreachable,
        None => MemberState::Unknown,
    };
    MemberRow {
        id,
        name: member.name,
        role,
        state,
        http: member.http,
        admin: member.admin,
        peer: member.peer,
        lag,
    }
}

#[cfg(test)]
mod tests {
    use quorate_types::{Member, Role};

    use super::*;

    #[test]
    fn member_state_follows_reports_of_leader() {
        let status = |id, reachable| MemberStatus {
            id,
            member: Member::default(),
            role: Role::Voter,
            lag: None,
            reachable,
        };
        let state = |id, reachable| row(1, status(id, reachable)).state;
        assert_eq!(state(1, None), MemberState::Alive);
        assert_eq!(state(2, None), MemberState::Unknown);
        assert_eq!(state(2, Some(true)), MemberState::Alive);
        assert_eq!(state(2, Some(false)), MemberState::Unreachable);
    }
}
