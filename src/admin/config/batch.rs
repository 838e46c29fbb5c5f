//! `POST /v1/config/apply`: several resources put at once.
//!
//! They are one entry of the log: all of them are put, in the order in which they stand, or
//! none, and one round of consensus is paid for all. A refusal names the first that is
//! refused and why: `resources[3].path`. How many there can be is bounded, so that other
//! writes get their turn between two calls.

use std::collections::BTreeSet;

use axum::{
    Json,
    extract::{FromRef, rejection::JsonRejection},
    response::Response,
};
use quorate_resources::Resource;
use quorate_state::{Answer, BATCH_BYTES_MAX, BATCH_MAX, BatchedPut, Command, ResourceWarning};
use serde::{Deserialize, Serialize};

use super::SLOW_MEMBERS;
use crate::{
    admin::{
        access::{self, Routes},
        caller::CallerCluster,
        problem::ApiProblem,
        revision_headers::{with_current_revision, written_response},
        validate::{ProposedResource, ValidateRequest},
    },
    cluster::ClusterHandle,
};

/// The longest body: what is around the resources is counted as generously as they are.
const BODY_BYTES_MAX: usize = 2 * BATCH_BYTES_MAX;

/// The answer to a batch.
#[derive(Debug, Serialize, Deserialize)]
pub struct BatchWritten {
    /// The log index that last changed any resource.
    pub revision: u64,
    /// True if any resource is another one than before.
    pub changed: bool,
    /// True if any resource did not exist before.
    pub created: bool,
    /// Resources that were there like this already, as `kind/name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unchanged: Vec<String>,
    /// Warnings for the one who declares the resources, each with the `kind/name` before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The route.
pub(super) fn routes<S>() -> Routes<S>
where
    S: Clone + Send + Sync + 'static,
    ClusterHandle: FromRef<S>,
{
    Routes::new()
        .on(&access::APPLY, apply)
        .body_max(BODY_BYTES_MAX)
}

async fn apply(
    CallerCluster(cluster): CallerCluster,
    body: Result<Json<ValidateRequest>, JsonRejection>,
) -> Response {
    let written = async {
        let Json(request) = body.map_err(|rejection| ApiProblem::unread(rejection, too_long))?;
        put_all(&cluster, request.resources).await
    };
    with_current_revision(&cluster, written.await)
}

/// The text for a body that is too long.
fn too_long() -> String {
    format!(
        "nothing was written: one call takes at most {BATCH_MAX} resources with {} KiB of JSON; put more of them in several calls, what others need first, or by `quorate apply`, which does so by itself",
        BATCH_BYTES_MAX >> 10
    )
}

async fn put_all(
    cluster: &ClusterHandle,
    resources: Vec<ProposedResource>,
) -> Result<Response, ApiProblem> {
    let count = resources.len();
    let puts = resources.iter().map(|it| BatchedPut {
        kind: it.kind,
        name: it.name.clone(),
        spec: it.spec.to_string().into(),
    });
    let command = Command::PutResources(puts.collect());
    let deadline = cluster.write_deadline();
    let (index, answer) = cluster.propose(command, deadline).await?;
    match answer {
        Answer::Done {
            revision,
            changed,
            created,
        } => {
            let state = cluster.state();
            let is_older = |it: &&ProposedResource| {
                let stored = state.catalog().get(it.kind, &it.name);
                stored.is_some_and(|it| it.revision < index)
            };
            let unchanged = resources.iter().filter(is_older);
            let unchanged = unchanged.map(|it| format!("{}/{}", it.kind, it.name));
            let unchanged = unchanged.collect();
            let warnings = warnings(cluster, &resources);
            let node = cluster.node();
            node.wait_applied_everywhere(index, SLOW_MEMBERS).await;
            let answer = BatchWritten {
                revision,
                changed,
                created,
                unchanged,
                warnings,
            };
            Ok(written_response(revision, Json(answer)))
        }
        Answer::Invalid(errors) => {
            let detail = format!("nothing of these {count} resources was written");
            Err(ApiProblem::invalid(detail, errors))
        }
        Answer::Full(over) => Err(over.into()),
        Answer::Forbidden(missing) => Err(ApiProblem::forbidden(&missing)),
        other => Err(ApiProblem::internal(format!(
            "a batch was answered {other:?}"
        ))),
    }
}

/// Collects the warnings of all resources, as they stand beside those that were put with them;
/// once of a channel that came with its service.
fn warnings(cluster: &ClusterHandle, resources: &[ProposedResource]) -> Vec<String> {
    let parsed = resources
        .iter()
        .filter_map(|it| Resource::parse(it.kind, &it.spec).ok());
    let warned: BTreeSet<ResourceWarning> = parsed
        .flat_map(|it| cluster.state().catalog().warnings(&it))
        .filter(|it| cluster.may_read(it.kind, &it.name))
        .collect();
    warned.iter().map(ToString::to_string).collect()
}
