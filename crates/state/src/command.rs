//! Every possible write, and what its writer is told.
//!
//! Commands stand in the log for as long as it is kept, and members of different versions
//! read them. All members must come to the same state, so a member ends when it is to apply
//! a command that its version does not know, or that has a part which it does not know: to
//! pass it over would leave it with another state than the members that know it, and nobody
//! would notice. A field of a resource is such a part, and so is a value of a type that this
//! version does not know. [`Command::decode`] refuses all of them; the replica says so and
//! stops consensus.
//!
//! What a value may be is another matter: rules are asked by the member that proposes a
//! command ([`Command::check`]) and by none that applies it, since a version with a stricter
//! rule than the proposer's would refuse what the others do. What is decided when a command is
//! applied hangs on the state, on the entry, and on numbers that are part of the format: how
//! many of a sort are kept at most ([`super::SENDS_MAX`], [`super::SENDS_OF_ONE_MAX`],
//! [`super::KEPT_MS`], [`super::TAKEOVERS_MAX`], [`super::CHANGES_MAX`],
//! [`super::CHANGES_BYTES_MAX`], [`super::KV_BYTES_MAX`], [`super::RESOURCES_MAX`],
//! [`super::RESOURCES_BYTES_MAX`]). A version can change one of these only with a command of
//! its own.
//!
//! A version that brings a new kind or field must not propose it for as long as a member has
//! announced an older version (see [`super::AnnouncedProgram`]). Nothing older than this version was
//! released, so there is nothing to hold back yet.

mod check;
mod debug;
mod wire;

use bytes::Bytes;

pub use quorate_proto::command::FieldError;

use quorate_resources::Kind;
use quorate_types::MemberId;

use super::{ConnectionsByConnector, OperatorAction, SendConclusion, SendIntent, Takeover};

/// What must hold for a write to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritePrecondition {
    /// The thing exists and has this revision.
    Revision(u64),
    /// The thing does not exist.
    Absent,
}

impl WritePrecondition {
    /// Whether it holds for a thing with this revision (`None`: there is no such thing).
    pub fn holds(self, revision: Option<u64>) -> bool {
        match self {
            WritePrecondition::Revision(expected) => revision == Some(expected),
            WritePrecondition::Absent => revision.is_none(),
        }
    }
}

/// How many resources one command puts at most.
pub const BATCH_MAX: usize = 500;
/// How many bytes of JSON they have at most: so much that the log is not held up by one.
pub const BATCH_BYTES_MAX: usize = 256 << 10;

/// One of several resources that are put at once.
#[derive(Clone, PartialEq, Eq)]
pub struct BatchedPut {
    /// Its kind.
    pub kind: Kind,
    /// Its name; it stands in `spec` too.
    pub name: String,
    /// Its fields as JSON.
    pub spec: Bytes,
}

/// How far one of several connectors has come.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectorProgress {
    /// The kind of its resource.
    pub kind: Kind,
    /// The name of its resource.
    pub name: String,
    /// The revision at which its resource was created; 0: not known.
    pub created: u64,
    /// What it keeps, in its own words; empty: nothing.
    pub progress: Bytes,
}

/// One write.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// Creates or replaces a resource. `spec` is its JSON, without defaults filled in.
    PutResource {
        /// Its kind.
        kind: Kind,
        /// Its name; it stands in `spec` too.
        name: String,
        /// Its fields as JSON.
        spec: Bytes,
        /// What must hold.
        precondition: Option<WritePrecondition>,
    },
    /// Creates or replaces several resources in this order, all of them or none.
    PutResources(Vec<BatchedPut>),
    /// Deletes a resource.
    DeleteResource {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// What must hold.
        precondition: Option<WritePrecondition>,
    },
    /// Creates or replaces a key.
    PutKey {
        /// The key.
        key: String,
        /// Its value.
        value: Bytes,
        /// What must hold.
        precondition: Option<WritePrecondition>,
    },
    /// Deletes a key.
    DeleteKey {
        /// The key.
        key: String,
        /// What must hold.
        precondition: Option<WritePrecondition>,
    },
    /// The leader of `term` begins to run the connectors: see [`super::ProcessReign`].
    TakeOver {
        /// The leader itself.
        member: MemberId,
        /// The term that it leads.
        term: u64,
    },
    /// The holder has stopped its connectors in an orderly way.
    Release {
        /// The epoch of its reign.
        epoch: u64,
    },
    /// A member says what its program carries.
    AnnounceProgram {
        /// The member.
        member: MemberId,
        /// The services that it carries in code.
        services: Vec<String>,
        /// Its version.
        version: String,
        /// The failover promise that its own settings name, if they name one.
        failover_ms: Option<u64>,
    },
    /// Promises another failover time: see [`super::FailoverPromise`].
    SetFailover {
        /// What is to be promised; the proposer has checked the range.
        failover_ms: u64,
        /// Only where nothing has been promised yet.
        first: bool,
    },
    /// A member goes by the promise that was set at this revision.
    FailoverApplied {
        /// The member.
        member: MemberId,
        /// The log index of the `SetFailover`.
        revision: u64,
    },
    /// Every member goes by it.
    FailoverSettled {
        /// The log index of the `SetFailover`.
        revision: u64,
    },
    /// The holder of the reign says how it began.
    RecordTakeover(Box<Takeover>),
    /// A member says what the brokers call its connectors' connections: all of them.
    RecordBrokerConnections {
        /// The member.
        member: MemberId,
        /// By connector, `kind/name`.
        connections: ConnectionsByConnector,
    },
    /// An operator asks something of a connector.
    OperateConnector {
        /// The kind of its resource.
        kind: Kind,
        /// The name of its resource.
        name: String,
        /// What is asked.
        order: OperatorAction,
    },
    /// Connectors have come so far: see [`super::ProgressTable`].
    AdvanceProgress {
        /// The epoch of the reign under which they came so far.
        epoch: u64,
        /// Those of them that have something to keep.
        connectors: Vec<ConnectorProgress>,
    },
    /// The connector server is about to send under an idempotency key.
    BeginSend(Box<SendIntent>),
    /// It knows what became of that.
    FinishSend(Box<SendConclusion>),
}

/// Of a part that a later version has brought.
pub(super) const NOT_KNOWN: &str = "is not one that this version knows";

/// What is wrong with one of several: `resources[3].path`.
pub(super) fn in_batch(position: usize, errors: Vec<FieldError>) -> Vec<FieldError> {
    let placed = |it: FieldError| {
        let dot = if it.field.is_empty() { "" } else { "." };
        let field = format!("resources[{position}]{dot}{}", it.field);
        FieldError { field, ..it }
    };
    errors.into_iter().map(placed).collect()
}

/// Of a resource in the log or in a snapshot that has what this program does not know.
pub(super) fn not_as_known(kind: &str, name: &str, unknown: &[FieldError]) -> FieldError {
    let told = |it: &FieldError| match it.field.is_empty() {
        true => it.problem.clone(),
        false => format!("{}: {}", it.field, it.problem),
    };
    let told: Vec<String> = unknown.iter().map(told).collect();
    let problem = format!("is not as this program knows it ({})", told.join("; "));
    error(format!("{kind}/{name}"), "", problem)
}

pub(super) fn error(
    field: impl Into<String>,
    value: impl Into<String>,
    problem: impl Into<String>,
) -> FieldError {
    FieldError {
        field: field.into(),
        value: value.into(),
        problem: problem.into(),
    }
}
