//! The request of a watch: from which revision on, and which keys.

use http::{HeaderMap, HeaderName};
use serde::Deserialize;

use crate::admin::problem::ApiProblem;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The query as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WatchQuery {
    from: Option<String>,
    prefix: String,
}

/// The parsed query and headers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WatchRequest {
    /// Only changes with a greater revision are sent; `None`: only those that come from now on.
    pub after: Option<u64>,
    /// Only keys with this prefix are sent.
    pub prefix: String,
}

impl WatchRequest {
    /// Reads the request. A browser that connects again sends the query of the first time and
    /// `Last-Event-ID` besides: the latter is its place.
    pub(super) fn read(query: WatchQuery, headers: &HeaderMap) -> Result<WatchRequest, ApiProblem> {
        let from = match &query.from {
            Some(text) => Some(revision("from", text)?),
            None => None,
        };
        let last = match headers.get(LAST_EVENT_ID) {
            Some(value) if value.is_empty() => None,
            Some(value) => Some(revision(
                "Last-Event-ID",
                value.to_str().unwrap_or("not a text"),
            )?),
            None => None,
        };
        Ok(WatchRequest {
            after: last.or(from.map(|from| from.saturating_sub(1))),
            prefix: query.prefix,
        })
    }
}

fn revision(what: &str, text: &str) -> Result<u64, ApiProblem> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        ApiProblem::bad_request(format!(
            "{what} is {shown:?}; it must be a revision, which is a whole number such as 42"
        ))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(from: Option<&str>, last: Option<&'static str>) -> Result<Option<u64>, ApiProblem> {
        let mut headers = HeaderMap::new();
        if let Some(last) = last {
            headers.insert(LAST_EVENT_ID, HeaderValue::from_static(last));
        }
        let query = WatchQuery {
            from: from.map(str::to_owned),
            prefix: "a/".into(),
        };
        let ask = WatchRequest::read(query, &headers)?;
        assert_eq!(ask.prefix, "a/");
        Ok(ask.after)
    }

    #[test]
    fn from_is_inclusive_and_last_event_id_exclusive() {
        for (from, last, after) in [
            (None, None, None),
            (None, Some(""), None),
            (Some("0"), None, Some(0)),
            (Some("1"), None, Some(0)),
            (Some("42"), None, Some(41)),
            (None, Some("42"), Some(42)),
            (None, Some("0"), Some(0)),
            (Some("7"), Some("42"), Some(42)),
            (Some("18446744073709551615"), None, Some(u64::MAX - 1)),
        ] {
            assert_eq!(read(from, last), Ok(after), "{from:?} {last:?}");
        }
    }

    #[test]
    fn invalid_revision_is_refused_by_name() {
        for bad in ["abc", "", "-1", "+1", "1.5", " 1", "99999999999999999999"] {
            let problem = read(Some(bad), None).expect_err(bad);
            assert_eq!(problem.status(), 400);
            assert!(problem.detail().starts_with("from is "), "{problem:?}");
        }
        for (from, bad) in [(None, "abc"), (Some("1"), "x"), (None, "-")] {
            let problem = read(from, Some(bad)).expect_err(bad);
            assert!(
                problem.detail().starts_with("Last-Event-ID is "),
                "{problem:?}"
            );
        }
    }
}
