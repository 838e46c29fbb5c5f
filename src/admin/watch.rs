//! `GET /v1/watch?from=REV&prefix=`: the changes of keys, as `text/event-stream`.
//!
//! Guarantees at any member, with or without a quorum:
//!
//! - **Order.** Every put and delete of a key that begins with `prefix`, once, in the order
//!   of revisions, which is also the `id:` of each. No gap and no duplicate, however often
//!   the connection is lost, if the client goes on with the last `id:` that it has seen.
//! - **Start.** `from=REV` begins with the first change whose revision is REV or greater;
//!   `Last-Event-ID: REV` goes on after REV, and is what counts where both are there. Without
//!   either only later changes are sent, later than what the member has applied at the start. The
//!   first event, `watching`, has an `id:` already, so that a client that is cut off before the
//!   first change misses nothing.
//! - **Freshness.** A watch shows what its member has applied. A member that lags, or is cut off
//!   from the others, sends late, and never anything that the group will not agree to. In a silence
//!   it reports with the event `cut_off` that it hears no leader.
//! - **Gaps are reported.** The history is bounded. A client that asks for more than is kept gets
//!   410 with the code `compacted` and the `oldest_revision` to go on from; one that reads so
//!   slowly that it falls out of the history gets the same as a last event, `compacted`. A revision
//!   beyond the end of the log was never sent by this cluster: 400 with the code `future_revision`,
//!   if a quorum can confirm that; otherwise the revision is waited for.
//! - **Permission.** A watch is let in only where one grant covers its whole prefix. Each chunk is
//!   checked anew against the state that it is read from: once the permission is gone, or the token,
//!   the last event is `forbidden`.
//! - **End.** Nothing is queued for a reader: it has a place in the history, and reads on when its
//!   connection takes more. A reader that takes nothing for long is cut off (see
//!   [`super::serve`]). A member that is stopped ends its streams first of all.
//!
//! A silent stream gets a comment now and then, with an `id:` that moves on, so that a
//! client whose `prefix` changes rarely does not fall out of the history by waiting.

mod event_lines;
mod watch_request;
mod watch_stream;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{Query, RawQuery, State as From, rejection::QueryRejection},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use metrics::gauge;
use quorate_planted::{Mutant, planted};
use quorate_resources::AccessVerb;
use quorate_state::{AccessRequirement, AccessScope, ChangesCompacted, State};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use watch_request::{WatchQuery, WatchRequest};
use watch_stream::{WatchSource, WatchStream};

use super::{
    AdminContext,
    access::{self, Routes},
    authenticate::still_may,
    caller::Caller,
    kv::decoded,
    problem::ApiProblem,
    revision_headers::with_revision,
};

/// The number of streams that a member has open at a time. Each is one of the admin port's
/// connections, of which enough must be left for everything else.
pub const WATCHERS_MAX: usize = 128;

/// The silence after which a sign of life is sent.
const ALIVE_EVERY: Duration = Duration::from_secs(5);

/// Keeps a proxy in between from collecting what it is sent.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The first event's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchStarted {
    /// The first revision that can come.
    pub from: u64,
    /// The revision that this member has applied.
    pub revision: u64,
}

/// The data of `cut_off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutOff {
    /// Everything up to this revision was sent.
    pub revision: u64,
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The key was written.
    Put,
    /// The key was deleted.
    Delete,
}

/// A change's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRow {
    /// The log index of the change.
    pub revision: u64,
    /// The kind of the change.
    pub kind: ChangeKind,
    /// The key.
    pub key: String,
    /// The value that was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    /// The revision that the key had before, if it was there.
    pub previous_revision: Option<u64>,
}

/// The slots for open streams.
#[derive(Clone)]
struct WatchSlots(Arc<Semaphore>);

/// The slot of one stream, as long as the stream lives.
struct WatchSlot {
    _permit: OwnedSemaphorePermit,
}

