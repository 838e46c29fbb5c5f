//! Everything that a run's parts share: the plan, the clock, the members, what is written.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{
    broker::Broker,
    clock::Clock,
    cluster::{Cluster, links::Links},
    journal::Journal,
    plan::Plan,
    record_file::RecordFileError,
};

/// The files that are written during a run.
pub struct Journals {
    /// `history.jsonl`
    pub history: Journal,
    /// `faults.jsonl`
    pub faults: Journal,
    /// `reigns.jsonl`
    pub reigns: Journal,
    /// `connectors.jsonl`
    pub connectors: Arc<Journal>,
}

impl Journals {
    /// Makes them.
    ///
    /// # Errors
    /// When one can't be made.
    pub fn create(folder: &Path, clock: Clock) -> Result<Journals, RecordFileError> {
        let journal = |name: &str| Journal::create(&folder.join(name), clock);
        Ok(Journals {
            history: journal("history.jsonl")?,
            faults: journal("faults.jsonl")?,
            reigns: journal("reigns.jsonl")?,
            connectors: Arc::new(journal("connectors.jsonl")?),
        })
    }

    /// Writes out what is held back.
    ///
    /// # Errors
    /// When a line could not be written at any time.
    pub fn finish(&self) -> Result<(), RecordFileError> {
        self.history.finish()?;
        self.faults.finish()?;
        self.reigns.finish()?;
        self.connectors.finish()
    }
}

/// The bed.
pub struct Bed {
    /// What was decided.
    pub plan: Plan,
    /// The run's folder.
    pub folder: PathBuf,
    /// The one clock.
    pub clock: Clock,
    /// What is written.
    pub journals: Journals,
    /// The members.
    pub cluster: Cluster,
    /// The links between them, where they have namespaces.
    pub links: Option<Links>,
    /// RabbitMQ, where the workload has one.
    pub broker: Option<Arc<Broker>>,
    /// What the harness failed at.
    pub trouble: Mutex<Vec<String>>,
}

impl Bed {
    /// Notes that the harness failed at something: nothing is known of the run then.
    pub fn trouble(&self, what: impl Into<String>) {
        let what = what.into();
        eprintln!("trouble: {what}");
        self.trouble.lock().push(what);
    }
}
