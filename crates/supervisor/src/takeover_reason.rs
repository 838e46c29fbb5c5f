//! Reason of a takeover: from the election, in a word, and in the span of its lines.

use quorate_state::Reason;
use quorate_types::{ElectionReason, Leadership};
use tracing::{Span, info_span};

/// Returns the reason of a takeover by the leader. `again`: this member held the last reign, in the
/// same term.
pub(super) fn takeover_reason(leadership: &Leadership, again: bool) -> Reason {
    let election = match leadership.election {
        _ if again => return Reason::Again,
        None => return Reason::Timeout,
        Some(election) => election,
    };
    match election.reason {
        ElectionReason::Timeout if election.former.is_none() => Reason::Start,
        ElectionReason::Timeout => Reason::Timeout,
        ElectionReason::Transfer => Reason::Transfer,
        ElectionReason::Death => Reason::Death,
    }
}

/// Returns the span of a takeover. The epoch is known once the takeover is committed.
pub(super) fn takeover_span(
    term: u64,
    epoch: Option<u64>,
    reason: Reason,
    connectors: u32,
) -> Span {
    info_span!(
        "takeover",
        epoch,
        term,
        reason = reason_word(reason),
        connectors
    )
}

/// Returns the reason in one word, as it stands in logs and JSON.
pub fn reason_word(reason: Reason) -> &'static str {
    match reason {
        Reason::Start => "start",
        Reason::Timeout => "timeout",
        Reason::Transfer => "transfer",
        Reason::Death => "death",
        Reason::Again => "again",
        Reason::Unknown => "unknown",
    }
}
