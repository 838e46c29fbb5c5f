//! Ends of runs: the coverage, the machine, the harness, and what came back in time.

use crate::run_fixture::{HandmadeOperation, MS, events, fault, judged, kinds, op, run, write};
use quorate_jepsen::{
    checker::{FindingGrade, RecordedRun},
    history::{
        EventType, FaultRecord, FinalMember, FinalState, HistoryEvent, HostSample, HostSamples,
    },
    outcome::RunOutcome,
};
use serde_json::{Value, json};

fn none() -> Vec<String> {
    Vec::new()
}

/// Three that are well.
pub fn members() -> Vec<FinalMember> {
    let one = |member| FinalMember {
        member,
        alive: true,
        hash: Some("h".to_owned()),
        applied: Some(10),
        ..FinalMember::default()
    };
    vec![one(1), one(2), one(3)]
}

fn ended(change: impl Fn(&mut FinalState)) -> RecordedRun {
    let mut ending = FinalState {
        members: members(),
        healed: Some(MS),
        writable: Some(2 * MS),
        ..FinalState::default()
    };
    change(&mut ending);
    RecordedRun {
        ending: Some(ending),
        ..run("register", &[])
    }
}

#[test]
fn ends() {
    assert_eq!(kinds(&ended(|_| {})), none());
    let differ = ended(|it| it.members[1].hash = Some("other".to_owned()));
    assert_eq!(kinds(&differ), ["states differ"]);
    assert_eq!(judged(&differ).outcome, RunOutcome::Fail);
    let behind = ended(|it| it.members[1].applied = Some(9));
    assert_eq!(kinds(&behind), ["not converged"]);
    assert_eq!(
        kinds(&ended(|it| it.members[2].hash = None)),
        ["no state hash"]
    );
    assert_eq!(
        kinds(&ended(|it| it.members[2].alive = false)),
        ["member gone"]
    );
    let excused = ended(|it| {
        it.members[2] = FinalMember {
            member: 3,
            excused: Some("its disk was damaged".to_owned()),
            ..FinalMember::default()
        };
    });
    assert_eq!(kinds(&excused), none());
    let panic = ended(|it| it.members[0].panics.push("thread main panicked".to_owned()));
    assert_eq!(kinds(&panic), ["panic"]);
    let full = "ERROR storage: No space left on device";
    let mut error = ended(|it| it.members[0].errors.push(full.to_owned()));
    assert_eq!(kinds(&error), ["unexpected error"]);
    error.faults = vec![fault("disk-full", &[1], 0, 1)];
    assert_eq!(kinds(&error), none());
    assert_eq!(
        kinds(&ended(|it| it.trouble.push("no netns".to_owned()))),
        ["harness failed"]
    );
    assert_eq!(
        kinds(&ended(|it| it.writable = None)),
        ["no write after healing"]
    );
    assert_eq!(
        kinds(&ended(|it| it.writable = Some(1_600 * MS))),
        ["late after healing"]
    );
    assert_eq!(
        kinds(&ended(|it| it.connectors = 1)),
        ["no connector after healing"]
    );
}

#[test]
fn failed_harness_blames_nobody_for_being_late() {
    let run = ended(|it| {
        it.trouble.push("it was asked to end".to_owned());
        it.members[2].alive = false;
    });
    assert_eq!(judged(&run).outcome, RunOutcome::Unknown);
}

fn starved(lag_ms: f64, late: bool) -> RecordedRun {
    let sample = HostSample {
        lag_ms,
        ..HostSample::default()
    };
    let mut run = ended(|it| it.writable = late.then_some(9_000 * MS).or(it.writable));
    run.host = Some(HostSamples {
        samples: vec![sample],
    });
    run
}

#[test]
fn starved_machine_voids_run_but_hides_no_breach() {
    assert_eq!(judged(&starved(3.0, false)).outcome, RunOutcome::Pass);
    assert_eq!(judged(&starved(3.0, true)).outcome, RunOutcome::Fail);
    for late in [false, true] {
        let verdict = judged(&starved(400.0, late));
        assert_eq!(
            (verdict.outcome, verdict.voided),
            (RunOutcome::Unknown, true)
        );
    }
    let mut broken = starved(400.0, false);
    broken
        .ending
        .iter_mut()
        .for_each(|it| it.members[0].panics.push("panicked".to_owned()));
    assert_eq!(judged(&broken).outcome, RunOutcome::Fail);
}

