//! Revisions and preconditions in headers, and the freshness of reads.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ETAG, IF_MATCH, IF_NONE_MATCH},
};
use quorate_state::{State, WritePrecondition};
use serde::Deserialize;

use super::problem::ApiProblem;
use crate::cluster::ClusterHandle;

/// The header with a write's revision, or the revision that a read or a refusal reflects.
pub(super) const QUORATE_REVISION: HeaderName = HeaderName::from_static("quorate-revision");

/// The freshness that a read asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ReadConsistency {
    /// The read sees every write that was acknowledged before the call.
    #[default]
    Linearizable,
    /// The read sees what this member has applied; it needs no quorum.
    Stale,
}

impl ReadConsistency {
    /// Returns the state to read from.
    pub(super) async fn read_state(
        self,
        cluster: &ClusterHandle,
    ) -> Result<Arc<State>, ApiProblem> {
        match self {
            ReadConsistency::Linearizable => {
                Ok(cluster.fresh_state(cluster.write_deadline()).await?)
            }
            ReadConsistency::Stale => Ok(cluster.state()),
        }
    }
}

/// The query of a read.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ReadQuery {
    /// The freshness of the read.
    pub consistency: ReadConsistency,
}

/// Returns a revision as its `ETag`.
pub(super) fn etag(revision: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).expect("invariant: digits in quotes")
}

/// Adds the revision that an answer reflects, unless it has one.
pub(super) fn with_revision(revision: u64, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    response
        .headers_mut()
        .entry(QUORATE_REVISION)
        .or_insert_with(|| revision.into());
    response
}

/// Adds the current revision to a write's answer that has none yet: a refusal reflects it.
pub(super) fn with_current_revision(
    cluster: &ClusterHandle,
    outcome: Result<Response, ApiProblem>,
) -> Response {
    with_revision(cluster.state().revision(), outcome)
}

/// Makes the answer to a write that was done.
pub(super) fn written_response(revision: u64, answer: impl IntoResponse) -> Response {
    let mut response = with_revision(revision, answer);
    response.headers_mut().insert(ETAG, etag(revision));
    response
}

/// Reads the precondition of a write: `If-Match: "REV"` or `If-None-Match: *`.
pub(super) fn precondition(headers: &HeaderMap) -> Result<Option<WritePrecondition>, ApiProblem> {
    let expected = one(headers, IF_MATCH)?;
    let absent = one(headers, IF_NONE_MATCH)?;
    match (expected, absent) {
        (None, None) => Ok(None),
        (Some(tag), None) => match revision_in(tag) {
            Some(revision) => Ok(Some(WritePrecondition::Revision(revision))),
            None => Err(ApiProblem::bad_request(format!(
                "If-Match is {tag:?}; it must be one revision in quotes, such as \"42\", as ETag gave it"
            ))),
        },
        (None, Some("*")) => Ok(Some(WritePrecondition::Absent)),
        (None, Some(other)) => Err(ApiProblem::bad_request(format!(
            "If-None-Match is {other:?}; for a write it must be *"
        ))),
        (Some(_), Some(_)) => Err(ApiProblem::bad_request(
            "If-Match and If-None-Match can't both hold; send one of them",
        )),
    }
}

/// Returns true if the reader's `If-None-Match` has this revision.
pub(super) fn known_to_reader(headers: &HeaderMap, revision: u64) -> bool {
    let weakly = |tag: &str| revision_in(tag.strip_prefix("W/").unwrap_or(tag)) == Some(revision);
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|tags| tags.split(','))
        .any(|tag| tag.trim() == "*" || weakly(tag.trim()))
}

/// Makes the answer 304, for a reader that has this revision already.
pub(super) fn not_modified(revision: u64) -> Response {
    (StatusCode::NOT_MODIFIED, [(ETAG, etag(revision))]).into_response()
}

fn one(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, ApiProblem> {
    let mut values = headers.get_all(&name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text.trim())),
            Err(_) => Err(ApiProblem::bad_request(format!("{name} is not a text"))),
        },
        (Some(_), Some(_)) => Err(ApiProblem::bad_request(format!(
            "{name} stands there twice; one is enough"
        ))),
    }
}

fn revision_in(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn preconditions() {
        let read = |pairs: &[(HeaderName, &'static str)]| precondition(&headers(pairs));
        assert_eq!(read(&[]), Ok(None));
        let revision = Ok(Some(WritePrecondition::Revision(42)));
        assert_eq!(read(&[(IF_MATCH, "\"42\"")]), revision);
        assert_eq!(read(&[(IF_MATCH, " \"42\" ")]), revision);
        assert_eq!(
            read(&[(IF_NONE_MATCH, "*")]),
            Ok(Some(WritePrecondition::Absent))
        );
        for bad in [
            &[(IF_MATCH, "*")][..],
            &[(IF_MATCH, "\"a\"")],
            &[(IF_MATCH, "")],
            &[(IF_MATCH, "42")],
            &[(IF_MATCH, "\"")],
            &[(IF_MATCH, "\"+1\"")],
            &[(IF_MATCH, "W/\"1\"")],
            &[(IF_MATCH, "\"1\", \"2\"")],
            &[(IF_MATCH, "\"99999999999999999999\"")],
            &[(IF_MATCH, "\"1\""), (IF_MATCH, "\"2\"")],
            &[(IF_NONE_MATCH, "\"1\"")],
            &[(IF_MATCH, "\"1\""), (IF_NONE_MATCH, "*")],
        ] {
            let problem = read(bad).expect_err("should be refused");
            assert_eq!(problem.code(), "bad_request", "{bad:?}");
        }
    }

    #[test]
    fn readers_that_know() {
        let knows = |tags: &'static str| known_to_reader(&headers(&[(IF_NONE_MATCH, tags)]), 42);
        assert!(knows("\"42\"") && knows("\"1\", W/\"42\"") && knows("*"));
        assert!(!knows("\"4\"") && !knows("\"421\"") && !knows(""));
        assert_eq!(etag(42), "\"42\"");
    }
}
