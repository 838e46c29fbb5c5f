//! `POST /v1/cluster/transfer-leadership`: hands leadership over; answered once the new leader
//! leads.
//!
//! The connectors go with the leadership, so they are released first: drained, stopped, and
//! confirmed to be. A transfer that can be seen to fail is refused before that.

use std::time::Duration;

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{State, rejection::BytesRejection},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, StatusCode, header};
use quorate_clock::Instant;
use quorate_types::{MemberId, MemberList, MemberStatus, Role, TransferError};
use serde::{Deserialize, Serialize};

use super::{
    AdminContext,
    access::{self, Routes},
    caller::Caller,
    leader,
    peers::{PASSED_ON, PeerError},
    problem::ApiProblem,
};

const PATH: &str = "/v1/cluster/transfer-leadership";

/// The lag of a voter beyond which the cluster would have to wait for it.
const LAG_MAX: u64 = 1_000;

/// The body of the call.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TransferRequest {
    /// The name of the member that is to lead; the best placed one by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// The route.
pub(super) fn routes() -> Routes<AdminContext> {
    Routes::new().on(&access::TRANSFER, transfer)
}

async fn transfer(
    State(context): State<AdminContext>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiProblem> {
    let request = read(&body?)?;
    let leadership = context.leadership();
    let fresh = context.cluster.is_fresh(leadership.heard_at);
    if leadership.leading && fresh {
        // In a task of its own: a client that hangs up half way must not leave the connectors
        // released with no new leader.
        let leaving = tokio::spawn(async move { hand_over_leadership(&context, request).await });
        return leaving.await.unwrap_or_else(|error| {
            let detail = format!("the transfer broke off: {error}");
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Err(ApiProblem::new(status, "internal", detail))
        });
    }
    let leader = leadership
        .leader
        .and_then(|id| context.member(id))
        .ok_or_else(ApiProblem::no_leader)?;
    if headers.contains_key(PASSED_ON) || leader.id == context.me() {
        return Err(ApiProblem::no_leader());
    }
    pass_on(&context, &caller, &leader, &request).await
}

/// Reads the body as JSON whatever its content type; anything else changes nothing.
fn read(body: &[u8]) -> Result<TransferRequest, ApiProblem> {
    if body.is_empty() {
        return Ok(TransferRequest::default());
    }
    serde_json::from_slice(body).map_err(|problem| {
        let detail = format!("the body must be JSON like {{\"to\": \"member-2\"}}: {problem}");
        ApiProblem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    })
}

/// Hands over, as leader.
async fn hand_over_leadership(
    context: &AdminContext,
    request: TransferRequest,
) -> Result<Response, ApiProblem> {
    let members =
        mark_silent_unreachable(context.cluster.node().members(), |id| context.is_silent(id));
    let target = match &request.to {
        Some(name) => target(&members, context.me(), name)?,
        None => best(&members, context.me())?,
    };
    let term = context.leadership().term;
    // Until the transfer has succeeded or failed: then this member may take over again.
    let _parted = context.connectors.release(context.drain).await;
    let deadline = Instant::now() + context.cluster.timing().failover * 2 + Duration::from_secs(1);
    let taken = context
        .cluster
        .node()
        .transfer(Some(target), deadline)
        .await;
    taken.map_err(problem)?;
    wait_for_new_leader(context, term, deadline)
        .await
        .map(|answer| Json(answer).into_response())
}

/// Marks a member that was not heard just now as unreachable, whatever the leader's slower check
/// says of it.
fn mark_silent_unreachable(
    mut members: MemberList,
    is_silent: impl Fn(MemberId) -> bool,
) -> MemberList {
    for member in members.iter_mut().filter(|member| is_silent(member.id)) {
        member.reachable = Some(false);
    }
    members
}

/// Waits until this member hears the new leader, and no longer itself.
async fn wait_for_new_leader(
    context: &AdminContext,
    old_term: u64,
    deadline: Instant,
) -> Result<super::cluster_answers::LeaderAnswer, ApiProblem> {
    let mut leadership = context.cluster.node().leadership();
    loop {
        if let Some(answer) =
            leader::current_leader(context).filter(|answer| answer.term > old_term)
        {
            return Ok(answer);
        }
        let changed = tokio::time::timeout_at(deadline, leadership.changed()).await;
        if !matches!(changed, Ok(Ok(()))) {
            let detail = "leadership was handed over, and the new leader has not been heard yet";
            return Err(ApiProblem::new(
                StatusCode::GATEWAY_TIMEOUT,
                "unknown_outcome",
                detail,
            ));
        }
    }
}

fn target(members: &MemberList, me: MemberId, name: &str) -> Result<MemberId, ApiProblem> {
    let refused = |detail: String| Err(ApiProblem::new(StatusCode::CONFLICT, "conflict", detail));
    let Some(member) = members.iter().find(|member| member.member.name == name) else {
        let names: Vec<_> = members
            .iter()
            .map(|member| member.member.name.as_str())
            .collect();
        let detail = format!(
            "there is no member {name:?}; the members are {}",
            names.join(", ")
        );
        return Err(ApiProblem::new(StatusCode::NOT_FOUND, "not_found", detail));
    };
    match member {
        member if member.id == me => refused(format!("{name} leads already")),
        MemberStatus {
            role: Role::Learner,
            ..
        } => refused(format!("{name} does not vote, so it can't lead")),
        member if !fit(member) => refused(format!("{name} {}; nothing was changed", unfit(member))),
        member => Ok(member.id),
    }
}

fn best(members: &MemberList, me: MemberId) -> Result<MemberId, ApiProblem> {
    let candidates = members
        .iter()
        .filter(|member| member.id != me && member.role == Role::Voter && fit(member));
    candidates
        .min_by_key(|member| (member.lag, member.id))
        .map(|member| member.id)
        .ok_or_else(|| {
            let detail = "no other voter is reachable and up to date; nothing was changed";
            ApiProblem::new(StatusCode::CONFLICT, "conflict", detail)
        })
}

fn fit(member: &MemberStatus) -> bool {
    member.reachable != Some(false) && member.lag.is_none_or(|lag| lag <= LAG_MAX)
}

fn unfit(member: &MemberStatus) -> String {
    match (member.reachable, member.lag) {
        (Some(false), _) => "is not reachable".into(),
        (_, Some(lag)) => format!("is behind by {lag} log entries"),
        _ => "can't lead now".into(),
    }
}

fn problem(error: TransferError) -> ApiProblem {
    match error {
        TransferError::NotLeader(_) => ApiProblem::no_leader(),
        TransferError::Refused(why) => ApiProblem::new(StatusCode::CONFLICT, "conflict", why),
        TransferError::TimedOut(_) => ApiProblem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "unknown_outcome",
            error.to_string(),
        ),
    }
}

