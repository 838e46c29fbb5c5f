//! Values of a send under an idempotency key: its key, intent, outcome and admission.

pub(crate) mod check;
pub(crate) mod wire;

use std::fmt;

use quorate_resources::Kind;

/// Longest text of an outcome, in bytes.
pub const OUTCOME_BYTES_MAX: usize = 512;

/// Idempotency key, which means something for one outgoing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SendKey {
    /// Kind of the outgoing.
    pub kind: Kind,
    /// Name of the outgoing.
    pub name: String,
    /// Key as the caller gave it.
    pub key: String,
}

impl fmt::Display for SendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.name, self.key)
    }
}

/// Intent: the connector server is about to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendIntent {
    /// Key under which it sends.
    pub key: SendKey,
    /// Epoch of its reign.
    pub epoch: u64,
    /// Number that it gives no second time in this epoch.
    pub ticket: u64,
    /// Fingerprint that tells this message from another: a SHA-256 that is the same on every
    /// member.
    pub fingerprint: [u8; 32],
    /// Clock of the connector server, which is never set, in milliseconds.
    pub now_ms: u64,
}

/// Conclusion: the connector server knows the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendConclusion {
    /// Key of the intent.
    pub key: SendKey,
    /// Epoch of the intent.
    pub epoch: u64,
    /// Ticket of the intent.
    pub ticket: u64,
    /// Outcome of the send.
    pub outcome: RecordedOutcome,
    /// Clock of the connector server, as in the intent.
    pub now_ms: u64,
}

/// Outcome of a send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordedOutcome {
    /// The broker has the message.
    Confirmed {
        /// Id of the message.
        message_id: String,
    },
    /// The message was surely not sent, and would not be the next time either.
    Refused {
        /// Reason of the refusal.
        text: String,
    },
    /// The message was surely not sent and is not going to be: another one may.
    Withdrawn,
}

impl RecordedOutcome {
    /// Builds a refusal, with its text shortened to what an outcome can hold.
    pub fn refused(text: &str) -> RecordedOutcome {
        let end = text.floor_char_boundary(OUTCOME_BYTES_MAX);
        RecordedOutcome::Refused {
            text: text[..end].to_owned(),
        }
    }
}

/// Answer to the proposer of an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendAdmission {
    /// The proposer may send, and nobody else may.
    Fresh,
    /// There was an entry before.
    Known(KnownSend),
    /// There is no room for another key: nothing may be sent under it now.
    Full,
}

/// Entry that was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSend {
    /// Epoch of its intent. An entry without an outcome is being sent now if this is the current
    /// epoch, and will never be known for sure if not.
    pub epoch: u64,
    /// Ticket of its intent.
    pub ticket: u64,
    /// True when it is about the same message.
    pub same: bool,
    /// Outcome; never [`RecordedOutcome::Withdrawn`].
    pub outcome: Option<RecordedOutcome>,
}
