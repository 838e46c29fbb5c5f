//! Histories by hand: operations with a beginning, an end and an outcome, in ms.

use quorate_jepsen::{
    checker::{CheckSettings, FindingGrade, RecordedRun},
    history::{EventType, FaultRecord, HistoryEvent},
    judge,
    verdict::RunVerdict,
};
use serde_json::{Value, json};

/// A ms in ns.
pub const MS: u64 = 1_000_000;

/// Operation, or a line that nobody asked for.
#[derive(Clone)]
pub struct HandmadeOperation {
    asked: Option<HistoryEvent>,
    answer: HistoryEvent,
}

/// Something that was done, by process `process` at member `process % 3 + 1`, from `start`
/// to `end`.
pub fn op(process: u64, f: &str, value: Value, start: u64, end: u64) -> HandmadeOperation {
    let event = |kind, time: u64| HistoryEvent {
        process,
        kind,
        f: f.to_owned(),
        key: Some("k".to_owned()),
        value: value.clone(),
        time: time * MS,
        member: process % 3 + 1,
        revision: None,
        error: None,
    };
    HandmadeOperation {
        asked: Some(event(EventType::Invoke, start)),
        answer: event(EventType::Ok, end),
    }
}

/// A read that answered a value.
pub fn read(process: u64, value: impl Into<Value>, start: u64, end: u64) -> HandmadeOperation {
    let mut told = op(process, "read", Value::Null, start, end);
    told.answer.value = value.into();
    told
}

/// Makes a write.
pub fn write(process: u64, value: impl Into<Value>, start: u64, end: u64) -> HandmadeOperation {
    op(process, "write", value.into(), start, end)
}

/// Makes a compare-and-set.
pub fn cas(process: u64, old: u64, new: u64, start: u64, end: u64) -> HandmadeOperation {
    op(process, "cas", json!([old, new]), start, end)
}

/// Makes a line that nobody asked for: a stream's event, or a final read.
pub fn line(process: u64, f: &str, value: Value, time: u64) -> HandmadeOperation {
    let told = op(process, f, value, time, time);
    HandmadeOperation {
        asked: None,
        ..told
    }
}

impl HandmadeOperation {
    /// Sets the revision.
    pub fn at(mut self, revision: u64) -> HandmadeOperation {
        self.answer.revision = Some(revision);
        self
    }

    /// Sets the key.
    pub fn with_key(mut self, key: &str) -> HandmadeOperation {
        for event in self.asked.iter_mut().chain([&mut self.answer]) {
            event.key = Some(key.to_owned());
        }
        self
    }

    /// Takes the key away.
    pub fn without_key(mut self) -> HandmadeOperation {
        self.answer.key = None;
        self
    }

    /// Makes the outcome unknown.
    pub fn unknown(mut self) -> HandmadeOperation {
        self.answer.kind = EventType::Info;
        self.answer.revision = None;
        self
    }

    /// Makes the outcome a sure failure.
    pub fn failed(mut self) -> HandmadeOperation {
        self.answer.kind = EventType::Fail;
        self.answer.revision = None;
        self
    }

    /// Sets the member.
    pub fn member(mut self, member: u64) -> HandmadeOperation {
        for event in self.asked.iter_mut().chain([&mut self.answer]) {
            event.member = member;
        }
        self
    }
}

/// The events in order of time.
pub fn events(told: &[HandmadeOperation]) -> Vec<HistoryEvent> {
    let pairs = told.iter().flat_map(|it| {
        let answer = Some(it.answer.clone());
        [it.asked.clone(), answer].into_iter().flatten()
    });
    let mut events: Vec<HistoryEvent> = pairs.collect();
    // Of one moment, answers come first: a process is free for its next question.
    events.sort_by_key(|it| (it.time, it.kind == EventType::Invoke));
    events
}

/// A run of a workload with no floors.
pub fn run(workload: &str, told: &[HandmadeOperation]) -> RecordedRun {
    let plan = json!({"workload": workload, "members": 3, "failover_ms": 500, "floors": {}});
    RecordedRun::from_events(plan, events(told))
}

/// Judges a run.
pub fn judged(run: &RecordedRun) -> RunVerdict {
    judge::judge_run(run, &CheckSettings::default())
}

/// The kinds of all findings that are worse than a note, without the checkers' names, once.
pub fn kinds(run: &RecordedRun) -> Vec<String> {
    let findings = judged(run).findings;
    let bad = findings
        .into_iter()
        .filter(|it| it.grade != FindingGrade::Note);
    let mut kinds: Vec<String> = bad.map(|it| it.kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

/// A fault that took effect at once and was healed in time.
pub fn fault(nemesis: &str, members: &[u64], begun: u64, healed: u64) -> FaultRecord {
    FaultRecord {
        nemesis: nemesis.to_owned(),
        target: format!("members {members:?}"),
        members: members.to_vec(),
        begun: begun * MS,
        effective: Some(begun * MS),
        probe: "seen".to_owned(),
        healing: Some(healed * MS),
        healed: Some(healed * MS),
    }
}
