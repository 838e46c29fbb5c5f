//! The replicated state: pure and deterministic. No tokio, no I/O, no clock.
//!
//! Every member applies the same commands in the same order, so whatever is decided
//! here is decided the same everywhere. A revision is the log index that last changed
//! a thing. [`State`] is what readers see: cheap to clone, and it never changes.

#![forbid(unsafe_code)]

mod announced;
mod answer;
mod brokers;
mod catalog;
pub mod command;
mod failover;
mod history;
mod kv;
mod machine;
mod operations;
mod progress;
mod quota;
mod references;
mod reign;
mod sends;
mod snapshot;
mod takeovers;

pub use announced::Announced;
pub use answer::Answer;
pub use brokers::{BrokerConnection, Brokers, CONNECTIONS_MAX, Connections};
pub use catalog::{
    Catalog, DEPENDENTS_MAX, ResourceWarning, SPEC_BYTES_MAX, Stored, check as check_resource,
    check_parsed as check_parsed_resource,
};
pub use command::{
    BATCH_BYTES_MAX, BATCH_MAX, BatchedPut, Command, ConnectorProgress, Precondition,
};
pub use failover::FailoverPromise;
pub use history::{CHANGES_BYTES_MAX, CHANGES_MAX, Change, Compacted, History};
pub use kv::{Entry, KEY_BYTES_MAX, Kv, VALUE_BYTES_MAX};
pub use machine::{Event, Machine};
pub use operations::{Operation, Operations, Order};
pub use progress::{ADVANCE_BYTES_MAX, ADVANCE_MAX, PROGRESS_BYTES_MAX, Progress};
pub use quota::{Counted, KV_BYTES_MAX, OverQuota, RESOURCES_BYTES_MAX, RESOURCES_MAX};
pub use reign::Reign;
pub use sends::{
    Admission, Conclusion, Intent, KEPT_MS, Known, OUTCOME_BYTES_MAX, Outcome, SENDS_MAX,
    SENDS_OF_ONE_MAX, SendKey, Sending, Sends,
};
pub use takeovers::{Reason, TAKEOVERS_MAX, Takeover, Takeovers};

use quorate_types::MemberId;

/// Everything that is replicated, as of one log index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    applied: u64,
    revision: u64,
    catalog: Catalog,
    kv: Kv,
    reign: Reign,
    announced: announced::Announcements,
    failover: Option<FailoverPromise>,
    takeovers: Takeovers,
    brokers: Brokers,
    operations: Operations,
    progress: Progress,
    sends: Sends,
}

impl State {
    /// The last log index that has been applied.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The log index that last changed anything here, but for the age of sends.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The resources that users declared.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The keys and values.
    pub fn kv(&self) -> &Kv {
        &self.kv
    }

    /// Who runs the connectors, and under which epoch.
    pub fn reign(&self) -> &Reign {
        &self.reign
    }

    /// What each member's program carries in code.
    pub fn announced(&self) -> &imbl::OrdMap<MemberId, std::sync::Arc<Announced>> {
        &self.announced.by_member
    }

    /// The failover promise; `None` before the first member has made it.
    pub fn failover(&self) -> Option<&FailoverPromise> {
        self.failover.as_ref()
    }

    /// How the latest reigns began.
    pub fn takeovers(&self) -> &Takeovers {
        &self.takeovers
    }

    /// What the brokers call the connections of the members' connectors.
    pub fn brokers(&self) -> &Brokers {
        &self.brokers
    }

    /// What operators have asked of connectors.
    pub fn operations(&self) -> &Operations {
        &self.operations
    }

    /// How far connectors have come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What was sent under idempotency keys.
    pub fn sends(&self) -> &Sends {
        &self.sends
    }

    /// What a write would be answered if it came next. Nothing changes.
    pub fn rehearse(&self, command: &Command) -> Answer {
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
