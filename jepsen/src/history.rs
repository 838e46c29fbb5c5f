//! What is written down during a run: operations, faults, reigns, and what the sinks saw.
//!
//! One JSON object a line. Every time is in nanoseconds since the run's beginning, by one
//! monotonic clock of the harness.
//!
//! What the checkers read, by workload. `ok` has the answer in `value`, and in `revision`
//! that of the write, or the one that a read reflects:
//!
//! | workload | events |
//! |---|---|
//! | register | `read` v or null, `write` v, `cas` [old, new], `delete`; a 412 is `fail`; values of one key are never used twice |
//! | set | `add` v; in the end `final` of each member, an array |
//! | watch | `append` v; without an invoke, always `ok`, `process` being the stream across resumes: `watched` (key, value or null, revision), `resume` (revision asked from), `compacted` (revision where it goes on); in the end `watch-end` (revision up to which it had caught up) |
//! | config | `apply` of key `KIND/NAME`, `delete`; `catalog` and, in the end, `final` of each member: {"KIND/NAME": {...}} |
//! | mutex, election | the files of sights and calls; a sink that doesn't look at epochs has `naive` in its connector's name |
//! | queue | `publish` id; handled is what a sink accepted under that `message` |
//! | sends | `send` id; what the queue holds in the end is told there |
//! | large | as register; a value is told by its name and length |
//! | http | `http` of key PATH |

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How far an operation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// Asked for.
    Invoke,
    /// Done.
    Ok,
    /// Surely not done, and never will be.
    Fail,
    /// It may have been done, or may yet be. The process that asked is not used again.
    Info,
}

/// A line of the history, in Jepsen's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEvent {
    /// Who asked: one operation at a time, and none after an `info`.
    pub process: u64,
    /// How far it has come.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// What was asked for: `read`, `write`, `cas`, `add`, ...
    pub f: String,
    /// Of which key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What was asked for, and with `ok` what was answered.
    #[serde(default)]
    pub value: Value,
    /// When.
    pub time: u64,
    /// The member that was asked, from 1.
    #[serde(default)]
    pub member: u64,
    /// The revision that the answer carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Why it failed, or why nothing is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A fault: from the wish to the healing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// Which nemesis.
    pub nemesis: String,
    /// What it was done to, in words for people.
    pub target: String,
    /// The members that it was done to, from 1.
    pub members: Vec<u64>,
    /// When it began to be done.
    pub begun: u64,
    /// When a probe saw that it had taken effect; never, if none did.
    pub effective: Option<u64>,
    /// What the probe saw.
    pub probe: String,
    /// When healing began.
    pub healing: Option<u64>,
    /// When it was healed, as far as the harness is concerned.
    pub healed: Option<u64>,
}

/// What one member says of leader and connector server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReignObservation {
    /// When it was asked.
    pub asked: u64,
    /// When it had answered.
    pub time: u64,
    /// Who was asked.
    pub member: u64,
    /// Whom it takes for the leader.
    pub leader: Option<u64>,
    /// By which id the members know that one.
    #[serde(default)]
    pub leader_id: Option<u64>,
    /// In which term.
    pub term: Option<u64>,
    /// Whom it takes for the connector server.
    pub connector_server: Option<u64>,
    /// Under which epoch.
    pub epoch: Option<u64>,
}

/// A message as a sink saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkCall {
    /// When it came.
    pub begun: u64,
    /// When it was answered.
    pub ended: u64,
    /// The connector, `KIND/NAME`.
    pub connector: String,
    /// Under which epoch it was sent.
    pub epoch: u64,
    /// Which message.
    pub message: String,
    /// How often the channel has tried it.
    pub attempt: u64,
    /// Whether the sink took it; a sink that looks at epochs refuses older ones.
    pub accepted: bool,
}

/// `final.json`: what was found after all was healed and the clients had stopped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FinalState {
    /// Each member, from 1.
    pub members: Vec<FinalMember>,
    /// When the last fault was healed.
    pub healed: Option<u64>,
    /// When a write was first acknowledged after that.
    pub writable: Option<u64>,
    /// When a connector was first seen active after that; only where the workload has one.
    pub active: Option<u64>,
    /// Messages that are still in the broker's queues, dead letters included (queue).
    pub left: Option<Vec<String>>,
    /// How many connectors should be active.
    pub connectors: usize,
    /// When all members were first seen to have the same state after that.
    pub converged: Option<u64>,
    /// What the harness itself failed at: nothing is known of such a run.
    pub trouble: Vec<String>,
}

/// What was found of one member in the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FinalMember {
    /// Which, from 1.
    pub member: u64,
    /// Whether it answered.
    pub alive: bool,
    /// Why it needn't answer, or needn't have the same state: a fault has damaged its disk
    /// and it refuses to start, as it should.
    pub excused: Option<String>,
    /// The hash of its state.
    pub hash: Option<String>,
    /// The log index that it had applied when the hash was taken.
    pub applied: Option<u64>,
    /// The lines of its log that are errors, all of the run.
    pub errors: Vec<String>,
    /// The lines of its log that tell of a panic, all of the run.
    pub panics: Vec<String>,
}

/// `host.json`: how starved the machine was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostSamples {
    /// In order of time.
    pub samples: Vec<HostSample>,
}

/// One look at the machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostSample {
    /// When.
    pub time: u64,
    /// Per cent of the processors' time that the hypervisor gave to others, since the last look.
    pub steal: f64,
    /// Tasks that could run and had no processor.
    pub run_queue: f64,
    /// By how many ms a task that slept 10 ms woke up too late, the worst since the last look.
    pub lag_ms: f64,
}
