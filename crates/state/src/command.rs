//! Commands: every possible write.
//!
//! Commands stand in the log for as long as it is kept, and members of different versions read
//! them. All members must come to the same state, so a member ends when it is to apply a command
//! that its version does not know, or that has a part which it does not know: to pass it over would
//! leave it with another state than the members that know it, and nobody would notice. A field of a
//! resource is such a part, and so is a value of a type that this version does not know.
//! [`Command::decode`] refuses all of them; the replica logs that and stops consensus.
//!
//! The rules of values are another matter: they are asked by the member that proposes a command
//! ([`Command::check`]) and by none that applies it, since a version with a stricter rule than the
//! proposer's would refuse what the others do. A decision when a command is applied depends on the
//! state, on the entry, and on numbers that are part of the format: how many of a sort are kept at
//! most ([`super::SENDS_MAX`], [`super::SENDS_OF_ONE_MAX`], [`super::KEPT_MS`],
//! [`super::TAKEOVERS_MAX`], [`super::CHANGES_MAX`], [`super::CHANGES_BYTES_MAX`],
//! [`super::KV_BYTES_MAX`], [`super::RESOURCES_MAX`], [`super::RESOURCES_BYTES_MAX`]). A version
//! can change one of these only with a command of its own.
//!
//! A version that brings a new kind or field must not propose it for as long as a member has
//! announced an older version (see [`super::AnnouncedProgram`]). Nothing older than this version
//! was released, so there is nothing to hold back yet.

mod check;
mod debug;
mod wire;

use bytes::Bytes;

pub use quorate_proto::command::FieldError;

use quorate_resources::Kind;
use quorate_types::MemberId;

use super::{
    Actor, BatchedPut, ConnectionsByConnector, KeyringCommand, NewToken, OperatorAction,
    ResealedResource, SendConclusion, SendIntent, Takeover, VoucherKey, WritePrecondition,
};

/// Most resources that one command puts.
pub const BATCH_MAX: usize = 500;
/// Most bytes of their JSON: a bound by which one command does not hold up the log.
pub const BATCH_BYTES_MAX: usize = 256 << 10;

/// Progress of one of several connectors.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectorProgress {
    /// Kind of the connector's resource.
    pub kind: Kind,
    /// Name of the connector's resource.
    pub name: String,
    /// Revision at which its resource was created; 0: not known.
    pub created: u64,
    /// Progress in the connector's own encoding; empty: none.
    pub progress: Bytes,
}

