//! A few takeovers in a row under load; `make takeovers` makes hundreds.

use std::fs;

use quorate_clock::rng;
use quorate_testkit::{
    cluster::{SOON, TestCluster},
    eventually::eventually,
    takeovers::{self, TakeoverBed, TakeoverPlan},
};
use rand::Rng;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn successive_takeovers_lose_nothing_and_never_overlap() {
    let plan = TakeoverPlan {
        kills: 6,
        stops: 4,
        hangs: 2,
        seed: rng().random(),
    };
    println!("seed {}", plan.seed);
    let mut bed = TakeoverBed::start(500).await;
    let trials = takeovers::run(&mut bed, plan, |trial, _| {
        let (stopped, took) = (trial.stopped(), trial.ended - trial.begun);
        let (gaps, overlaps) = (&trial.gaps, &trial.overlaps);
        let why = trial.story.as_ref().map(|story| &story["reason"]);
        println!(
            "{}, stopped for {stopped:?}: {gaps:?}, two consumers for {overlaps:?}, {took:?} in all; why: {why:?}",
            trial.fault
        );
    });
    let trials = trials.await.expect("a takeover each time");
    let totals = takeovers::judge(&mut bed, &trials).await;
    println!(
        "{} messages, {} calls, {} reigns, {:?} duplicates",
        totals.published, totals.calls, totals.reigns, totals.duplicates
    );
    assert!(totals.published > 500, "there was load");
    let taken_over = trials.iter().filter(|trial| trial.taken_over()).count();
    assert!(totals.reigns > taken_over && taken_over >= plan.kills);
    assert!(totals.findings.is_empty(), "{:#?}", totals.findings);
}

/// What a member applies of its log at its start has happened long ago.
#[tokio::test]
async fn start_reports_no_past_takeover_as_new() {
    let mut cluster = TestCluster::three().await;
    for _ in 0..3 {
        let leader = cluster.leader().await;
        cluster.members[leader].kill();
        let next = cluster.leader_but(Some(leader)).await;
        cluster.serving(next).await;
        cluster.members[leader].start(&[]);
        cluster.voters(3).await;
    }
    let follower = cluster.follower().await;
    let log = cluster.members[follower].log();
    cluster.members[follower].kill();
    let before = fs::read_to_string(&log).expect("its log").len();
    cluster.members[follower].start(&[]);
    let told = eventually("what it found", SOON, || async {
        let told = fs::read_to_string(&log).expect("its log").split_off(before);
        match told.contains("the connector server, as found") {
            true => Ok(told),
            false => Err(told),
        }
    })
    .await;
    assert!(!told.contains("has taken over"), "{told}");
}
