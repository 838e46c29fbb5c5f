//! Answer to the writer of a command.

use prost::Message;
use quorate_proto::command::{self as wire, FieldError};

use super::{
    OverQuota, QuotaKind,
    idempotent_send::{self, SendAdmission},
};

/// Answer to a writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The command holds now.
    Done {
        /// Revision of the thing; of a deletion, its own log index.
        revision: u64,
        /// True when this write changed it.
        changed: bool,
        /// True when it did not exist before.
        created: bool,
    },
    /// Nothing was done: the precondition did not hold.
    PreconditionFailed {
        /// Revision that the thing has; 0 when it is absent.
        revision: u64,
    },
    /// There is no such thing.
    NotFound,
    /// Nothing was done: each bad field.
    Invalid(Vec<FieldError>),
    /// Nothing was deleted: these depend on it, as `kind/name`.
    Referenced(Vec<String>),
    /// A command about a reign or a send that no longer fits.
    Ignored(String),
    /// Answer to an intent.
    SendAdmitted(SendAdmission),
    /// Nothing was put: there is no room.
    Full(OverQuota),
    /// Nothing was done: the actor may not do this, or no longer. What was missing, in words.
    Forbidden(String),
}

impl Answer {
    /// Returns true when the state differs from the one before.
    pub fn changed(&self) -> bool {
        matches!(
            self,
            Answer::Done { changed: true, .. } | Answer::SendAdmitted(SendAdmission::Fresh)
        )
    }

    pub(super) fn done(revision: u64, created: bool) -> Answer {
        Answer::Done {
            revision,
            changed: true,
            created,
        }
    }

    /// Encodes the answer for the proposer.
    pub fn encode(&self) -> Vec<u8> {
        use wire::answer::Outcome;
        let outcome = match self {
            Answer::Done {
                revision,
                changed,
                created,
            } => Outcome::Done(wire::Done {
                revision: *revision,
                changed: *changed,
                created: *created,
            }),
            Answer::PreconditionFailed { revision } => Outcome::PreconditionFailed(wire::Failed {
                revision: *revision,
            }),
            Answer::NotFound => Outcome::NotFound(wire::NotFound {}),
            Answer::Invalid(errors) => Outcome::Invalid(wire::Invalid {
                errors: errors.clone(),
            }),
            Answer::Referenced(by) => Outcome::Referenced(wire::Referenced { by: by.clone() }),
            Answer::Ignored(why) => Outcome::Ignored(wire::Ignored { why: why.clone() }),
            Answer::SendAdmitted(admission) => Outcome::Intended(admission.into()),
            Answer::Forbidden(missing) => Outcome::Forbidden(wire::Forbidden {
                missing: missing.clone(),
            }),
            Answer::Full(OverQuota { counted, now, most }) => Outcome::Full(wire::Full {
                counted: wire::Counted::from(*counted).into(),
                now: *now,
                most: *most,
            }),
        };
        wire::Answer {
            outcome: Some(outcome),
        }
        .encode_to_vec()
    }

    /// Decodes an answer; `None` when this version doesn't know it.
    pub fn decode(bytes: &[u8]) -> Option<Answer> {
        use wire::answer::Outcome;
        Some(match wire::Answer::decode(bytes).ok()?.outcome? {
            Outcome::Done(it) => Answer::Done {
                revision: it.revision,
                changed: it.changed,
                created: it.created,
            },
            Outcome::PreconditionFailed(it) => Answer::PreconditionFailed {
                revision: it.revision,
            },
            Outcome::NotFound(_) => Answer::NotFound,
            Outcome::Invalid(it) => Answer::Invalid(it.errors),
            Outcome::Referenced(it) => Answer::Referenced(it.by),
            Outcome::Ignored(it) => Answer::Ignored(it.why),
            Outcome::Intended(it) => Answer::SendAdmitted(idempotent_send::wire::admission(it)?),
            Outcome::Forbidden(it) => Answer::Forbidden(it.missing),
            Outcome::Full(it) => Answer::Full(OverQuota {
                counted: counted(it.counted())?,
                now: it.now,
                most: it.most,
            }),
        })
    }
}

impl From<QuotaKind> for wire::Counted {
    fn from(counted: QuotaKind) -> Self {
        match counted {
            QuotaKind::KeyBytes => wire::Counted::KeyBytes,
            QuotaKind::Resources => wire::Counted::Resources,
            QuotaKind::ResourceBytes => wire::Counted::ResourceBytes,
        }
    }
}

fn counted(wire: wire::Counted) -> Option<QuotaKind> {
    match wire {
        wire::Counted::KeyBytes => Some(QuotaKind::KeyBytes),
        wire::Counted::Resources => Some(QuotaKind::Resources),
        wire::Counted::ResourceBytes => Some(QuotaKind::ResourceBytes),
        wire::Counted::Unspecified => None,
    }
}
