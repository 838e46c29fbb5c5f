//! Files of a run's folder, read into memory.

use std::path::{Path, PathBuf};

use quorate_testkit::error_chain::chain;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::operation::{self, ClientOperation};
use crate::{
    history::{
        EventType, FaultRecord, FinalState, HistoryEvent, HostSamples, ReignObservation, SinkCall,
    },
    record_file::{self, RecordFileError},
};

/// Everything that was written down of a run.
#[derive(Clone, Debug, Default)]
pub struct RecordedRun {
    /// The run's folder.
    pub folder: PathBuf,
    /// The plan.
    pub plan: RecordedPlan,
    /// The history, line by line.
    pub events: Vec<HistoryEvent>,
    /// The history, joined to operations.
    pub operations: Vec<ClientOperation>,
    /// The faults that were done to the cluster.
    pub faults: Vec<FaultRecord>,
    /// The members' answers about leader and connector server.
    pub observations: Vec<ReignObservation>,
    /// The calls as the sinks saw them.
    pub calls: Vec<SinkCall>,
    /// The state in the end.
    pub ending: Option<FinalState>,
    /// The load of the machine.
    pub host: Option<HostSamples>,
    /// The files that could not be read, with the reason.
    pub broken: Vec<String>,
}

/// Parts of the plan that the checkers need.
#[derive(Clone, Debug, Default)]
pub struct RecordedPlan {
    /// The name of the workload.
    pub workload: String,
    /// The seed.
    pub seed: u64,
    /// The number of members.
    pub members: u64,
    /// The failover promise.
    pub failover_ms: u64,
    /// The command that runs the same again.
    pub command: String,
    /// The whole plan.
    pub whole: Value,
}

impl RecordedPlan {
    /// Takes what is known out of a plan.
    pub fn from_json(whole: Value) -> RecordedPlan {
        let number = |name: &str| whole.get(name).and_then(Value::as_u64);
        let command = match whole.get("command") {
            Some(Value::Array(words)) => {
                let words = words.iter().filter_map(Value::as_str);
                words.collect::<Vec<_>>().join(" ")
            }
            other => text(other),
        };
        let members = match whole.get("members") {
            Some(Value::Array(members)) => Some(members.len() as u64),
            _ => number("members"),
        };
        RecordedPlan {
            workload: text(whole.get("workload")),
            seed: number("seed").unwrap_or(0),
            members: members.unwrap_or(3),
            failover_ms: number("failover_ms").unwrap_or(500),
            command,
            whole,
        }
    }

    /// A number of the plan by its name.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.whole.get(name).and_then(Value::as_u64)
    }

    /// The names of the nemeses that were planned.
    pub fn nemeses(&self) -> Vec<String> {
        let named = |it: &Value| text(Some(it.get("nemesis").unwrap_or(it)));
        let all = self.whole.get("nemeses").and_then(Value::as_array);
        all.map_or_else(Vec::new, |all| all.iter().map(named).collect())
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(fields)) => text(fields.get("name")),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

impl RecordedRun {
    /// Reads a run's folder. Files that are missing or broken are listed in `broken`.
    pub fn load(folder: &Path) -> Result<RecordedRun, RecordFileError> {
        if !folder.is_dir() {
            return Err(RecordFileError::NotARun(folder.to_owned()));
        }
        let mut broken = Vec::new();
        let plan: Option<Value> = whole(folder, "plan.json", &mut broken);
        let mut run = RecordedRun {
            folder: folder.to_owned(),
            plan: RecordedPlan::from_json(plan.unwrap_or_default()),
            events: lines(folder, "history.jsonl", true, &mut broken),
            faults: lines(folder, "faults.jsonl", true, &mut broken),
            observations: lines(folder, "reigns.jsonl", false, &mut broken),
            calls: lines(folder, "connectors.jsonl", false, &mut broken),
            ending: whole(folder, "final.json", &mut broken),
            host: whole(folder, "host.json", &mut broken),
            ..RecordedRun::default()
        };
        // Each is written down when it is over.
        run.faults.sort_by_key(|fault| fault.begun);
        run.operations = operation::join(&run.events);
        run.broken = broken;
        Ok(run)
    }

    /// A run in memory, of a history alone.
    pub fn from_events(plan: Value, events: Vec<HistoryEvent>) -> RecordedRun {
        RecordedRun {
            plan: RecordedPlan::from_json(plan),
            operations: operation::join(&events),
            events,
            ..RecordedRun::default()
        }
    }

    /// Returns the time of the last thing that was written down.
    pub fn end(&self) -> u64 {
        let events = self.events.iter().map(|event| event.time);
        let observations = self.observations.iter().map(|observation| observation.time);
        let calls = self.calls.iter().map(|call| call.ended);
        let faults = self.faults.iter().filter_map(|fault| fault.healed);
        let all = events.chain(observations).chain(calls).chain(faults);
        all.max().unwrap_or(0)
    }

    /// The promise, in ns.
    pub fn promise(&self) -> u64 {
        self.plan.failover_ms * MS
    }

    /// Returns whether enough members are untouched by a fault to go on.
    pub fn leaves_a_quorum(&self, fault: &FaultRecord) -> bool {
        let untouched = self.plan.members.saturating_sub(fault.members.len() as u64);
        untouched * 2 > self.plan.members
    }

    /// Returns the events of the streams and the final reads: those without an `invoke`.
    pub fn unasked<'a>(&'a self, f: &'a str) -> impl Iterator<Item = (usize, &'a HistoryEvent)> {
        let lines = self.events.iter().enumerate();
        let told = lines.filter(move |(_, it)| it.f == f && it.kind != EventType::Invoke);
        told.map(|(at, event)| (at + 1, event))
    }
}

/// A ms in ns.
pub const MS: u64 = 1_000_000;

fn lines<T: DeserializeOwned>(
    folder: &Path,
    name: &str,
    needed: bool,
    broken: &mut Vec<String>,
) -> Vec<T> {
    let path = folder.join(name);
    if !needed && !path.exists() {
        return Vec::new();
    }
    record_file::read_lines(&path).unwrap_or_else(|error| {
        broken.push(chain(&error));
        Vec::new()
    })
}

fn whole<T: DeserializeOwned>(folder: &Path, name: &str, broken: &mut Vec<String>) -> Option<T> {
    let read = record_file::read(&folder.join(name));
    read.map_err(|error| broken.push(chain(&error))).ok()
}
