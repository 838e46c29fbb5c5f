//! `/v1/config`: the resources.
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/config`, `GET /v1/config/{kind}` | 200 `{"resources":[{"kind","name","revision","resource"}],"revision"}`, in an order in which they could be created |
//! | `GET /v1/config/{kind}/{name}` | 200, the fields with defaults filled in and without secrets; `ETag` |
//! | `PUT /v1/config/{kind}/{name}` | 200 `{"kind","name","revision","changed","created"}`, also when it is created; unchanged: the revision that it has |
//! | `DELETE /v1/config/{kind}/{name}` | 200 `{"kind","name","revision"}` |
//!
//! Reads take `?consistency=linearizable` (default) or `stale`. Writes take
//! `?dry_run=true`: everything is checked against the state as it is, nothing is
//! written, and the answer says what would have been (`revision` is `null` where it
//! would be a new one). A body may leave out `name`, which stands in the URL, and may
//! repeat `kind`.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, FromRef, Path, Query, State as From,
        rejection::{BytesRejection, PathRejection, QueryRejection},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, header::ETAG};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    problem::{FieldProblem, Problem},
    revision::{
        Consistency, etag, known_to_reader, not_modified, precondition, reflecting, written,
    },
};
use crate::{
    cluster::Cluster,
    state::{
        Answer, Command, Kind, Precondition, SPEC_BYTES_MAX, State, Stored, check_resource,
        parse_json,
    },
};

/// How long slow members are waited for after a write.
const SLOW_MEMBERS: Duration = Duration::from_millis(250);

/// The routes.
pub fn routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Cluster: FromRef<S>,
{
    Router::new()
        .route("/v1/config", get(list_all))
        .route("/v1/config/{kind}", get(list_kind))
        .route(
            "/v1/config/{kind}/{name}",
            get(read).put(put).delete(delete),
        )
        .layer(DefaultBodyLimit::max(SPEC_BYTES_MAX))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadQuery {
    #[serde(default)]
    consistency: Consistency,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteQuery {
    #[serde(default)]
    dry_run: bool,
}

/// One resource in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The log index that last changed it.
    pub revision: u64,
    /// Its fields with defaults filled in, without its secret.
    pub resource: Value,
}

impl Listed {
    fn of(kind: Kind, name: &str, stored: &Stored) -> Listed {
        Listed {
            kind,
            name: name.to_owned(),
            revision: stored.revision,
            resource: stored.resource.shown(),
        }
    }
}

/// Resources, in an order in which they could be created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// Each.
    pub resources: Vec<Listed>,
    /// The revision that the list reflects.
    pub revision: u64,
}

impl Listing {
    fn of(state: &State, kind: Option<Kind>) -> Listing {
        let resources = state
            .catalog()
            .all()
            .filter(|(it, ..)| kind.is_none_or(|kind| kind == *it))
            .map(|(kind, name, stored)| Listed::of(kind, name, stored))
            .collect();
        Listing {
            resources,
            revision: state.revision(),
        }
    }
}

async fn list_all(
    From(cluster): From<Cluster>,
    query: Result<Query<ReadQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    list(&cluster, None, query).await
}

async fn list_kind(
    From(cluster): From<Cluster>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<ReadQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Path(kind) = path?;
    list(&cluster, Some(known(&kind)?), query).await
}

async fn list(
    cluster: &Cluster,
    kind: Option<Kind>,
    query: Result<Query<ReadQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query?;
    let state = query.consistency.view(cluster).await?;
    let listing = Listing::of(&state, kind);
    Ok(reflecting(state.revision(), Json(listing)))
}

async fn read(
    From(cluster): From<Cluster>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<ReadQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let thing = Thing::of(path)?;
    let Query(query) = query?;
    let state = query.consistency.view(&cluster).await?;
    let answer = match state.catalog().get(thing.kind, &thing.name) {
        Some(stored) if known_to_reader(&headers, stored.revision) => not_modified(stored.revision),
        Some(stored) => {
            let tag = [(ETAG, etag(stored.revision))];
            (tag, Json(stored.resource.shown())).into_response()
        }
        None => Problem::not_found(format!("there is no {thing}")).into_response(),
    };
    Ok(reflecting(state.revision(), answer))
}

async fn put(
    From(cluster): From<Cluster>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<WriteQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let written = async {
        let thing = Thing::of(path)?;
        let Query(query) = query?;
        let precondition = precondition(&headers)?;
        let spec = thing.spec(&body?)?;
        let command = Command::PutResource {
            kind: thing.kind,
            name: thing.name.clone(),
            spec,
            precondition,
        };
        write(&cluster, &thing, command, query.dry_run).await
    };
    answered(&cluster, written.await)
}

async fn delete(
    From(cluster): From<Cluster>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<WriteQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let written = async {
        let thing = Thing::of(path)?;
        let Query(query) = query?;
        let precondition: Option<Precondition> = precondition(&headers)?;
        let command = Command::DeleteResource {
            kind: thing.kind,
            name: thing.name.clone(),
            precondition,
        };
        write(&cluster, &thing, command, query.dry_run).await
    };
    answered(&cluster, written.await)
}

/// Every write's answer carries a revision, a refusal's too.
fn answered(cluster: &Cluster, outcome: Result<Response, Problem>) -> Response {
    reflecting(cluster.state().revision(), outcome)
}

/// What became of a write.
#[derive(Debug, Serialize)]
struct Written<'a> {
    kind: Kind,
    name: &'a str,
    revision: Option<u64>,
    changed: bool,
    created: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

async fn write(
    cluster: &Cluster,
    thing: &Thing,
    command: Command,
    dry_run: bool,
) -> Result<Response, Problem> {
    let deadline = cluster.write_deadline();
    let (index, answer) = if dry_run {
        let state: Arc<State> = cluster.fresh_state(deadline).await?;
        (None, state.rehearse(&command))
    } else {
        let (index, answer) = cluster.propose(command, deadline).await?;
        (Some(index), answer)
    };
    let Answer::Done {
        revision,
        changed,
        created,
    } = answer
    else {
        let refusal = Problem::of_answer(&thing.to_string(), answer);
        return Err(refusal.expect("invariant: it was not done"));
    };
    let told = Written {
        kind: thing.kind,
        name: &thing.name,
        revision: (!(dry_run && changed)).then_some(revision),
        changed,
        created,
        dry_run,
    };
    match index {
        Some(index) => {
            cluster
                .node()
                .wait_applied_everywhere(index, SLOW_MEMBERS)
                .await;
            Ok(written(revision, Json(told)))
        }
        None => Ok(Json(told).into_response()),
    }
}

/// The kind and name in a URL.
struct Thing {
    kind: Kind,
    name: String,
}

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl Thing {
    fn of(path: Result<Path<(String, String)>, PathRejection>) -> Result<Thing, Problem> {
        let Path((kind, name)) = path?;
        Ok(Thing {
            kind: known(&kind)?,
            name,
        })
    }

    /// The resource in the body of a put, checked as far as it can be without the state.
    fn spec(&self, body: &[u8]) -> Result<Bytes, Problem> {
        let mut spec = parse_json(body)
            .map_err(|error| Problem::bad_request(format!("the body must be JSON: {error}")))?;
        if let Some(fields) = spec.as_object_mut() {
            if let Some(kind) = fields
                .remove("kind")
                .filter(|kind| *kind != self.kind.as_str())
            {
                let problem = format!(
                    "must be {:?}, the kind in the URL, or left out",
                    self.kind.as_str()
                );
                let shown = kind.as_str().unwrap_or_default();
                let errors = [FieldProblem::new("kind", shown, problem)];
                return Err(Problem::invalid(
                    format!("{self} can't be like this"),
                    errors,
                ));
            }
            if !fields.contains_key("name") {
                fields.insert("name".into(), self.name.as_str().into());
            }
        }
        let spec = spec.to_string();
        check_resource(self.kind, &self.name, spec.as_bytes())
            .map_err(|errors| Problem::invalid(format!("{self} can't be like this"), errors))?;
        Ok(spec.into())
    }
}

fn known(kind: &str) -> Result<Kind, Problem> {
    kind.parse()
        .map_err(|unknown: crate::state::UnknownKind| Problem::not_found(unknown.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::Machine;

    fn thing(kind: Kind, name: &str) -> Thing {
        Thing {
            kind,
            name: name.into(),
        }
    }

    #[test]
    fn a_body_may_leave_out_the_name_and_repeat_the_kind() {
        let thing = thing(Kind::Service, "orders");
        for body in [
            json!({"upstream": "http://a"}),
            json!({"upstream": "http://a", "name": "orders", "kind": "service"}),
        ] {
            let spec = thing.spec(body.to_string().as_bytes()).unwrap();
            let spec: Value = serde_json::from_slice(&spec).unwrap();
            assert_eq!(spec, json!({"upstream": "http://a", "name": "orders"}));
        }
    }

    #[test]
    fn bad_bodies() {
        let thing = thing(Kind::BasicAuth, "partner");
        for (body, code, says) in [
            ("", "bad_request", "must be JSON"),
            ("{", "bad_request", "must be JSON"),
            (r#"{"username":"a","username":"b"}"#, "bad_request", "twice"),
            ("[]", "invalid", "an object"),
            (
                r#"{"name":"other","username":"a"}"#,
                "invalid",
                "the name that it is put under",
            ),
            (
                r#"{"kind":"api_key","username":"a"}"#,
                "invalid",
                "the kind in the URL",
            ),
            (r#"{"username":"a:b"}"#, "invalid", "without a colon"),
        ] {
            let problem = thing.spec(body.as_bytes()).expect_err(body);
            assert_eq!(problem.code(), code, "{body}");
            let told = serde_json::to_string(&problem).unwrap();
            assert!(told.contains(says), "{body}: {told} should say {says}");
        }
    }

    #[test]
    fn lists_show_no_secrets() {
        let mut machine = Machine::default();
        let specs = [
            (
                Kind::AmqpConnection,
                json!({"name": "r", "host": "h", "username": "u", "password": "hunter2"}),
            ),
            (Kind::ApiKey, json!({"name": "k", "key": "hunter2"})),
        ];
        for (index, (kind, spec)) in (1..).zip(specs) {
            let name = spec["name"].as_str().unwrap().to_owned();
            let spec = spec.to_string().into();
            machine.apply(
                index,
                1,
                1,
                &Command::PutResource {
                    kind,
                    name,
                    spec,
                    precondition: None,
                },
            );
        }
        let all = Listing::of(machine.state(), None);
        let names: Vec<&str> = all.resources.iter().map(|it| it.name.as_str()).collect();
        assert_eq!((names, all.revision), (vec!["k", "r"], 2));
        assert_eq!(
            Listing::of(machine.state(), Some(Kind::ApiKey))
                .resources
                .len(),
            1
        );
        let text = serde_json::to_string(&all).unwrap();
        assert!(
            text.contains("X-API-Key") && !text.contains("hunter2"),
            "{text}"
        );
    }
}
