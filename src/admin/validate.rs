//! `POST /v1/config/validate`: a dry run of several resources, put one after the other.
//!
//! Nothing is written. `quorate apply` asks this before it writes anything, so that a file is
//! applied whole or not begun.
//!
//! A call may have a hundred thousand resources: one such call is worked on at a time, on a thread
//! of its own and until its caller goes away, and its body is not read before.

use std::sync::Arc;

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{
        FromRequest, Request, State as Extract,
        rejection::{JsonRejection, MissingJsonContentType},
    },
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header::CONTENT_TYPE};
use quorate_resources::{Kind, Resource};
use quorate_state::{Actor, Answer, Command, Machine, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    AdminContext,
    access::{self, Routes},
    caller::Caller,
    compute_slots::{CallerGone, ComputeSlots},
    problem::ApiProblem,
};

/// The longest body: a hundred thousand resources, and more.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// The time in which the body has to come.
const BODY_WAIT: std::time::Duration = std::time::Duration::from_secs(30);
/// The number of resources after which the caller's presence is checked.
const LOOK_EVERY: usize = 64;

/// The body of the call.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidateRequest {
    /// The resources, in the order in which they would be put.
    pub resources: Vec<ProposedResource>,
}

/// One resource.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposedResource {
    /// The resource's kind.
    pub kind: Kind,
    /// The resource's name.
    pub name: String,
    /// The resource's fields, the name among them.
    pub spec: Value,
}

/// The effect that a put would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplyEffect {
    /// The resource would be created.
    Created,
    /// The resource would be changed.
    Changed,
    /// The resource is there like this already. One that is given with its secret counts as
    /// changed.
    Unchanged,
    /// The put would be refused.
    Refused,
}

/// The answer for one resource.
#[derive(Debug, Serialize, Deserialize)]
pub struct ResourceVerdict {
    /// The resource's kind.
    pub kind: Kind,
    /// The resource's name.
    pub name: String,
    /// The effect that the put would have.
    pub fate: ApplyEffect,
    /// The bad fields.
    pub errors: Vec<FieldVerdict>,
}

/// A bad field.
#[derive(Debug, Serialize, Deserialize)]
pub struct FieldVerdict {
    /// The field's name.
    pub field: String,
    /// The value that was given.
    pub value: String,
    /// The rule that the value breaks.
    pub problem: String,
}

/// The answer: one verdict for each resource, in order.
#[derive(Debug, Serialize, Deserialize)]
pub struct ValidateAnswer {
    /// One verdict for each resource.
    pub verdicts: Vec<ResourceVerdict>,
}

/// The route.
pub(super) fn routes() -> Routes<AdminContext> {
    Routes::new()
        .on(&access::VALIDATE, validate)
        .body_max(BODY_BYTES_MAX)
        .layers(|router| router.layer(Extension(ComputeSlots::new(1))))
}

async fn validate(
    Extract(context): Extract<AdminContext>,
    caller: Caller,
    Extension(slots): Extension<ComputeSlots>,
    request: Request,
) -> Result<Response, ApiProblem> {
    is_json(request.headers())?;
    let slot = slots.acquire().await?;
    let body = tokio::time::timeout(BODY_WAIT, Bytes::from_request(request, &()))
        .await
        .map_err(|_| ApiProblem::bad_request("the body did not come in time"))?
        .map_err(|rejection| ApiProblem::unread(rejection, too_long))?;
    let deadline = context.cluster.write_deadline();
    let state = context.cluster.fresh_state(deadline).await?;
    let answer = slot
        .run(move |gone| {
            let Json(request) = Json::<ValidateRequest>::from_bytes(&body)?;
            let actor = caller.actor().map(|it| &**it);
            let verdicts = judge_all(&state, request.resources, actor, gone)?;
            Ok::<_, ApiProblem>(Json(ValidateAnswer { verdicts }).into_response())
        })
        .await?;
    answer
}

/// The text for a body that is too long.
fn too_long() -> String {
    format!(
        "nothing was looked at: one call takes at most {} MiB of JSON; ask for the resources in several calls, what others need first",
        BODY_BYTES_MAX >> 20
    )
}

fn is_json(headers: &HeaderMap) -> Result<(), JsonRejection> {
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let kind = kind.and_then(|it| it.split(';').next()).unwrap_or_default();
    if kind.trim().eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(MissingJsonContentType::default().into())
    }
}

/// Judges each resource, as long as the caller is there.
fn judge_all(
    state: &Arc<State>,
    resources: Vec<ProposedResource>,
    actor: Option<&Actor>,
    gone: &CallerGone,
) -> Result<Vec<ResourceVerdict>, ApiProblem> {
    // A private copy: taking one is cheap, and so is throwing it away.
    let mut machine = Machine::from((**state).clone());
    let mut verdicts = Vec::with_capacity(resources.len());
    for (position, proposed) in resources.into_iter().enumerate() {
        if position.is_multiple_of(LOOK_EVERY) && gone.is_set() {
            break;
        }
        verdicts.push(judge(&mut machine, proposed, actor)?);
    }
    Ok(verdicts)
}

