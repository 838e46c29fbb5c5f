//! Context that the parts of a run share: the plan, the clock, the members, the journals.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{
    cluster::{ChaosCluster, links::LinkRules},
    journal::LineJournal,
    plan::RunPlan,
    record_file::RecordFileError,
    run_clock::RunClock,
    test_broker::TestBroker,
};

/// The files that are written during a run.
pub struct RunJournals {
    /// The journal `history.jsonl`.
    pub history: LineJournal,
    /// The journal `faults.jsonl`.
    pub faults: LineJournal,
    /// The journal `reigns.jsonl`.
    pub reigns: LineJournal,
    /// The journal `connectors.jsonl`.
    pub connectors: Arc<LineJournal>,
}

impl RunJournals {
    /// Makes the files.
    pub fn create(folder: &Path, clock: RunClock) -> Result<RunJournals, RecordFileError> {
        let journal = |name: &str| LineJournal::create(&folder.join(name), clock);
        Ok(RunJournals {
            history: journal("history.jsonl")?,
            faults: journal("faults.jsonl")?,
            reigns: journal("reigns.jsonl")?,
            connectors: Arc::new(journal("connectors.jsonl")?),
        })
    }

    /// Writes out what is held back.
    pub fn finish(&self) -> Result<(), RecordFileError> {
        self.history.finish()?;
        self.faults.finish()?;
        self.reigns.finish()?;
        self.connectors.finish()
    }
}

/// Parts of a run that all tasks share.
pub struct RunContext {
    /// The plan of the run.
    pub plan: RunPlan,
    /// The run's folder.
    pub folder: PathBuf,
    /// The one clock.
    pub clock: RunClock,
    /// The files that are written during the run.
    pub journals: RunJournals,
    /// The members.
    pub cluster: ChaosCluster,
    /// The links between the members, where they have namespaces.
    pub links: Option<LinkRules>,
    /// RabbitMQ, where the workload has one.
    pub broker: Option<Arc<TestBroker>>,
    /// Failures of the harness.
    pub trouble: Mutex<Vec<String>>,
}

impl RunContext {
    /// Notes that the harness failed at something: nothing is known of the run then.
    pub fn note_trouble(&self, what: impl Into<String>) {
        let what = what.into();
        eprintln!("trouble: {what}");
        self.trouble.lock().push(what);
    }
}
