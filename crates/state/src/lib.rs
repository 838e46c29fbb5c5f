//! Replicated state: pure and deterministic, without tokio, I/O or a clock.
//!
//! Every member applies the same commands in the same order, so a decision that is made here is the
//! same everywhere. A revision is the log index that last changed a thing. [`State`] is what
//! readers see: cheap to clone, and it never changes.

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

mod access;
mod announced_programs;
mod answer;
mod audit;
mod catalog;
mod changelog;
pub mod command;
mod failover;
mod field_errors;
mod idempotency;
mod idempotent_send;
pub mod keyring;
mod kv;
mod machine;
mod operations;
mod progress;
mod quota;
mod recorded_connections;
mod reign;
mod snapshot;
mod takeovers;
mod write_precondition;

pub use access::{
    AccessRequirement, AccessScope, AccessTable, Actor, NewToken, Permissions, StoredToken,
    TOKENS_OF_ONE_MAX, TokenTable, VoucherKey,
};
pub use announced_programs::AnnouncedProgram;
pub use answer::Answer;
pub use audit::{AUDIT_MAX, AuditLine, AuditTrail, chained as chained_audit_hash};
pub use catalog::{
    BatchedPut, Catalog, DEPENDENTS_MAX, OpenResource, OpenedCatalog, RESEALED_MAX,
    ResealedResource, ResourceWarning, SPEC_BYTES_MAX, StoredResource, check as check_resource,
    check_parsed as check_parsed_resource,
};
pub use changelog::{CHANGES_BYTES_MAX, CHANGES_MAX, ChangesCompacted, KeyChange, KeyChangelog};
pub use command::{BATCH_BYTES_MAX, BATCH_MAX, Command, ConnectorProgress, ProposedCommand};
pub use failover::FailoverPromise;
pub use idempotency::{IdempotencyEntry, IdempotencyTable, KEPT_MS, SENDS_MAX, SENDS_OF_ONE_MAX};
pub use idempotent_send::{
    KnownSend, OUTCOME_BYTES_MAX, RecordedOutcome, SendAdmission, SendConclusion, SendIntent,
    SendKey,
};
pub use keyring::{Keyring, KeyringCommand};
pub use kv::{KEY_BYTES_MAX, KvEntry, KvStore, VALUE_BYTES_MAX};
pub use machine::{Machine, StateEvent};
pub use operations::{ConnectorOperation, ConnectorOperations, OperatorAction};
pub use progress::{ADVANCE_BYTES_MAX, ADVANCE_MAX, PROGRESS_BYTES_MAX, ProgressTable};
pub use quota::{KV_BYTES_MAX, OverQuota, QuotaKind, RESOURCES_BYTES_MAX, RESOURCES_MAX};
pub use recorded_connections::{
    BrokerConnection, CONNECTIONS_MAX, ConnectionsByConnector, RecordedConnections,
};
pub use reign::Reign;
pub use takeovers::{Reason, TAKEOVERS_MAX, Takeover, TakeoverLog};
pub use write_precondition::WritePrecondition;

use quorate_types::MemberId;

/// Everything that is replicated, as of one log index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    applied: u64,
    revision: u64,
    catalog: Catalog,
    kv: KvStore,
    reign: Reign,
    announced_programs: announced_programs::AnnouncedPrograms,
    failover: Option<FailoverPromise>,
    takeovers: TakeoverLog,
    recorded_connections: RecordedConnections,
    operations: ConnectorOperations,
    progress: ProgressTable,
    idempotency: IdempotencyTable,
    keyring: Keyring,
    access: AccessTable,
    audit: AuditTrail,
}

impl State {
    /// Returns the last log index that has been applied.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Returns the log index that last changed anything here, but for the age of sends.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the resources that users declared.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Returns the keys and values.
    pub fn kv(&self) -> &KvStore {
        &self.kv
    }

    /// Returns the reign over the connectors, with its epoch.
    pub fn reign(&self) -> &Reign {
        &self.reign
    }

    /// Returns the programs of the members.
    pub fn announced_programs(&self) -> &imbl::OrdMap<MemberId, std::sync::Arc<AnnouncedProgram>> {
        &self.announced_programs.by_member
    }

    /// Returns the failover promise; `None` before the first member has made it.
    pub fn failover(&self) -> Option<&FailoverPromise> {
        self.failover.as_ref()
    }

    /// Returns how the latest reigns began.
    pub fn takeovers(&self) -> &TakeoverLog {
        &self.takeovers
    }

    /// Returns the names that brokers gave the connections of the members' connectors.
    pub fn recorded_connections(&self) -> &RecordedConnections {
        &self.recorded_connections
    }

    /// Returns what operators have asked of connectors.
    pub fn operations(&self) -> &ConnectorOperations {
        &self.operations
    }

    /// Returns the progress of the connectors.
    pub fn progress(&self) -> &ProgressTable {
        &self.progress
    }

    /// Returns the sends under idempotency keys.
    pub fn idempotency(&self) -> &IdempotencyTable {
        &self.idempotency
    }

    /// Returns the keyring.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Returns the tokens and the voucher key.
    pub fn access(&self) -> &AccessTable {
        &self.access
    }

    /// Returns the latest lines of the audit trail.
    pub fn audit(&self) -> &AuditTrail {
        &self.audit
    }

    /// Returns the log index that last changed what is read from an opened catalog: a resource, or
    /// the keys that open its secrets.
    pub fn opened_revision(&self) -> u64 {
        self.catalog.revision().max(self.keyring.revision())
    }

    /// Returns the state with an opened catalog in place of its own, for the readers of this member
    /// alone.
    pub fn with_opened(&self, opened: &OpenedCatalog) -> State {
        State {
            catalog: opened.catalog().clone(),
            ..self.clone()
        }
    }

    /// Returns the answer that a write would get if it came next. Nothing changes.
    pub fn dry_run(&self, command: &Command) -> Answer {
        if let Err(errors) = command.check() {
            return Answer::Invalid(errors);
        }
        let mut machine = Machine::from(self.clone());
        let next = self.applied.max(self.revision) + 1;
        machine
            .apply(
                next,
                self.reign.term,
                self.reign.holder.unwrap_or_default(),
                command,
            )
            .0
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
