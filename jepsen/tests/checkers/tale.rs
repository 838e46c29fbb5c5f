//! Writes histories by hand: operations with a beginning, an end and an outcome, in ms.

use quorate_jepsen::{
    checker::{Grade, Run, Settings},
    history::{Event, Fault, Type},
    judge,
    verdict::Verdict,
};
use serde_json::{Value, json};

/// A ms in ns.
pub const MS: u64 = 1_000_000;

/// One operation, or one line that nobody asked for.
#[derive(Clone)]
pub struct Told {
    asked: Option<Event>,
    answer: Event,
}

/// Something that was done, by process `process` at member `process % 3 + 1`, from `start`
/// to `end`.
pub fn op(process: u64, f: &str, value: Value, start: u64, end: u64) -> Told {
    let event = |kind, time: u64| Event {
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
    Told {
        asked: Some(event(Type::Invoke, start)),
        answer: event(Type::Ok, end),
    }
}

/// A read that answered a value.
pub fn read(process: u64, value: impl Into<Value>, start: u64, end: u64) -> Told {
    let mut told = op(process, "read", Value::Null, start, end);
    told.answer.value = value.into();
    told
}

/// A write.
pub fn write(process: u64, value: impl Into<Value>, start: u64, end: u64) -> Told {
    op(process, "write", value.into(), start, end)
}

/// A compare-and-set.
pub fn cas(process: u64, old: u64, new: u64, start: u64, end: u64) -> Told {
    op(process, "cas", json!([old, new]), start, end)
}

/// A line that nobody asked for: what a stream tells, or a final read.
pub fn line(process: u64, f: &str, value: Value, time: u64) -> Told {
    let told = op(process, f, value, time, time);
    Told {
        asked: None,
        ..told
    }
}

impl Told {
    /// With this revision.
    pub fn at(mut self, revision: u64) -> Told {
        self.answer.revision = Some(revision);
        self
    }

    /// Of this key.
    pub fn of(mut self, key: &str) -> Told {
        for event in self.asked.iter_mut().chain([&mut self.answer]) {
            event.key = Some(key.to_owned());
        }
        self
    }

    /// Without a key.
    pub fn of_nothing(mut self) -> Told {
        self.answer.key = None;
        self
    }

    /// Nobody knows what came of it.
    pub fn unknown(mut self) -> Told {
        self.answer.kind = Type::Info;
        self.answer.revision = None;
        self
    }

    /// It surely wasn't done.
    pub fn failed(mut self) -> Told {
        self.answer.kind = Type::Fail;
        self.answer.revision = None;
        self
    }

    /// At this member.
    pub fn member(mut self, member: u64) -> Told {
        for event in self.asked.iter_mut().chain([&mut self.answer]) {
            event.member = member;
        }
        self
    }
}

/// The events in order of time.
pub fn events(told: &[Told]) -> Vec<Event> {
    let pairs = told.iter().flat_map(|it| {
        let answer = Some(it.answer.clone());
        [it.asked.clone(), answer].into_iter().flatten()
    });
    let mut events: Vec<Event> = pairs.collect();
    // Of one moment, answers come first: a process is free for its next question.
    events.sort_by_key(|it| (it.time, it.kind == Type::Invoke));
    events
}

/// A run of a workload with no floors.
pub fn run(workload: &str, told: &[Told]) -> Run {
    let plan = json!({"workload": workload, "members": 3, "failover_ms": 500, "floors": {}});
    Run::of(plan, events(told))
}

/// Its verdict.
pub fn judged(run: &Run) -> Verdict {
    judge::of(run, &Settings::default())
}

/// The kinds of all findings that are worse than a note, without the checkers' names, once.
pub fn kinds(run: &Run) -> Vec<String> {
    let findings = judged(run).findings;
    let bad = findings.into_iter().filter(|it| it.grade != Grade::Note);
    let mut kinds: Vec<String> = bad.map(|it| it.kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

/// A fault that took effect at once and was healed in time.
pub fn fault(nemesis: &str, members: &[u64], begun: u64, healed: u64) -> Fault {
    Fault {
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