impl WatchSlots {
    fn take(&self) -> Result<WatchSlot, ApiProblem> {
        let permit = self.0.clone().try_acquire_owned().map_err(|_| {
            ApiProblem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_watchers",
                format!(
                    "this member has {WATCHERS_MAX} watchers, which is as many as it takes; ask another member"
                ),
            )
        })?;
        gauge!("quorate_watchers").increment(1);
        Ok(WatchSlot { _permit: permit })
    }
}

impl Drop for WatchSlot {
    fn drop(&mut self) {
        gauge!("quorate_watchers").decrement(1);
    }
}

/// The route.
pub(super) fn routes() -> Routes<AdminContext> {
    let slots = WatchSlots(Arc::new(Semaphore::new(WATCHERS_MAX)));
    Routes::new()
        .on(&access::WATCH, watch)
        .layers(|router| router.layer(Extension(slots)))
}

async fn watch(
    From(context): From<AdminContext>,
    caller: Caller,
    Extension(slots): Extension<WatchSlots>,
    RawQuery(raw): RawQuery,
    query: Result<Query<WatchQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiProblem> {
    decoded(raw.as_deref().unwrap_or_default(), "the query")?;
    let Query(query) = query?;
    let ask = WatchRequest::read(query, &headers)?;
    if *context.draining.borrow() {
        return Err(ApiProblem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "this member is being stopped; ask another",
        ));
    }
    let slot = slots.take()?;
    let cluster = context.cluster.clone();
    if let Some(after) = ask.after
        && after > cluster.state().applied()
    {
        // Without a quorum no member can decide.
        if let Ok(end) = cluster.node().read_barrier(cluster.write_deadline()).await
            && after > end
        {
            return Err(future(after, end));
        }
    }
    let state = cluster.state();
    let mut after = ask.after.unwrap_or(state.revision());
    match state.kv().changelog().after(after) {
        Ok(mut missed) if planted(Mutant::WatchDropsEvent) => {
            after = missed.next().map_or(after, |first| first.revision);
        }
        Ok(_) => {}
        Err(gone) => return Err(compacted(after, gone)),
    }
    let scope = AccessScope::Prefix(ask.prefix.clone());
    let required = AccessRequirement::new(AccessVerb::Read, scope);
    let source = WatchSource {
        states: cluster.watch_state(),
        draining: context.draining.clone(),
        hears: Box::new(move || is_in_touch(&context)),
        allowed: Box::new(move |state: &State| still_may(&caller, state, &required)),
    };
    let follower = WatchStream::new(source, ask.prefix, after, ALIVE_EVERY, slot);
    let chunks = stream::unfold(follower, |mut follower| async move {
        let chunk = follower.next().await?;
        Some((Ok::<_, Infallible>(chunk), follower))
    });
    let headers = [
        (
            CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream; charset=utf-8"),
        ),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (UNBUFFERED, HeaderValue::from_static("no")),
    ];
    let answer = (headers, Body::from_stream(chunks)).into_response();
    Ok(with_revision(state.revision(), answer))
}

/// Returns true if the member may be taken to be in touch with the others.
fn is_in_touch(context: &AdminContext) -> bool {
    let heard_at = context.leadership().heard_at;
    heard_at.is_some_and(|at| at.elapsed() < context.cluster.timing().failover * 2)
}

/// Makes the problem of a history that does not go back far enough.
fn compacted(after: u64, ChangesCompacted { oldest }: ChangesCompacted) -> ApiProblem {
    let wanted = after.saturating_add(1);
    ApiProblem::new(
        StatusCode::GONE,
        "compacted",
        format!(
            "the changes from revision {wanted} on are not all kept any more: the oldest revision to watch from is {oldest}. To miss nothing, list the keys (GET /v1/kv?prefix=) and watch from the list's revision + 1"
        ),
    )
    .with_oldest_revision(oldest)
}

fn future(after: u64, end: u64) -> ApiProblem {
    ApiProblem::new(
        StatusCode::BAD_REQUEST,
        "future_revision",
        format!(
            "revision {} can't be asked for yet: the log of this cluster ends at {end}, so {} is the greatest that makes sense. Was the revision told by another cluster? Without from (and Last-Event-ID) the watch begins now",
            after.saturating_add(1),
            end + 1
        ),
    )
}

#[cfg(test)]
mod tests;
