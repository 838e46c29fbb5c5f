//! The lines of a watch, in the form of server-sent events.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use quorate_state::KeyChange;

use super::{ChangeKind, ChangeRow, CutOff, WatchStarted};
use crate::admin::problem::ApiProblem;

/// The pause before a browser connects again.
const RETRY_MS: u64 = 500;

/// Writes the first event. Its `id` is the place that the stream begins behind.
pub(super) fn watching(after: u64, revision: u64) -> Bytes {
    let from = after.saturating_add(1);
    let data = json(&WatchStarted { from, revision });
    format!("retry: {RETRY_MS}\nid: {after}\nevent: watching\ndata: {data}\n\n").into()
}

/// Writes a change. It has no `event:`, so that a browser's `onmessage` gets these and only these.
pub(super) fn change(to: &mut String, change: &KeyChange) {
    let row = ChangeRow {
        revision: change.revision,
        kind: match change.value {
            Some(_) => ChangeKind::Put,
            None => ChangeKind::Delete,
        },
        key: (*change.key).into(),
        value_base64: change.value.as_ref().map(|value| STANDARD.encode(value)),
        previous_revision: change.previous,
    };
    let _ = write!(to, "id: {}\ndata: {}\n\n", change.revision, json(&row));
}

/// Writes a sign of life, which says that nothing up to `position` is still to come. Without data
/// it is no event, and moves the place all the same.
pub(super) fn alive(position: u64) -> Bytes {
    format!(": alive\nid: {position}\n\n").into()
}

/// Writes a sign of life of a member that hears no leader: the others may be further, and this
/// member can't know.
pub(super) fn cut_off(position: u64) -> Bytes {
    let data = json(&CutOff { revision: position });
    format!("id: {position}\nevent: cut_off\ndata: {data}\n\n").into()
}

/// Writes the last event for a reader that fell out of the history.
pub(super) fn compacted(problem: &ApiProblem) -> Bytes {
    format!("event: compacted\ndata: {}\n\n", json(problem)).into()
}

/// Writes the last event for a reader that may not read these keys any more.
pub(super) fn forbidden(prefix: &str) -> Bytes {
    let problem = ApiProblem::forbidden(&format!("read on every key that begins with {prefix:?}"));
    format!("event: forbidden\ndata: {}\n\n", json(&problem)).into()
}

/// Writes the last event of a member that is being stopped.
pub(super) fn stopping(position: u64) -> Bytes {
    format!(": this member is being stopped; go on at another\nid: {position}\n\n").into()
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("invariant: texts and numbers are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_follow_the_sse_standard() {
        let mut text = String::new();
        let put = KeyChange {
            revision: 7,
            key: "a\nb".into(),
            value: Some("v".into()),
            previous: None,
        };
        change(&mut text, &put);
        let delete = KeyChange {
            revision: 9,
            key: "c".into(),
            value: None,
            previous: Some(7),
        };
        change(&mut text, &delete);
        assert_eq!(
            text,
            "id: 7\ndata: {\"revision\":7,\"kind\":\"put\",\"key\":\"a\\nb\",\"value_base64\":\"dg==\",\"previous_revision\":null}\n\n\
             id: 9\ndata: {\"revision\":9,\"kind\":\"delete\",\"key\":\"c\",\"previous_revision\":7}\n\n"
        );
        assert_eq!(
            watching(41, 40),
            "retry: 500\nid: 41\nevent: watching\ndata: {\"from\":42,\"revision\":40}\n\n"
        );
        assert_eq!(alive(3), ": alive\nid: 3\n\n");
        let told = "id: 3\nevent: cut_off\ndata: {\"revision\":3}\n\n";
        assert_eq!(cut_off(3), told);
    }
}
