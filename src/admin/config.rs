//! `/v1/config`: the resources.
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/config`, `GET /v1/config/{kind}` | 200 `{"resources":[{"kind","name","revision","resource"}],"revision"}`, in an order in which they could be created |
//! | `GET /v1/config/{kind}/{name}` | 200, the fields with defaults filled in and without secrets; `ETag` |
//! | `PUT /v1/config/{kind}/{name}` | 200 `{"kind","name","revision","changed","created"}`, also when it is created; unchanged: the revision that it has |
//! | `POST /v1/config/apply` `{"resources":[{"kind","name","spec"}]}` | 200 `{"revision","changed","created"}`: all of them are put, in this order, or none |
//! | `DELETE /v1/config/{kind}/{name}` | 200 `{"kind","name","revision"}` |
//!
//! Reads take `?consistency=linearizable` (default) or `stale`. Writes take
//! `?dry_run=true`: everything is checked against the state as it is, nothing is
//! written, and the answer says what would have been (`revision` is `null` where it
//! would be a new one). There a resource that is given with its secret counts as changed.
//! A body may leave out `name`, which stands in the URL, and may repeat `kind`.

mod batch;
mod listing;
mod resource_path;

use std::time::Duration;

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, FromRef, Path, Query, State as From,
        rejection::{BytesRejection, PathRejection, QueryRejection},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, header::ETAG};
use quorate_resources::{Kind, Resource};
use quorate_state::{Answer, Command, ResourceWarning, SPEC_BYTES_MAX};
use resource_path::{ResourcePath, parse_kind};
use serde::{Deserialize, Serialize};

use super::{
    compute_slots::ComputeSlots,
    problem::ApiProblem,
    revision_headers::{
        ReadQuery, etag, known_to_reader, not_modified, precondition, with_current_revision,
        with_revision, written_response,
    },
};
use crate::cluster::ClusterHandle;

pub use batch::BatchWritten;
pub use listing::{ResourceRow, ResourcesAnswer};

/// The time that slow members are waited for after a write.
const SLOW_MEMBERS: Duration = Duration::from_millis(250);

/// The number of lists that are made at a time.
const LISTS_MAX: usize = 2;

/// The routes.
pub fn routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    ClusterHandle: FromRef<S>,
{
    Router::new()
        .route("/v1/config", get(list_all))
        .route("/v1/config/{kind}", get(list_kind))
        .route(
            "/v1/config/{kind}/{name}",
            get(read).put(put).delete(delete),
        )
        .layer(DefaultBodyLimit::max(SPEC_BYTES_MAX))
        .layer(Extension(ComputeSlots::new(LISTS_MAX)))
        .merge(batch::routes())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigWriteQuery {
    #[serde(default)]
    dry_run: bool,
}

async fn list_all(
    From(cluster): From<ClusterHandle>,
    Extension(bench): Extension<ComputeSlots>,
    query: Result<Query<ReadQuery>, QueryRejection>,
) -> Result<Response, ApiProblem> {
    list(&cluster, &bench, None, query).await
}

async fn list_kind(
    From(cluster): From<ClusterHandle>,
    Extension(bench): Extension<ComputeSlots>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<ReadQuery>, QueryRejection>,
) -> Result<Response, ApiProblem> {
    let Path(kind) = path?;
    list(&cluster, &bench, Some(parse_kind(&kind)?), query).await
}

async fn list(
    cluster: &ClusterHandle,
    bench: &ComputeSlots,
    kind: Option<Kind>,
    query: Result<Query<ReadQuery>, QueryRejection>,
) -> Result<Response, ApiProblem> {
    let Query(query) = query?;
    let state = query.consistency.read_state(cluster).await?;
    let revision = state.revision();
    let place = bench.acquire().await?;
    let listed = place
        .run(move |_| Json(ResourcesAnswer::from_state(&state, kind)).into_response())
        .await?;
    Ok(with_revision(revision, listed))
}

async fn read(
    From(cluster): From<ClusterHandle>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<ReadQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiProblem> {
    let thing = ResourcePath::from_path(path)?;
    let Query(query) = query?;
    let state = query.consistency.read_state(&cluster).await?;
    let answer = match state.catalog().get(thing.kind, &thing.name) {
        Some(stored) if known_to_reader(&headers, stored.revision) => not_modified(stored.revision),
        Some(stored) => {
            let tag = [(ETAG, etag(stored.revision))];
            (tag, Json(stored.resource.without_secret())).into_response()
        }
        None => ApiProblem::not_found(format!("there is no {thing}")).into_response(),
    };
    Ok(with_revision(state.revision(), answer))
}

async fn put(
    From(cluster): From<ClusterHandle>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<ConfigWriteQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let written = async {
        let thing = ResourcePath::from_path(path)?;
        let Query(query) = query?;
        let precondition = precondition(&headers)?;
        let body = body.map_err(|rejection| {
            ApiProblem::unread(rejection, || {
                format!(
                    "the resource is too long; it must have at most {SPEC_BYTES_MAX} bytes of JSON"
                )
            })
        })?;
        let spec = thing.spec(&body)?;
        let command = Command::PutResource {
            kind: thing.kind,
            name: thing.name.clone(),
            spec,
            precondition,
        };
        write(&cluster, &thing, command, query.dry_run).await
    };
    with_current_revision(&cluster, written.await)
}

async fn delete(
    From(cluster): From<ClusterHandle>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<ConfigWriteQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let written = async {
        let thing = ResourcePath::from_path(path)?;
        let Query(query) = query?;
        let precondition = precondition(&headers)?;
        let command = Command::DeleteResource {
            kind: thing.kind,
            name: thing.name.clone(),
            precondition,
        };
        write(&cluster, &thing, command, query.dry_run).await
    };
    with_current_revision(&cluster, written.await)
}

/// The answer to a write.
#[derive(Debug, Serialize)]
struct ResourceWriteAnswer<'a> {
    kind: Kind,
    name: &'a str,
    revision: Option<u64>,
    changed: bool,
    created: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

async fn write(
    cluster: &ClusterHandle,
    thing: &ResourcePath,
    command: Command,
    dry_run: bool,
) -> Result<Response, ApiProblem> {
    let deadline = cluster.write_deadline();
    let warnings = match &command {
        Command::PutResource { kind, spec, .. } => warnings(cluster, *kind, spec),
        _ => Vec::new(),
    };
    let is_own = |it: &ResourceWarning| (it.kind, &it.name) == (thing.kind, &thing.name);
    let warnings = warnings
        .into_iter()
        .map(|it| if is_own(&it) { it.text } else { it.to_string() });
    let warnings = warnings.collect();
    let (index, answer) = if dry_run {
        let state = cluster.fresh_state(deadline).await?;
        (None, hide_secret_match(&command, state.dry_run(&command)))
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
        let refusal = ApiProblem::from_answer(&thing.to_string(), answer);
        return Err(refusal.expect("invariant: it was not done"));
    };
    let told = ResourceWriteAnswer {
        kind: thing.kind,
        name: &thing.name,
        revision: (!(dry_run && changed)).then_some(revision),
        changed,
        created,
        dry_run,
        warnings,
    };
    match index {
        Some(index) => {
            cluster
                .node()
                .wait_applied_everywhere(index, SLOW_MEMBERS)
                .await;
            Ok(written_response(revision, Json(told)))
        }
        None => Ok(Json(told).into_response()),
    }
}

/// A rehearsal does not tell whether a password is the one that is set: it could be guessed
/// so, and nobody would notice.
fn hide_secret_match(command: &Command, answer: Answer) -> Answer {
    match (command, answer) {
        (
            Command::PutResource { kind, spec, .. },
            Answer::Done {
                revision,
                changed: false,
                created,
            },
        ) if gives_secret(*kind, spec) => Answer::Done {
            revision,
            changed: true,
            created,
        },
        (_, answer) => answer,
    }
}

fn gives_secret(kind: Kind, spec: &[u8]) -> bool {
    let spec = serde_json::from_slice(spec).ok();
    let resource = spec.and_then(|spec| Resource::parse(kind, &spec).ok());
    resource.is_some_and(|it| it.gives_secret())
}

/// What the one who declares a resource should know, beside what is declared now.
fn warnings(cluster: &ClusterHandle, kind: Kind, spec: &[u8]) -> Vec<ResourceWarning> {
    let spec = serde_json::from_slice(spec).ok();
    let resource = spec.and_then(|spec| Resource::parse(kind, &spec).ok());
    let warnings = resource.map(|it| cluster.state().catalog().warnings(&it));
    warnings.unwrap_or_default()
}

#[cfg(test)]
mod http_tests;
#[cfg(test)]
mod tests;
