//! Wire format of intents, outcomes and admissions in the log and in snapshots.

use bytes::Bytes;
use quorate_proto::command::{self as wire, FieldError};
use quorate_resources::UnknownKind;
use wire::{intended, outcome::How};

use super::{KnownSend, RecordedOutcome, SendAdmission, SendConclusion, SendIntent, SendKey};
use crate::field_errors::{NOT_KNOWN, error};

impl From<&SendKey> for wire::SendKey {
    fn from(it: &SendKey) -> Self {
        wire::SendKey {
            kind: it.kind.as_str().into(),
            name: it.name.clone(),
            key: it.key.clone(),
        }
    }
}

impl TryFrom<Option<wire::SendKey>> for SendKey {
    type Error = FieldError;
    fn try_from(it: Option<wire::SendKey>) -> Result<Self, FieldError> {
        let it = it.ok_or_else(|| error("key", "", "is missing"))?;
        let unknown = |problem: UnknownKind| error("kind", &it.kind, problem.to_string());
        Ok(SendKey {
            kind: it.kind.parse().map_err(unknown)?,
            name: it.name,
            key: it.key,
        })
    }
}

impl From<&SendIntent> for wire::Intend {
    fn from(it: &SendIntent) -> Self {
        wire::Intend {
            key: Some((&it.key).into()),
            epoch: it.epoch,
            ticket: it.ticket,
            fingerprint: Bytes::copy_from_slice(&it.fingerprint),
            now_ms: it.now_ms,
        }
    }
}

/// Reads the fingerprint of a message.
pub(crate) fn fingerprint(it: &[u8]) -> Result<[u8; 32], FieldError> {
    let unfit = |_| {
        error(
            "fingerprint",
            format!("{} bytes", it.len()),
            "must have 32 bytes",
        )
    };
    it.try_into().map_err(unfit)
}

impl TryFrom<wire::Intend> for SendIntent {
    type Error = FieldError;
    fn try_from(it: wire::Intend) -> Result<Self, FieldError> {
        Ok(SendIntent {
            key: it.key.try_into()?,
            epoch: it.epoch,
            ticket: it.ticket,
            fingerprint: fingerprint(&it.fingerprint)?,
            now_ms: it.now_ms,
        })
    }
}

impl From<&SendConclusion> for wire::Conclude {
    fn from(it: &SendConclusion) -> Self {
        wire::Conclude {
            key: Some((&it.key).into()),
            epoch: it.epoch,
            ticket: it.ticket,
            outcome: Some((&it.outcome).into()),
            now_ms: it.now_ms,
        }
    }
}

impl TryFrom<wire::Conclude> for SendConclusion {
    type Error = FieldError;
    fn try_from(it: wire::Conclude) -> Result<Self, FieldError> {
        let outcome = it.outcome.and_then(|it| it.how);
        Ok(SendConclusion {
            key: it.key.try_into()?,
            epoch: it.epoch,
            ticket: it.ticket,
            outcome: outcome
                .and_then(read)
                .ok_or_else(|| error("outcome", "", NOT_KNOWN))?,
            now_ms: it.now_ms,
        })
    }
}

impl From<&RecordedOutcome> for wire::Outcome {
    fn from(it: &RecordedOutcome) -> Self {
        let how = match it {
            RecordedOutcome::Confirmed { message_id } => How::Confirmed(message_id.clone()),
            RecordedOutcome::Refused { text } => How::Refused(text.clone()),
            RecordedOutcome::Withdrawn => How::Withdrawn(true),
        };
        wire::Outcome { how: Some(how) }
    }
}

fn read(how: How) -> Option<RecordedOutcome> {
    match how {
        How::Confirmed(message_id) => Some(RecordedOutcome::Confirmed { message_id }),
        How::Refused(text) => Some(RecordedOutcome::Refused { text }),
        How::Withdrawn(true) => Some(RecordedOutcome::Withdrawn),
        How::Withdrawn(false) => None,
    }
}

/// Reads the outcome of an entry. One that is there and can't be read must not be taken for none.
pub(crate) fn outcome(it: Option<wire::Outcome>) -> Option<Option<RecordedOutcome>> {
    match it {
        None => Some(None),
        Some(it) => it.how.and_then(read).map(Some),
    }
}

impl From<&SendAdmission> for wire::Intended {
    fn from(it: &SendAdmission) -> Self {
        use intended::Admission as WireAdmission;
        let admission = match it {
            SendAdmission::Fresh => WireAdmission::Fresh(true),
            SendAdmission::Full => WireAdmission::Full(true),
            SendAdmission::Known(it) => WireAdmission::Known(wire::Known {
                epoch: it.epoch,
                ticket: it.ticket,
                same: it.same,
                outcome: it.outcome.as_ref().map(wire::Outcome::from),
            }),
        };
        wire::Intended {
            admission: Some(admission),
        }
    }
}

/// Reads an admission; `None` when this version does not know it.
pub(crate) fn admission(it: wire::Intended) -> Option<SendAdmission> {
    use intended::Admission as WireAdmission;
    match it.admission? {
        WireAdmission::Fresh(true) => Some(SendAdmission::Fresh),
        WireAdmission::Full(true) => Some(SendAdmission::Full),
        WireAdmission::Fresh(false) | WireAdmission::Full(false) => None,
        WireAdmission::Known(it) => Some(SendAdmission::Known(KnownSend {
            epoch: it.epoch,
            ticket: it.ticket,
            same: it.same,
            outcome: outcome(it.outcome)?,
        })),
    }
}