#[test]
fn too_little_or_no_fault_is_unknown() {
    let told: Vec<HandmadeOperation> = (0..60)
        .map(|n| op(n % 3, "add", json!(n), n * 10, n * 10 + 5))
        .collect();
    let floors = |faults: Vec<FaultRecord>| -> Vec<String> {
        let plan = json!({"workload": "set", "members": 3, "failover_ms": 500,
            "steps": [{"nemesis": "kill-one"}]});
        let mut run = RecordedRun::from_events(plan, events(&told));
        run.faults = faults;
        let findings = judged(&run).findings;
        let floors = findings.iter().filter(|it| it.checker == "floors");
        floors.map(|it| it.kind.clone()).collect()
    };
    assert_eq!(floors(vec![fault("kill-one", &[1], 100, 400)]), none());
    // In so short a window there is too little.
    assert_eq!(
        floors(vec![fault("kill-one", &[1], 100, 120)]),
        ["below a floor"]
    );
    assert_eq!(floors(vec![]), ["faults left out"]);
    let mut nothing = fault("kill-one", &[1], 100, 400);
    nothing.effective = None;
    assert_eq!(floors(vec![nothing]), ["fault without effect"]);
    let mut open = fault("kill-one", &[1], 100, 400);
    (open.healing, open.healed) = (None, None);
    assert_eq!(floors(vec![open]), ["fault not healed"]);
    let none_ok: Vec<HandmadeOperation> = told.iter().map(|it| it.clone().failed()).collect();
    let plan = json!({"workload": "set", "members": 3, "failover_ms": 500});
    let run = RecordedRun::from_events(plan, events(&none_ok));
    assert_ne!(judged(&run).outcome, RunOutcome::Pass);
}

#[test]
fn harness_that_breaks_rules_gets_no_verdict() {
    let event = |process, kind, f: &str, time| HistoryEvent {
        process,
        kind,
        f: f.to_owned(),
        key: None,
        value: Value::Null,
        time,
        member: 1,
        revision: None,
        error: None,
    };
    let judge = |events: &[HistoryEvent]| {
        let plan = json!({"workload": "x", "floors": {}});
        let verdict = judged(&RecordedRun::from_events(plan, events.to_vec()));
        (verdict.outcome, verdict.findings.len())
    };
    let asked = event(1, EventType::Invoke, "read", 1);
    assert_eq!(
        judge(&[asked.clone(), event(1, EventType::Ok, "read", 2)]),
        (RunOutcome::Pass, 0)
    );
    for wrong in [
        // Used again after an unknown outcome.
        vec![
            asked.clone(),
            event(1, EventType::Info, "read", 2),
            event(1, EventType::Invoke, "read", 3),
        ],
        // Two at a time.
        vec![asked.clone(), event(1, EventType::Invoke, "read", 3)],
        // An answer to no question, and one to another.
        vec![event(1, EventType::Ok, "read", 3)],
        vec![asked.clone(), event(1, EventType::Ok, "write", 3)],
        // Time went back.
        vec![asked.clone(), event(1, EventType::Ok, "read", 0)],
    ] {
        assert_eq!(judge(&wrong), (RunOutcome::Unknown, 1), "{wrong:?}");
    }
}

fn writes(from: u64, until: u64) -> Vec<HandmadeOperation> {
    (from / 10..until / 10)
        .map(|n| write(0, n, n * 10, n * 10 + 5).at(n + 1))
        .collect()
}

#[test]
fn writes_must_work_soon_after_a_healing() {
    let judge = |gap: u64| {
        let told = [writes(0, 1_000), writes(2_000 + gap, 9_000)].concat();
        let mut run = run("register", &told);
        run.faults = vec![fault("partition-majority", &[1, 2], 1_000, 2_000)];
        let verdict = judged(&run);
        let late = verdict
            .findings
            .iter()
            .find(|it| it.grade == FindingGrade::Late);
        (
            late.map(|it| it.kind.clone()),
            verdict.numbers["unavailable_after_healing_ms.worst"],
        )
    };
    assert_eq!(judge(300), (None, 305));
    assert_eq!(judge(2_500), (Some("late after healing".to_owned()), 2_505));
}

#[test]
fn writes_must_go_on_while_a_quorum_lives() {
    let judge = |gap: u64| {
        let told = [writes(0, 1_000), writes(1_000 + gap, 9_000)].concat();
        let mut run = run("register", &told);
        run.faults = vec![fault("kill-leader", &[3], 1_000, 5_000)];
        kinds(&run)
    };
    assert_eq!(judge(400), none());
    assert_eq!(judge(2_000), ["late in a fault"]);
}
