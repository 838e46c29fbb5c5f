//! Records of a run: operations, faults, reigns, and the calls that sinks saw.
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
//! | mutex, election | the files of reigns and calls; a sink that doesn't look at epochs has `naive` in its connector's name |
//! | queue | `publish` id; handled is what a sink accepted under that `message` |
//! | sends | `send` id; what the queue holds in the end is told there |
//! | large | as register; a value is told by its name and length |
//! | http | `http` of key PATH |

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Phase of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// The operation was asked for.
    Invoke,
    /// The operation was done.
    Ok,
    /// Surely not done, and never will be.
    Fail,
    /// The outcome is unknown: it may have been done, or may yet be. The process that asked is not
    /// used again.
    Info,
}

/// A line of the history, in Jepsen's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEvent {
    /// The process that asked: one operation at a time, and none after an `info`.
    pub process: u64,
    /// The phase of the operation.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// The function that was asked for: `read`, `write`, `cas`, `add`, ...
    pub f: String,
    /// The key that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The argument of the request, and with `ok` the answer.
    #[serde(default)]
    pub value: Value,
    /// The time of the event.
    pub time: u64,
    /// The member that was asked, from 1.
    #[serde(default)]
    pub member: u64,
    /// The revision that the answer carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The reason why the operation failed, or why nothing is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A fault: from the planned step to the healing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// The name of the nemesis.
    pub nemesis: String,
    /// The target, in words for people.
    pub target: String,
    /// The members that the fault was done to, from 1.
    pub members: Vec<u64>,
    /// The time at which the fault began to be done.
    pub begun: u64,
    /// The time at which a probe saw that the fault had taken effect; none, if no probe did.
    pub effective: Option<u64>,
    /// The observation of the probe.
    pub probe: String,
    /// The time at which healing began.
    pub healing: Option<u64>,
    /// The time at which the fault was healed, as far as the harness is concerned.
    pub healed: Option<u64>,
}

/// Answer of one member about leader and connector server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReignObservation {
    /// The time of the question.
    pub asked: u64,
    /// The time of the answer.
    pub time: u64,
    /// The member that was asked.
    pub member: u64,
    /// The member that the answer names as leader.
    pub leader: Option<u64>,
    /// The id by which the members know the leader.
    #[serde(default)]
    pub leader_id: Option<u64>,
    /// The term in which the leader leads.
    pub term: Option<u64>,
    /// The member that the answer names as connector server.
    pub connector_server: Option<u64>,
    /// The epoch of the connector server.
    pub epoch: Option<u64>,
}

/// Message as a sink saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkCall {
    /// The time at which the message came.
    pub begun: u64,
    /// The time at which the message was answered.
    pub ended: u64,
    /// The connector, `KIND/NAME`.
    pub connector: String,
    /// The epoch under which the message was sent.
    pub epoch: u64,
    /// The id of the message.
    pub message: String,
    /// The number of the channel's try, from 1.
    pub attempt: u64,
    /// The decision of the sink; a sink that looks at epochs refuses older ones.
    pub accepted: bool,
}

/// `final.json`: what was found after all was healed and the clients had stopped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FinalState {
    /// Each member, from 1.
    pub members: Vec<FinalMember>,
    /// The time at which the last fault was healed.
    pub healed: Option<u64>,
    /// The time at which a write was first acknowledged after that.
    pub writable: Option<u64>,
    /// The time at which all connectors were first seen active after that; only where the workload
    /// has some.
    pub active: Option<u64>,
    /// Messages that are still in the broker's queues, dead letters included (queue).
    pub left: Option<Vec<String>>,
    /// The number of connectors that should be active.
    pub connectors: usize,
    /// The time at which all members were first seen to have the same state after that.
    pub converged: Option<u64>,
    /// Failures of the harness itself: nothing is known of such a run.
    pub trouble: Vec<String>,
}

/// State of one member in the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FinalMember {
    /// The member, from 1.
    pub member: u64,
    /// The member answered.
    pub alive: bool,
    /// The reason why the member needn't answer, or needn't have the same state: a fault has
    /// damaged its disk and it refuses to start, as it should.
    pub excused: Option<String>,
    /// The hash of the state.
    pub hash: Option<String>,
    /// The log index that the member had applied when the hash was taken.
    pub applied: Option<u64>,
    /// The lines of the member's log that are errors, all of the run.
    pub errors: Vec<String>,
    /// The lines of the member's log that tell of a panic, all of the run.
    pub panics: Vec<String>,
}

/// `host.json`: how starved the machine was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostSamples {
    /// The samples in order of time.
    pub samples: Vec<HostSample>,
}

/// Sample of the machine's load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostSample {
    /// The time of the sample.
    pub time: u64,
    /// Per cent of the processors' time that the hypervisor gave to others, since the last look.
    pub steal: f64,
    /// Tasks that could run and had no processor.
    pub run_queue: f64,
    /// The delay in ms with which a task that slept 10 ms woke up, the worst since the last sample.
    pub lag_ms: f64,
}