/// One write.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// Creates or replaces a resource. `spec` is its JSON, without defaults filled in.
    PutResource {
        /// Kind of the resource.
        kind: Kind,
        /// Name of the resource; it stands in `spec` too.
        name: String,
        /// Fields as JSON.
        spec: Bytes,
        /// Precondition of the write.
        precondition: Option<WritePrecondition>,
    },
    /// Creates or replaces several resources in this order, all of them or none.
    PutResources(Vec<BatchedPut>),
    /// Deletes a resource.
    DeleteResource {
        /// Kind of the resource.
        kind: Kind,
        /// Name of the resource.
        name: String,
        /// Precondition of the write.
        precondition: Option<WritePrecondition>,
    },
    /// Creates or replaces a key.
    PutKey {
        /// Key to write.
        key: String,
        /// New value.
        value: Bytes,
        /// Precondition of the write.
        precondition: Option<WritePrecondition>,
    },
    /// Deletes a key.
    DeleteKey {
        /// Key to delete.
        key: String,
        /// Precondition of the write.
        precondition: Option<WritePrecondition>,
    },
    /// The leader of `term` begins to run the connectors: see [`super::Reign`].
    TakeOver {
        /// The leader itself.
        member: MemberId,
        /// Term that it leads.
        term: u64,
    },
    /// The holder has stopped its connectors in an orderly way.
    Release {
        /// Epoch of its reign.
        epoch: u64,
    },
    /// A member announces the contents of its program.
    AnnounceProgram {
        /// The member.
        member: MemberId,
        /// Services that it carries in code.
        services: Vec<String>,
        /// Version of the program.
        version: String,
        /// Failover promise that its own settings name, if they name one.
        failover_ms: Option<u64>,
    },
    /// Promises another failover time: see [`super::FailoverPromise`].
    SetFailover {
        /// New promise; the proposer has checked the range.
        failover_ms: u64,
        /// True when it counts only where nothing has been promised yet.
        first: bool,
    },
    /// A member goes by the promise that was set at this revision.
    FailoverApplied {
        /// The member.
        member: MemberId,
        /// Log index of the `SetFailover`.
        revision: u64,
    },
    /// Every member goes by it.
    FailoverSettled {
        /// Log index of the `SetFailover`.
        revision: u64,
    },
    /// The holder of the reign records how it began.
    RecordTakeover(Box<Takeover>),
    /// A member records the names that brokers gave its connectors' connections: all of them.
    RecordBrokerConnections {
        /// The member.
        member: MemberId,
        /// Connections by connector, `kind/name`.
        connections: ConnectionsByConnector,
    },
    /// An operator asks something of a connector.
    OperateConnector {
        /// Kind of the connector's resource.
        kind: Kind,
        /// Name of the connector's resource.
        name: String,
        /// Action that is asked for.
        order: OperatorAction,
    },
    /// Connectors have come so far: see [`super::ProgressTable`].
    AdvanceProgress {
        /// Epoch of the reign under which they came so far.
        epoch: u64,
        /// Connectors that have progress to keep.
        connectors: Vec<ConnectorProgress>,
    },
    /// The connector server is about to send under an idempotency key.
    BeginSend(Box<SendIntent>),
    /// The connector server knows the outcome of such a send.
    FinishSend(Box<SendConclusion>),
    /// The keyring changes: see [`super::keyring`].
    Keyring(Box<KeyringCommand>),
    /// Secrets were sealed by a newer version of the cluster's key.
    ResealResources(Vec<ResealedResource>),
    /// Creates a token of an identity.
    CreateToken(Box<NewToken>),
    /// Revokes a token.
    RevokeToken {
        /// Id of the token.
        id: String,
    },
    /// Makes the key by which members vouch to each other; one that is there stays.
    CreateVoucherKey(VoucherKey),
}

/// Command as it stands in the log: with the one on whose behalf it is proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedCommand {
    /// The command.
    pub command: Command,
    /// Principal whose permissions are checked where it is applied; `None`: the member itself, or a
    /// caller at a member that asks nobody.
    pub actor: Option<Actor>,
}

impl Command {
    /// Returns its name, as logs show it.
    pub fn name(&self) -> &'static str {
        match self {
            Command::PutResource { .. } => "put_resource",
            Command::PutResources(_) => "put_resources",
            Command::DeleteResource { .. } => "delete_resource",
            Command::PutKey { .. } => "put_key",
            Command::DeleteKey { .. } => "delete_key",
            Command::TakeOver { .. } => "take_over",
            Command::Release { .. } => "release",
            Command::AnnounceProgram { .. } => "announce_program",
            Command::SetFailover { .. } => "set_failover",
            Command::FailoverApplied { .. } => "failover_applied",
            Command::FailoverSettled { .. } => "failover_settled",
            Command::RecordTakeover(_) => "record_takeover",
            Command::RecordBrokerConnections { .. } => "record_broker_connections",
            Command::OperateConnector { .. } => "operate_connector",
            Command::AdvanceProgress { .. } => "advance_progress",
            Command::BeginSend(_) => "begin_send",
            Command::FinishSend(_) => "finish_send",
            Command::Keyring(command) => command.name(),
            Command::ResealResources(_) => "reseal_resources",
            Command::CreateToken(_) => "create_token",
            Command::RevokeToken { .. } => "revoke_token",
            Command::CreateVoucherKey(_) => "create_voucher_key",
        }
    }

    /// Returns the epoch of the reign that it belongs to, if it names one.
    pub fn epoch(&self) -> Option<u64> {
        match self {
            Command::Release { epoch } | Command::AdvanceProgress { epoch, .. } => Some(*epoch),
            Command::RecordTakeover(takeover) => Some(takeover.epoch),
            Command::BeginSend(intent) => Some(intent.epoch),
            Command::FinishSend(conclusion) => Some(conclusion.epoch),
            _ => None,
        }
    }
}
