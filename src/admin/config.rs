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
    Extension, Json,
    body::Bytes,
    extract::{
        FromRef, Path, Query, State as From,
        rejection::{BytesRejection, PathRejection, QueryRejection},
    },
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header::ETAG};
use quorate_resources::{Kind, Resource};
use quorate_state::{Command, ResourceWarning, SPEC_BYTES_MAX};
pub(super) use resource_path::parse_kind;
use resource_path::{PutBody, ResourcePath};
use serde::{Deserialize, Serialize};

use super::{
    access::{self, Routes},
    caller::{Caller, CallerCluster},
    compute_slots::ComputeSlots,
    problem::ApiProblem,
    proposed_write::{self, CompletedWrite},
    revision_headers::{
        ReadQuery, etag, known_to_reader, not_modified, precondition, with_current_revision,
        with_revision, written_response,
    },
};
use crate::cluster::ClusterHandle;

pub use batch::BatchWritten;
use listing::ListedKinds;
pub use listing::{ResourceRow, ResourcesAnswer};

/// The time that slow members are waited for after a write.
const SLOW_MEMBERS: Duration = Duration::from_millis(250);

/// The number of lists that are made at a time.
const LISTS_MAX: usize = 2;

/// The routes.
pub(super) fn routes<S>() -> Routes<S>
where
    S: Clone + Send + Sync + 'static,
    ClusterHandle: FromRef<S>,
{
    Routes::new()
        .on(&access::LIST_RESOURCES, list_all)
        .on(&access::LIST_KIND, list_kind)
        .on(&access::READ_RESOURCE, read)
        .on(&access::PUT_RESOURCE, put)
        .on(&access::DELETE_RESOURCE, delete)
        .body_max(SPEC_BYTES_MAX)
        .layers(|router| router.layer(Extension(ComputeSlots::new(LISTS_MAX))))
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
    caller: Caller,
    Extension(slots): Extension<ComputeSlots>,
    query: Result<Query<ReadQuery>, QueryRejection>,
) -> Result<Response, ApiProblem> {
    let listed = if caller.is_unrestricted() {
        ListedKinds::All
    } else {
        ListedKinds::AllButSecurity
    };
    list(&cluster, &slots, listed, query).await
}

async fn list_kind(
    From(cluster): From<ClusterHandle>,
    Extension(slots): Extension<ComputeSlots>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<ReadQuery>, QueryRejection>,
) -> Result<Response, ApiProblem> {
    let Path(kind) = path?;
    let listed = ListedKinds::One(parse_kind(&kind)?);
    list(&cluster, &slots, listed, query).await
}

async fn list(
    cluster: &ClusterHandle,
    slots: &ComputeSlots,
    kinds: ListedKinds,
    query: Result<Query<ReadQuery>, QueryRejection>,
) -> Result<Response, ApiProblem> {
    let Query(query) = query?;
    let state = query.consistency.read_state(cluster).await?;
    let revision = state.revision();
    let slot = slots.acquire().await?;
    let listed = slot
        .run(move |_| Json(ResourcesAnswer::from_state(&state, kinds)).into_response())
        .await?;
    Ok(with_revision(revision, listed))
}

async fn read(
    From(cluster): From<ClusterHandle>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<ReadQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiProblem> {
    let target = ResourcePath::from_path(path)?;
    let Query(query) = query?;
    let state = query.consistency.read_state(&cluster).await?;
    let answer = match state.catalog().get(target.kind, &target.name) {
        Some(stored) if known_to_reader(&headers, stored.revision) => not_modified(stored.revision),
        Some(stored) => {
            let tag = [(ETAG, etag(stored.revision))];
            (tag, Json(stored.shown())).into_response()
        }
        None => ApiProblem::not_found(format!("there is no {target}")).into_response(),
    };
    Ok(with_revision(state.revision(), answer))
}

async fn put(
    CallerCluster(cluster): CallerCluster,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<ConfigWriteQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let written = async {
        let target = ResourcePath::from_path(path)?;
        let Query(query) = query?;
        let precondition = precondition(&headers)?;
        let body = body.map_err(|rejection| {
            ApiProblem::unread(rejection, || {
                format!(
                    "the resource is too long; it must have at most {SPEC_BYTES_MAX} bytes of JSON"
                )
            })
        })?;
        let PutBody { spec, resource } = target.read_body(&body)?;
        let command = Command::PutResource {
            kind: target.kind,
            name: target.name.clone(),
            spec,
            precondition,
        };
        write(&cluster, &target, command, Some(&resource), query.dry_run).await
    };
    with_current_revision(&cluster, written.await)
}

async fn delete(
    CallerCluster(cluster): CallerCluster,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<ConfigWriteQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let written = async {
        let target = ResourcePath::from_path(path)?;
        let Query(query) = query?;
        let precondition = precondition(&headers)?;
        let command = Command::DeleteResource {
            kind: target.kind,
            name: target.name.clone(),
            precondition,
        };
        write(&cluster, &target, command, None, query.dry_run).await
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
    target: &ResourcePath,
    command: Command,
    resource: Option<&Resource>,
    dry_run: bool,
) -> Result<Response, ApiProblem> {
    let deadline = cluster.write_deadline();
    let warnings = resource.map(|it| cluster.state().catalog().warnings(it));
    let warnings = warnings.unwrap_or_default();
    let is_own = |it: &ResourceWarning| (it.kind, &it.name) == (target.kind, &target.name);
    let warnings = warnings
        .into_iter()
        .filter(|it| is_own(it) || cluster.may_read(it.kind, &it.name))
        .map(|it| if is_own(&it) { it.text } else { it.to_string() });
    let warnings = warnings.collect();
    let subject = target.to_string();
    let (index, done) = if dry_run {
        let state = cluster.fresh_state(deadline).await?;
        let done = CompletedWrite::from_answer(&subject, cluster.dry_run(&state, &command))?;
        (None, hide_secret_match(resource, done))
    } else {
        let (index, done) = proposed_write::propose(cluster, &subject, command, deadline).await?;
        (Some(index), done)
    };
    let CompletedWrite {
        revision,
        changed,
        created,
    } = done;
    let answer = ResourceWriteAnswer {
        kind: target.kind,
        name: &target.name,
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
            Ok(written_response(revision, Json(answer)))
        }
        None => Ok(Json(answer).into_response()),
    }
}

/// Reports a put that gives a secret as a change, also where the secret is the one that is set.
///
/// A dry run could otherwise be used to guess passwords, and nobody would notice.
fn hide_secret_match(resource: Option<&Resource>, done: CompletedWrite) -> CompletedWrite {
    let gives_secret = resource.is_some_and(Resource::gives_secret);
    CompletedWrite {
        changed: done.changed || gives_secret,
        ..done
    }
}

#[cfg(test)]
mod http_tests;
#[cfg(test)]
mod tests;
