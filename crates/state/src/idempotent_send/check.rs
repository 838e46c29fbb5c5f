//! Check of the values in an intent and in an outcome.

use quorate_proto::command::FieldError;
use quorate_resources::Kind;

use super::{OUTCOME_BYTES_MAX, RecordedOutcome, SendKey};
use crate::field_errors::error;

/// Longest key that a caller can give, in characters.
const KEY_MAX: usize = 200;

pub(crate) fn key(it: &SendKey) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if !it.kind.is_outgoing() {
        let outgoing: Vec<&str> = Kind::ALL
            .into_iter()
            .filter(|kind| kind.is_outgoing())
            .map(Kind::as_str)
            .collect();
        let problem = format!("sends nothing; these do: {}", outgoing.join(", "));
        errors.push(error("kind", it.kind.as_str(), problem));
    }
    let fits = (1..=KEY_MAX).contains(&it.key.len());
    if !fits || !it.key.chars().all(|c| c.is_ascii_graphic()) {
        let problem = format!("must be 1 to {KEY_MAX} visible ASCII characters without spaces");
        errors.push(error("key", format!("{} bytes", it.key.len()), problem));
    }
    errors
}

pub(crate) fn outcome(it: &RecordedOutcome) -> Vec<FieldError> {
    let (field, text) = match it {
        RecordedOutcome::Confirmed { message_id } => ("message_id", message_id),
        RecordedOutcome::Refused { text } => ("text", text),
        RecordedOutcome::Withdrawn => return Vec::new(),
    };
    if text.len() <= OUTCOME_BYTES_MAX {
        return Vec::new();
    }
    let problem = format!("must have at most {OUTCOME_BYTES_MAX} bytes");
    vec![error(field, format!("{} bytes", text.len()), problem)]
}
