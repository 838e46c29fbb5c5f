//! Faults that last, a leader with one link, and messages that are sent.

use crate::run_fixture::{HandmadeOperation, MS, fault, kinds, op, run, write};
use quorate_jepsen::{
    checker::RecordedRun,
    history::{FaultRecord, FinalState, ReignObservation},
};

/// Makes writes that work, one each 100 ms at member 2, but for a while.
fn writes(without: std::ops::Range<u64>) -> Vec<HandmadeOperation> {
    let times = (0..100).map(|n| n * 100);
    let there = times.filter(|at| !without.contains(at));
    there
        .map(|at| write(1, at, at, at + 10).member(2))
        .collect()
}

fn under(faults: Vec<FaultRecord>, without: std::ops::Range<u64>) -> RecordedRun {
    let mut told = writes(without.clone());
    // It is tried all the while.
    let tried = without.step_by(100);
    told.extend(tried.map(|at| write(2, at, at, at + 10).member(3).failed()));
    RecordedRun {
        faults,
        ..run("register", &told)
    }
}

fn late(run: &RecordedRun, kind: &str) -> bool {
    kinds(run).iter().any(|it| it == kind)
}

#[test]
fn stranded_leader_is_replaced_while_stranded() {
    let stranded = || vec![fault("stranded", &[1], 2_000, 6_000)];
    assert!(!late(&under(stranded(), 2_000..3_000), "late in a fault"));
    assert!(late(&under(stranded(), 2_000..4_000), "late in a fault"));
}

#[test]
fn lasting_fault_must_be_borne() {
    let lasting = |nemesis| vec![fault(nemesis, &[], 1_000, 9_000)];
    for nemesis in ["far", "thin"] {
        let (borne, not) = (4_000..5_000, 4_000..6_000);
        assert!(!late(&under(lasting(nemesis), borne), "no write meanwhile"));
        assert!(late(
            &under(lasting(nemesis), not.clone()),
            "no write meanwhile"
        ));
        // Another fault may explain it, but has its own time.
        let mut two = lasting(nemesis);
        two.push(fault("kill-majority", &[1, 2], 3_900, 5_000));
        assert!(!late(&under(two, not), "no write meanwhile"));
    }
}

#[test]
fn killed_leader_is_replaced_from_afar() {
    let killed = || {
        vec![
            fault("far", &[], 1_000, 9_500),
            fault("kill-leader", &[1], 3_000, 7_000),
        ]
    };
    assert!(!late(&under(killed(), 3_000..4_000), "late in a fault"));
    assert!(late(&under(killed(), 3_000..5_000), "late in a fault"));
    let healed = under(killed(), 3_000..9_000);
    assert!(late(&healed, "no write after healing") || late(&healed, "late after healing"));
}

fn observation(time: u64, leader: Option<u64>, term: u64) -> ReignObservation {
    ReignObservation {
        asked: time * MS,
        time: (time + 1) * MS,
        member: 2,
        leader,
        leader_id: leader,
        term: Some(term),
        connector_server: leader,
        epoch: Some(term),
    }
}

#[test]
fn on_thin_links_no_leader_is_lost() {
    let of = |nemesis: &str, observations: &[ReignObservation]| {
        let mut run = under(vec![fault(nemesis, &[], 1_000, 9_000)], 0..0);
        run.observations = observations.to_vec();
        run
    };
    let calm = [
        observation(2_000, Some(1), 3),
        observation(4_000, Some(1), 3),
    ];
    let well = |run: &RecordedRun| kinds(run).iter().all(|it| !it.ends_with("meanwhile"));
    assert!(well(&of("thin", &calm)));
    let lost = [observation(2_000, Some(1), 3), observation(4_000, None, 3)];
    assert!(late(&of("thin", &lost), "leader lost meanwhile"));
    let elected = [
        observation(2_000, Some(1), 3),
        observation(4_000, Some(2), 4),
    ];
    assert!(late(&of("thin", &elected), "election meanwhile"));
    // From afar that may be, and before it all may be.
    assert!(well(&of("far", &elected)));
    let before = [observation(100, Some(1), 2), observation(4_000, Some(2), 3)];
    assert!(well(&of("thin", &before)));
}

#[test]
fn thin_links_allow_elections_and_large_values_time() {
    let struck =
        |workload: &str, without: std::ops::Range<u64>, observations: &[ReignObservation]| {
            let faults = vec![
                fault("thin", &[], 500, 9_500),
                fault("kill-majority", &[1, 2], 3_000, 4_000),
            ];
            let mut run = under(faults, without);
            run.plan.workload = workload.into();
            run.observations = observations.to_vec();
            run
        };
    let elected = |at: u64| [observation(2_000, Some(1), 3), observation(at, Some(2), 4)];
    let none = 0..0;
    // By the kill; and by nothing, long after it.
    let by_the_kill = struck("register", none.clone(), &elected(7_000));
    assert!(!late(&by_the_kill, "election meanwhile"));
    let [before, after] = elected(7_000);
    let of_its_own = [before, after, observation(8_000, Some(1), 5)];
    let of_its_own = struck("register", none.clone(), &of_its_own);
    assert!(late(&of_its_own, "election meanwhile"));
    // A member that lags behind has elected nobody.
    let [before, after] = elected(7_000);
    let lagging = [before.clone(), after.clone(), before, after].into_iter();
    let lagging: Vec<ReignObservation> = lagging
        .zip([2_000, 7_000, 7_500, 8_000])
        .map(|(it, at)| ReignObservation {
            asked: at * MS,
            time: (at + 1) * MS,
            ..it
        })
        .collect();
    assert!(!late(
        &struck("register", none, &lagging),
        "election meanwhile"
    ));
    // Three seconds until the values of all clients have gone through.
    let through = |workload| kinds(&struck(workload, 3_000..7_000, &[]));
    let healing = |it: &String| it.ends_with("after healing");
    assert!(through("register").iter().any(healing));
    assert!(!through("large").iter().any(healing));
}

fn send(id: &str, start: u64) -> HandmadeOperation {
    op(1, "send", id.into(), start, start + 10)
}

fn sent(told: &[HandmadeOperation], left: Option<&[&str]>) -> RecordedRun {
    let left = left.map(|left| left.iter().map(|it| (*it).to_owned()).collect());
    RecordedRun {
        ending: Some(FinalState {
            members: crate::run_ends::members(),
            healed: Some(MS),
            writable: Some(2 * MS),
            left,
            ..FinalState::default()
        }),
        ..run("sends", told)
    }
}

#[test]
fn sent_outcome_must_match_queue() {
    let none: Vec<String> = Vec::new();
    let good = [
        send("a", 0),
        send("b", 20).failed(),
        send("c", 40).unknown(),
    ];
    assert_eq!(kinds(&sent(&good, Some(&["a"]))), none);
    assert_eq!(kinds(&sent(&good, Some(&["a", "c"]))), none);
    assert_eq!(kinds(&sent(&good, Some(&["c"]))), ["lost message"]);
    assert_eq!(
        kinds(&sent(&good, Some(&["a", "b"]))),
        ["sent and told as not sent"]
    );
    for twice in ["a", "c"] {
        let left = ["a", twice, twice];
        assert_eq!(
            kinds(&sent(&good, Some(&left))),
            ["sent twice under one key"]
        );
    }
    assert_eq!(kinds(&sent(&good, None)), ["queues not looked at"]);
}