fn judge(
    machine: &mut Machine,
    proposed: ProposedResource,
    actor: Option<&Actor>,
) -> Result<ResourceVerdict, ApiProblem> {
    let ProposedResource { kind, name, spec } = proposed;
    // The secret could be guessed otherwise, and nobody would notice.
    let gives_secret = kind.secret_field().is_some()
        && Resource::parse(kind, &spec).is_ok_and(|it| it.gives_secret());
    let answer = try_put(machine, kind, &name, spec, actor);
    let (fate, errors) = match answer {
        Answer::Forbidden(missing) => return Err(ApiProblem::forbidden(&missing)),
        Answer::Done { created: true, .. } => (ApplyEffect::Created, vec![]),
        Answer::Done { changed: true, .. } => (ApplyEffect::Changed, vec![]),
        Answer::Done { .. } if gives_secret => (ApplyEffect::Changed, vec![]),
        Answer::Done { .. } => (ApplyEffect::Unchanged, vec![]),
        Answer::Invalid(errors) => (
            ApplyEffect::Refused,
            errors.into_iter().map(FieldVerdict::from).collect(),
        ),
        other => {
            let problem = match other {
                Answer::Full(over) => format!("there is no room for it: {over}"),
                other => format!("{other:?}"),
            };
            (
                ApplyEffect::Refused,
                vec![FieldVerdict {
                    field: String::new(),
                    value: String::new(),
                    problem,
                }],
            )
        }
    };
    Ok(ResourceVerdict {
        kind,
        name,
        fate,
        errors,
    })
}

/// Tries a put as `actor` would propose it: what he may not do, and what he may not read of others,
/// he doesn't learn by trying.
fn try_put(
    machine: &mut Machine,
    kind: Kind,
    name: &str,
    spec: Value,
    actor: Option<&Actor>,
) -> Answer {
    let Some(actor) = actor else {
        return machine.try_put(kind, name, spec);
    };
    let command = Command::PutResource {
        kind,
        name: name.to_owned(),
        spec: spec.to_string().into(),
        precondition: None,
    };
    if let Some(missing) = machine.state().refusal(actor, &command) {
        return Answer::Forbidden(missing.to_string());
    }
    if let Err(errors) = command.check() {
        return Answer::Invalid(errors);
    }
    let permissions = machine.state().permissions_of_actor(actor);
    machine.try_put(kind, name, spec).redacted(&permissions)
}

impl From<quorate_proto::command::FieldError> for FieldVerdict {
    fn from(error: quorate_proto::command::FieldError) -> Self {
        FieldVerdict {
            field: error.field,
            value: error.value,
            problem: error.problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn proposed(kind: Kind, spec: Value) -> ProposedResource {
        let name = spec["name"].as_str().unwrap().to_owned();
        ProposedResource { kind, name, spec }
    }

    fn fate(machine: &mut Machine, proposed: ProposedResource) -> ApplyEffect {
        judge(machine, proposed, None).unwrap().fate
    }

    #[test]
    fn document_may_depend_on_an_earlier_one() {
        let service = json!({ "name": "orders", "upstream": "http://127.0.0.1:9" });
        let channel = json!({ "name": "orders", "path": "/orders", "service": "orders" });
        let mut machine = Machine::default();
        let fates: Vec<ApplyEffect> = [
            (Kind::HttpChannel, channel.clone()),
            (Kind::Service, service.clone()),
            (Kind::HttpChannel, channel),
            (Kind::Service, service),
            (
                Kind::Service,
                json!({ "name": "orders", "upstream": "http://127.0.0.1:8" }),
            ),
            (
                Kind::Service,
                json!({ "name": "orders", "upstraem": "http://127.0.0.1:8" }),
            ),
        ]
        .into_iter()
        .map(|(kind, spec)| fate(&mut machine, proposed(kind, spec)))
        .collect();
        assert_eq!(
            fates,
            [
                ApplyEffect::Refused,
                ApplyEffect::Created,
                ApplyEffect::Created,
                ApplyEffect::Unchanged,
                ApplyEffect::Changed,
                ApplyEffect::Refused
            ]
        );
    }

    #[test]
    fn dry_run_with_secret_always_counts_as_changed() {
        let key = |it: &str| proposed(Kind::ApiKey, json!({"name": "k", "key": it}));
        let mut machine = Machine::default();
        assert_eq!(fate(&mut machine, key("right")), ApplyEffect::Created);
        assert_eq!(fate(&mut machine, key("right")), ApplyEffect::Changed);
        assert_eq!(fate(&mut machine, key("wrong")), ApplyEffect::Changed);
        let without = proposed(Kind::ApiKey, json!({"name": "k"}));
        assert_eq!(fate(&mut machine, without), ApplyEffect::Unchanged);
    }

    #[test]
    fn caller_gone_judges_nothing() {
        let service = || json!({ "name": "a", "upstream": "http://127.0.0.1:9" });
        let resources = || vec![proposed(Kind::Service, service())];
        let state = Arc::new(State::default());
        let judged = |gone: &CallerGone| judge_all(&state, resources(), None, gone).unwrap().len();
        assert_eq!(judged(&CallerGone::default()), 1);
        assert_eq!(judged(&CallerGone::already()), 0);
    }
}