async fn pass_on(
    context: &AdminContext,
    caller: &Caller,
    leader: &MemberStatus,
    request: &TransferRequest,
) -> Result<Response, ApiProblem> {
    let wait = context.drain + context.cluster.timing().failover * 4 + Duration::from_secs(5);
    let body = serde_json::to_value(request).unwrap_or_default();
    let peers = context.peers.on_behalf_of(caller);
    let asked = peers.ask(Method::POST, &leader.member.admin, PATH, Some(body), wait);
    match asked.await {
        Ok(answer) => {
            let kind = answer.headers.get(header::CONTENT_TYPE).cloned();
            let mut response = Response::new(Body::from(answer.body));
            *response.status_mut() = answer.status;
            if let Some(kind) = kind {
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
            }
            Ok(response)
        }
        Err(error @ PeerError::NotAsked(..)) => Err(ApiProblem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            format!(
                "the leader is {}, and this member can't ask it ({error}); nothing was changed. Ask the leader itself, or correct admin.advertise in its settings",
                leader.member.name
            ),
        )),
        Err(error) => Err(ApiProblem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "unknown_outcome",
            error.to_string(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use quorate_types::Member;

    use super::*;

    fn member(id: MemberId, role: Role, lag: u64, reachable: bool) -> MemberStatus {
        let member = Member {
            name: format!("member-{id}"),
            ..Member::default()
        };
        MemberStatus {
            id,
            member,
            role,
            lag: Some(lag),
            reachable: Some(reachable),
        }
    }

    fn members() -> MemberList {
        vec![
            member(1, Role::Voter, 0, true),
            member(2, Role::Voter, 5, true),
            member(3, Role::Voter, 0, false),
            member(4, Role::Learner, 0, true),
            member(5, Role::Voter, 5_000, true),
        ]
    }

    #[test]
    fn a_body_is_never_ignored() {
        assert_eq!(read(b"").ok().map(|it| it.to), Some(None));
        let named = read(br#"{"to": "member-2"}"#).ok().and_then(|it| it.to);
        assert_eq!(named.as_deref(), Some("member-2"));
        for bad in [&b"["[..], b"to=member-2", br#"{"ot": "member-2"}"#] {
            assert!(read(bad).is_err());
        }
    }

    #[test]
    fn best_placed_voter_is_reachable_and_caught_up() {
        assert_eq!(best(&members(), 1).ok(), Some(2));
        assert!(best(&mark_silent_unreachable(members(), |id| id == 2), 1).is_err());
        assert!(best(&vec![member(1, Role::Voter, 0, true)], 1).is_err());
    }

    #[test]
    fn unfit_target_is_refused_before_any_change() {
        assert_eq!(target(&members(), 1, "member-2").ok(), Some(2));
        for name in ["member-1", "member-3", "member-4", "member-5", "member-9"] {
            assert!(target(&members(), 1, name).is_err(), "{name}");
        }
    }
}
