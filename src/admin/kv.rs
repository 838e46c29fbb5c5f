//! `/v1/kv`: keys and values.
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/kv/{key}` | 200, the raw bytes; `ETag` |
//! | `PUT /v1/kv/{key}` | 200 `{"key","revision","created"}` |
//! | `DELETE /v1/kv/{key}` | 200 `{"key","revision"}` |
//! | `GET /v1/kv?prefix=&limit=&after=` | 200 `{"entries":[{"key","revision","value_base64"}],"revision","more"}` |
//!
//! A key is the rest of the path, percent-decoded, slashes included. Reads take
//! `?consistency=linearizable` (default) or `stale`. A list holds at most `limit`
//! (100; at most 1000) entries and about 4 MiB of values; where `more` is true it goes
//! on with `after` set to the last key.

use axum::{
    Json,
    body::Bytes,
    extract::{
        FromRef, Query, RawQuery, State as From,
        rejection::{BytesRejection, QueryRejection},
    },
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderValue, Uri,
    header::{CONTENT_TYPE, ETAG},
};
use percent_encoding::percent_decode_str;
use quorate_planted::{Mutant, planted};
use quorate_state::{Answer, Command, KEY_BYTES_MAX, State, VALUE_BYTES_MAX};
use serde::{Deserialize, Serialize};

use super::{
    access::{self, Routes},
    caller::CallerCluster,
    problem::ApiProblem,
    proposed_write::{self, CompletedWrite},
    revision_headers::{
        ReadConsistency, ReadQuery, etag, known_to_reader, not_modified, precondition,
        with_current_revision, with_revision, written_response,
    },
};
use crate::cluster::ClusterHandle;

/// The path before a key.
pub(super) const PATH: &str = "/v1/kv/";
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1000;
/// The bytes of values after which a list ends early: a list is held in memory.
const LISTED_BYTES: usize = 4 << 20;

/// The routes.
pub(super) fn routes<S>() -> Routes<S>
where
    S: Clone + Send + Sync + 'static,
    ClusterHandle: FromRef<S>,
{
    Routes::new()
        .on(&access::LIST_KEYS, list)
        .on(&access::READ_NO_KEY, read)
        .on(&access::PUT_NO_KEY, put)
        .on(&access::DELETE_NO_KEY, delete)
        .on(&access::READ_KEY, read)
        .on(&access::PUT_KEY, put)
        .on(&access::DELETE_KEY, delete)
        .body_max(VALUE_BYTES_MAX)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyWriteQuery {}

async fn read(
    From(cluster): From<ClusterHandle>,
    uri: Uri,
    query: Result<Query<ReadQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiProblem> {
    let key = key_in(uri.path())?;
    let Query(query) = query?;
    let state = query.consistency.read_state(&cluster).await?;
    let answer = match state.kv().get(&key) {
        Some(entry) if known_to_reader(&headers, entry.revision) => not_modified(entry.revision),
        Some(entry) => {
            let binary = HeaderValue::from_static("application/octet-stream");
            let headers = [(ETAG, etag(entry.revision)), (CONTENT_TYPE, binary)];
            (headers, entry.value.clone()).into_response()
        }
        None => missing(&key).into_response(),
    };
    Ok(with_revision(state.revision(), answer))
}

fn missing(key: &str) -> ApiProblem {
    ApiProblem::not_found(format!("there is no key {key:?}"))
}

async fn put(
    CallerCluster(cluster): CallerCluster,
    uri: Uri,
    query: Result<Query<KeyWriteQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let outcome = async {
        let key = key_in(uri.path())?;
        query?;
        let mut precondition = precondition(&headers)?;
        let value = body.map_err(|rejection| {
            ApiProblem::unread(rejection, || {
                format!("the value is too long; it must have at most {VALUE_BYTES_MAX} bytes")
            })
        })?;
        if planted(Mutant::PreconditionAtMember)
            && let Some(wanted) = precondition.take()
            && let revision = cluster.state().kv().get(&key).map(|it| it.revision)
            && !wanted.holds(revision)
        {
            let answer = Answer::PreconditionFailed {
                revision: revision.unwrap_or(0),
            };
            CompletedWrite::from_answer(&subject(&key), answer)?;
        }
        let command = Command::PutKey {
            key: key.clone(),
            value,
            precondition,
        };
        write(&cluster, &key, command, true).await
    };
    with_current_revision(&cluster, outcome.await)
}

async fn delete(
    CallerCluster(cluster): CallerCluster,
    uri: Uri,
    query: Result<Query<KeyWriteQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let outcome = async {
        let key = key_in(uri.path())?;
        query?;
        let precondition = precondition(&headers)?;
        let command = Command::DeleteKey {
            key: key.clone(),
            precondition,
        };
        write(&cluster, &key, command, false).await
    };
    with_current_revision(&cluster, outcome.await)
}

/// The answer to a write.
#[derive(Debug, Serialize)]
struct KeyWriteAnswer<'a> {
    key: &'a str,
    revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<bool>,
}

async fn write(
    cluster: &ClusterHandle,
    key: &str,
    command: Command,
    put: bool,
) -> Result<Response, ApiProblem> {
    if let Command::PutKey { key, value, .. } = &command {
        // The quota is decided on apply; a large value need not travel there to be refused.
        cluster.state().kv().check_room(key, value.len())?;
    }
    let deadline = cluster.write_deadline();
    let (_, done) = proposed_write::propose(cluster, &subject(key), command, deadline).await?;
    let answer = Json(KeyWriteAnswer {
        key,
        revision: done.revision,
        created: put.then_some(done.created),
    });
    // after a deletion there is nothing that could have a tag
    Ok(if put {
        written_response(done.revision, answer)
    } else {
        with_revision(done.revision, answer)
    })
}

/// The name of a key in problems.
fn subject(key: &str) -> String {
    format!("key {key:?}")
}

/// Reads the key in a path: the part after `/v1/kv/`, percent-decoded.
pub(super) fn key_in(path: &str) -> Result<String, ApiProblem> {
    let rest = path.strip_prefix(PATH).unwrap_or_default();
    let key = decoded(rest, "the key")?;
    match key.len() {
        0 => Err(ApiProblem::bad_request(
            "the key is empty: it is the rest of the path after /v1/kv/",
        )),
        1..=KEY_BYTES_MAX => Ok(key),
        long => Err(ApiProblem::bad_request(format!(
            "the key has {long} bytes; it must have at most {KEY_BYTES_MAX}"
        ))),
    }
}

/// Decodes text of a URL.
pub(super) fn decoded(text: &str, what: &str) -> Result<String, ApiProblem> {
    for (position, _) in text.match_indices('%') {
        let escape = text.as_bytes().get(position + 1..position + 3);
        if !escape.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(ApiProblem::bad_request(format!(
                "{what} has a % that two hexadecimal digits do not follow; a % itself is written as %25"
            )));
        }
    }
    match percent_decode_str(text).decode_utf8() {
        Ok(key) => Ok(key.into_owned()),
        Err(_) => Err(ApiProblem::bad_request(format!(
            "{what} is not UTF-8 once it is percent-decoded"
        ))),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct KeyListQuery {
    prefix: String,
    limit: Option<String>,
    after: Option<String>,
    consistency: ReadConsistency,
}

/// One key in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    /// The key.
    pub key: String,
    /// The log index that last wrote it.
    pub revision: u64,
    /// The value's bytes.
    pub value_base64: String,
}

/// Keys, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysAnswer {
    /// The keys with their values.
    pub entries: Vec<KeyRow>,
    /// The revision that the list reflects.
    pub revision: u64,
    /// True if more keys follow the last one.
    pub more: bool,
}

impl KeysAnswer {
    fn from_state(state: &State, query: &KeyListQuery, limit: usize) -> KeysAnswer {
        let mut listing = KeysAnswer {
            entries: Vec::new(),
            revision: state.revision(),
            more: false,
        };
        let mut bytes = 0;
        for (key, entry) in state.kv().list(&query.prefix, query.after.as_deref()) {
            let full = listing.entries.len() == limit
                || (bytes + entry.value.len() > LISTED_BYTES && !listing.entries.is_empty());
            if full {
                listing.more = true;
                break;
            }
            bytes += entry.value.len();
            listing.entries.push(KeyRow {
                key: key.to_owned(),
                revision: entry.revision,
                value_base64: STANDARD.encode(&entry.value),
            });
        }
        listing
    }
}

async fn list(
    From(cluster): From<ClusterHandle>,
    RawQuery(raw): RawQuery,
    query: Result<Query<KeyListQuery>, QueryRejection>,
) -> Result<Response, ApiProblem> {
    decoded(raw.as_deref().unwrap_or_default(), "the query")?;
    let Query(query) = query?;
    let limit = limit_of(query.limit.as_deref())?;
    let state = query.consistency.read_state(&cluster).await?;
    let listing = KeysAnswer::from_state(&state, &query, limit);
    Ok(with_revision(state.revision(), Json(listing)))
}

fn limit_of(limit: Option<&str>) -> Result<usize, ApiProblem> {
    let Some(limit) = limit else {
        return Ok(LIMIT_DEFAULT);
    };
    let number = limit.parse().ok();
    number
        .filter(|number| (1..=LIMIT_MAX).contains(number))
        .ok_or_else(|| {
            ApiProblem::bad_request(format!(
                "limit is {limit:?}; it must be a whole number from 1 to {LIMIT_MAX}"
            ))
        })
}

#[cfg(test)]
mod tests {
    use quorate_state::Machine;

    use super::*;

    #[test]
    fn keys_in_paths() {
        for (path, key) in [
            ("/v1/kv/a", "a"),
            ("/v1/kv/a/b//c/", "a/b//c/"),
            ("/v1/kv//a", "/a"),
            ("/v1/kv/a%2Fb%20c%3F", "a/b c?"),
            ("/v1/kv/gr%C3%BCn", "gr\u{fc}n"),
            ("/v1/kv/a+b%25", "a+b%"),
            ("/v1/kv/%00", "\0"),
            ("/v1/kv/%2E%2E", ".."),
        ] {
            assert_eq!(key_in(path).as_deref(), Ok(key), "{path}");
        }
        let long = format!("{PATH}{}", "k".repeat(KEY_BYTES_MAX + 1));
        for (path, says) in [
            ("/v1/kv/", "is empty"),
            ("/v1/kv/%ff", "not UTF-8"),
            ("/v1/kv/%C3", "not UTF-8"),
            ("/v1/kv/100%", "hexadecimal"),
            ("/v1/kv/%zz", "hexadecimal"),
            (&long, "at most 1024"),
        ] {
            let problem = key_in(path).expect_err(path);
            assert_eq!(problem.status(), 400);
            assert!(problem.detail().contains(says), "{path}: {problem:?}");
        }
    }

    fn state(values: &[(&str, usize)]) -> Machine {
        let mut machine = Machine::default();
        for (index, (key, bytes)) in (1..).zip(values) {
            let value = vec![0; *bytes].into();
            let key = key.to_string();
            machine.apply(
                index,
                1,
                1,
                &Command::PutKey {
                    key,
                    value,
                    precondition: None,
                },
            );
        }
        machine
    }

    fn keys(listing: &KeysAnswer) -> Vec<&str> {
        listing.entries.iter().map(|it| it.key.as_str()).collect()
    }

    #[test]
    fn lists_go_on_where_they_ended() {
        let machine = state(&[("a/1", 1), ("a/2", 1), ("a/3", 1), ("b", 1)]);
        let mut query = KeyListQuery {
            prefix: "a/".into(),
            ..KeyListQuery::default()
        };
        let listing = KeysAnswer::from_state(machine.state(), &query, 2);
        assert_eq!(
            (keys(&listing), listing.more, listing.revision),
            (vec!["a/1", "a/2"], true, 4)
        );
        assert_eq!(listing.entries[0].value_base64, "AA==");
        query.after = Some("a/2".into());
        let listing = KeysAnswer::from_state(machine.state(), &query, 2);
        assert_eq!((keys(&listing), listing.more), (vec!["a/3"], false));
    }

    #[test]
    fn lists_are_bounded_in_bytes() {
        let mib = 1 << 20;
        let machine = state(&[("a", mib), ("b", mib), ("c", mib), ("d", mib), ("e", 1)]);
        let listing = KeysAnswer::from_state(machine.state(), &KeyListQuery::default(), 100);
        assert_eq!(
            (keys(&listing), listing.more),
            (vec!["a", "b", "c", "d"], true)
        );
        assert_eq!(limit_of(None), Ok(100));
        assert_eq!(limit_of(Some("1000")), Ok(1000));
        for bad in ["0", "1001", "lots", "", "-1"] {
            let problem = limit_of(Some(bad)).expect_err(bad);
            assert!(problem.detail().contains("from 1 to 1000"), "{problem:?}");
        }
    }
}
