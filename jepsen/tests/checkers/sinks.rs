//! Reigns as members told of them, and epochs as sinks saw them.

use crate::run_fixture::{MS, fault, judged, kinds, run};
use quorate_jepsen::{
    checker::RecordedRun,
    history::{ReignObservation, SinkCall},
};

fn none() -> Vec<String> {
    Vec::new()
}

fn observation(time: u64, member: u64, leader: u64, term: u64, epoch: u64) -> ReignObservation {
    ReignObservation {
        asked: time * MS - 1,
        time: time * MS,
        member,
        leader: Some(leader),
        leader_id: Some(leader * 2),
        term: Some(term),
        connector_server: Some(leader),
        epoch: Some(epoch),
    }
}

fn seen(observations: &[ReignObservation]) -> RecordedRun {
    RecordedRun {
        observations: observations.to_vec(),
        ..run("x", &[])
    }
}

#[test]
fn reigns() {
    let right = [
        observation(1, 1, 1, 1, 5),
        observation(2, 2, 1, 1, 5),
        observation(9, 2, 2, 2, 8),
    ];
    assert_eq!(kinds(&seen(&right)), none());
    // Another member may not know yet.
    assert_eq!(
        kinds(&seen(
            &[&right[..], &[observation(10, 1, 1, 1, 5)]].concat()
        )),
        none()
    );
    // Two of one term, one after the other; never the other way round.
    let two = [observation(1, 1, 1, 1, 5), observation(2, 1, 2, 1, 6)];
    assert_eq!(kinds(&seen(&two)), none());
    let turned = [observation(1, 1, 2, 1, 5), observation(2, 1, 1, 1, 6)];
    assert_eq!(kinds(&seen(&turned)), ["term went back"]);
    let mut both = [observation(1, 1, 1, 1, 5), observation(2, 2, 2, 1, 6)];
    both[1].leader_id = both[0].leader_id;
    assert_eq!(kinds(&seen(&both)), ["two leaders elected as one"]);
    let held = [observation(1, 1, 1, 1, 5), observation(2, 2, 2, 2, 5)];
    assert_eq!(kinds(&seen(&held)), ["two holders of one epoch"]);
    let back = [observation(1, 1, 1, 3, 5), observation(2, 1, 1, 3, 4)];
    assert_eq!(kinds(&seen(&back)), ["epoch went back"]);
    let mut started_anew = seen(&back);
    started_anew.faults = vec![fault("kill-one", &[1], 1, 2)];
    let kinds = kinds(&started_anew);
    assert!(!kinds.contains(&"epoch went back".to_owned()), "{kinds:?}");
}

fn call(begun: u64, epoch: u64, accepted: bool) -> SinkCall {
    SinkCall {
        begun: begun * MS,
        ended: (begun + 20) * MS,
        connector: "amqp_channel/checks".to_owned(),
        epoch,
        message: format!("m{begun}"),
        attempt: 1,
        accepted,
    }
}

fn called(calls: &[SinkCall], naive: bool) -> RecordedRun {
    let mut calls = calls.to_vec();
    if naive {
        calls
            .iter_mut()
            .for_each(|it| it.connector = "amqp_channel/naive".to_owned());
    }
    RecordedRun {
        calls,
        ..run("x", &[])
    }
}

#[test]
fn accepted_stale_epoch_is_found_naive_is_counted() {
    let right = [call(1, 5, true), call(30, 5, true), call(60, 9, true)];
    assert_eq!(kinds(&called(&right, false)), none());
    let stale = [call(1, 5, true), call(30, 9, true), call(70, 5, true)];
    assert_eq!(kinds(&called(&stale, false)), ["stale epoch accepted"]);
    let naive = judged(&called(&stale, true));
    assert_eq!(naive.numbers["stale.accepted_by_naive"], 1);
    assert_eq!(naive.numbers["stale.accepted"], 0);
}

#[test]
fn late_call_is_found_unless_pause_explains() {
    let fenced = [call(1, 5, true), call(30, 9, true), call(500, 5, false)];
    assert_eq!(kinds(&called(&fenced, false)), ["call under an old epoch"]);
    assert_eq!(kinds(&called(&fenced, true)), ["call under an old epoch"]);
    let mut paused = called(&fenced, false);
    paused.faults = vec![fault("pause-leader", &[1], 2, 490)];
    paused.faults[0].nemesis = "pause-leader".to_owned();
    let told = kinds(&paused);
    assert!(
        !told.contains(&"call under an old epoch".to_owned()),
        "{told:?}"
    );
    // One may come, a second may not.
    let mut twice = called(&[&fenced[..], &[call(510, 5, false)]].concat(), false);
    twice.faults = paused.faults;
    assert!(kinds(&twice).contains(&"call under an old epoch".to_owned()));
    assert_eq!(judged(&twice).numbers["stale.fenced"], 2);
}

#[test]
fn overlap_is_measured_in_ms() {
    let calls = [call(1, 5, true), call(14, 9, true), call(60, 9, true)];
    let verdict = judged(&called(&calls, true));
    assert_eq!(verdict.numbers["overlap_ms.worst"], 7);
    assert_eq!(verdict.numbers["overlap.times"], 1);
}
