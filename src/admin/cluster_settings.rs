//! `GET` and `PUT /v1/cluster/settings`: settings that all members share and change together.
//!
//! A change is answered when every member goes by it, with 200, or after a while, with 202 and the
//! names of the members that don't yet: the change is settled by itself once they are back. Asking
//! for the same value again changes nothing and waits again.

use std::time::Duration;

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use quorate_clock::Instant;
use quorate_state::{self as state, Answer, Command};
use quorate_types::{
    Timing,
    timing::{FAILOVER_MS_MAX, FAILOVER_MS_MIN},
};
use serde_json::Value;

use super::{
    AdminContext,
    access::{self, Routes},
    caller::CallerCluster,
    cluster_answers::ClusterSettings,
    problem::{ApiProblem, FieldProblem},
    revision_headers::with_revision,
};

const FIELD: &str = "failover_ms";

/// Time beyond the lease that has to run out first, for members that are a little late.
const SLOW_MEMBERS: Duration = Duration::from_secs(3);

/// The route.
pub(super) fn routes() -> Routes<AdminContext> {
    Routes::new()
        .on(&access::SETTINGS, settings)
        .on(&access::CHANGE_SETTINGS, change)
}

async fn settings(State(context): State<AdminContext>) -> Result<Response, ApiProblem> {
    let deadline = context.cluster.write_deadline();
    let state = context.cluster.fresh_state(deadline).await?;
    let settings = current_settings(&context, &state).ok_or_else(none_yet)?;
    Ok(with_revision(state.revision(), Json(settings)))
}

/// Returns the settings as of `state`; `None` before the first member has made its promise.
pub(super) fn current_settings(
    context: &AdminContext,
    state: &state::State,
) -> Option<ClusterSettings> {
    let promise = state.failover()?;
    let members = context.cluster.node().members();
    let missing = members
        .iter()
        .filter(|it| !promise.is_settled() && !promise.applied.contains(&it.id))
        .map(|it| it.member.name.clone());
    let differing = members.iter().filter_map(|it| {
        let theirs = state.announced_programs().get(&it.id)?.failover_ms?;
        (theirs != promise.target_ms).then(|| (it.member.name.clone(), theirs))
    });
    Some(ClusterSettings {
        failover_ms: promise.target_ms,
        former_failover_ms: promise.former_ms,
        revision: promise.revision,
        settled: promise.is_settled(),
        missing: missing.collect(),
        differing: differing.collect(),
    })
}

fn none_yet() -> ApiProblem {
    let detail = "the first member has not made its failover promise yet; try again in a moment";
    ApiProblem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
}

async fn change(
    State(context): State<AdminContext>,
    CallerCluster(cluster): CallerCluster,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Response, ApiProblem> {
    let Json(body) = body?;
    let failover_ms = read(&body)?;
    let until = Instant::now() + context.cluster.timing().lease + SLOW_MEMBERS;
    let command = Command::SetFailover {
        failover_ms,
        first: false,
    };
    let deadline = context.cluster.write_deadline();
    let (_, answer) = cluster.propose(command, deadline).await?;
    let Answer::Done { revision, .. } = answer else {
        let refusal = ApiProblem::from_answer("the cluster's settings", answer);
        return Err(refusal.expect("invariant: it was not done"));
    };
    let mut states = context.cluster.watch_state();
    let over = |state: &std::sync::Arc<state::State>| {
        let promise = state.failover();
        promise.is_some_and(|it| it.is_settled() || it.revision != revision)
    };
    // Late or not, the answer says how far it is.
    let _ = tokio::time::timeout_at(until, states.wait_for(over)).await;
    let state = context.cluster.state();
    let settings = current_settings(&context, &state).ok_or_else(none_yet)?;
    let status = if settings.settled {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let answer = (status, Json(settings)).into_response();
    Ok(with_revision(state.revision(), answer))
}

/// Returns a problem for each field that is wrong.
fn read(body: &Value) -> Result<u64, ApiProblem> {
    let Some(fields) = body.as_object() else {
        let detail = format!("the body must be JSON like {{\"{FIELD}\": 500}}");
        return Err(ApiProblem::bad_request(detail));
    };
    let mut errors: Vec<FieldProblem> = fields
        .iter()
        .filter(|(field, _)| *field != FIELD)
        .map(|(field, value)| {
            let problem = format!("is no setting of the cluster; {FIELD} is the only one");
            FieldProblem::new(field, shown(value), problem)
        })
        .collect();
    let given = fields.get(FIELD);
    let number = given
        .and_then(Value::as_u64)
        .filter(|number| Timing::from_failover_ms(*number).is_ok());
    if number.is_none() {
        let problem = format!("must be a whole number from {FAILOVER_MS_MIN} to {FAILOVER_MS_MAX}");
        let value = given.map(shown).unwrap_or_default();
        errors.push(FieldProblem::new(FIELD, value, problem));
    }
    match number {
        Some(number) if errors.is_empty() => Ok(number),
        _ => Err(ApiProblem::invalid(
            "the cluster's settings can't be like this",
            errors,
        )),
    }
}

/// Shows a text without its quotes, anything else as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn impossible_promise_is_refused() {
        for number in [100, 500, 60_000] {
            assert_eq!(read(&json!({ "failover_ms": number })), Ok(number));
        }
        for (bad, value) in [
            (json!({"failover_ms": 99}), "99"),
            (json!({"failover_ms": 60001}), "60001"),
            (json!({"failover_ms": -1}), "-1"),
            (json!({"failover_ms": 500.5}), "500.5"),
            (json!({"failover_ms": "soon"}), "soon"),
            (json!({"failover_ms": null}), "null"),
            (json!({}), ""),
        ] {
            let error = read(&bad).unwrap_err();
            let told = serde_json::to_value(&error).unwrap();
            assert_eq!(told["code"], "invalid", "{bad}");
            let expected = json!([{
                "field": "failover_ms", "value": value,
                "problem": "must be a whole number from 100 to 60000",
            }]);
            assert_eq!(told["errors"], expected, "{bad}");
        }
        let other = read(&json!({"failover_ms": 500, "failover": 1})).unwrap_err();
        let told = serde_json::to_value(&other).unwrap();
        assert_eq!(told["errors"][0]["field"], "failover");
        assert_eq!(read(&json!([])).unwrap_err().code(), "bad_request");
    }
}
