//! Partitions: the answers of a leader without a quorum, and that nothing is done twice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_raft::NodeStartMode;
use quorate_types::{ProposeError, ReadError};

use crate::group::{Group, until, within};

const MS: Duration = Duration::from_millis(1);

// guarantee: DATA-2
#[tokio::test]
async fn a_leader_that_is_cut_off_acknowledges_nothing() {
    let group = Group::start(3, 500).await;
    let cut = group.settled().await;
    let lonely = &group.all[cut];
    lonely.write(1).await.unwrap();
    group.silence(cut, true);
    // It still takes writes while its lease runs; their outcome is not known.
    let doubtful = lonely.write_within(2, 800 * MS).await;
    assert!(
        matches!(doubtful, Err(ProposeError::Unknown(_))),
        "{doubtful:?}"
    );
    // After that it takes none.
    let began = Instant::now();
    let refused = lonely.write_within(3, 800 * MS).await;
    assert!(
        matches!(refused, Err(ProposeError::NoQuorum { .. })),
        "{refused:?}"
    );
    assert!(began.elapsed() < 1000 * MS);
    let unread = lonely.read_within(400 * MS).await;
    assert!(
        matches!(unread, Err(ReadError::NoQuorum { .. })),
        "{unread:?}"
    );

    // The others go on.
    let others = group.followers(cut);
    until("a successor", || {
        others.iter().any(|i| group.all[*i].leading())
    })
    .await;
    for (key, i) in others.iter().enumerate() {
        group.all[*i].write(10 + key as u64).await.unwrap();
        group.all[*i].read().await.unwrap();
        assert_eq!(group.all[*i].view.times(3), 0);
    }
    group.silence(cut, false);
    until("it has come back", || lonely.view.times(11) == 1).await;
    group.settled().await;
    group.same().await;
    assert_eq!(lonely.view.times(1), 1);
    assert!(lonely.view.times(2) <= 1);
    assert_eq!(lonely.view.times(3), 0);
}

#[tokio::test]
async fn a_follower_that_is_cut_off_does_nothing() {
    let group = Group::start(3, 500).await;
    let leader = group.settled().await;
    let cut = (leader + 1) % 3;
    group.silence(cut, true);
    let blind = &group.all[cut];
    until("it has lost its leader", || {
        let seen = *blind.node().leadership().borrow();
        seen.heard_at
            .is_none_or(|at| at.elapsed() > blind.timing.election_max)
    })
    .await;
    let refused = blind.write_within(1, 500 * MS).await;
    assert!(
        matches!(refused, Err(ProposeError::NoQuorum { .. })),
        "{refused:?}"
    );
    let unread = blind.read_within(500 * MS).await;
    assert!(
        matches!(unread, Err(ReadError::NoQuorum { .. })),
        "{unread:?}"
    );
    group.silence(cut, false);
    blind.write(2).await.unwrap();
    group.same().await;
    assert_eq!(blind.view.times(1), 0);
}

/// A leader that keeps one link of many has no quorum, but whom it reaches hears it. The others
/// must be able to elect one of themselves all the same.
async fn a_stranded_leader_is_replaced(n: usize) {
    let group = Group::start(n, 500).await;
    for round in 0..3 {
        let leader = group.settled().await;
        group.all_there().await;
        let others = group.followers(leader);
        let bridge = others[round % others.len()];
        let lost: Vec<usize> = others.iter().copied().filter(|i| *i != bridge).collect();
        // Of five, one more is gone, so that each of the others counts.
        let gone = if n == 5 { Some(lost[0]) } else { None };
        for i in &lost {
            group.cut(leader, *i, true);
        }
        if let Some(gone) = gone {
            group.silence(gone, true);
        }
        let began = Instant::now();
        let able: Vec<usize> = others
            .iter()
            .copied()
            .filter(|i| Some(*i) != gone)
            .collect();
        let led = within(1500 * MS, || able.iter().any(|i| group.all[*i].leading())).await;
        assert!(led, "nobody leads after {:?}", began.elapsed());
        let next = *able.iter().find(|i| group.all[**i].leading()).unwrap();
        let left = (1500 * MS).saturating_sub(began.elapsed());
        let written = group.all[next].write_within(round as u64, left).await;
        println!(
            "{n} members: {:?} after {:?}",
            written.is_ok(),
            began.elapsed()
        );
        assert!(written.is_ok(), "{written:?} after {:?}", began.elapsed());
        // It passes a write on where the one that it reaches leads.
        if next != bridge {
            let stranded = group.all[leader].write_within(100 + round as u64, 200 * MS);
            assert!(stranded.await.is_err());
        }
        if let Some(gone) = gone {
            group.silence(gone, false);
        }
        for i in &lost {
            group.cut(leader, *i, false);
        }
    }
    group.settled().await;
    group.same().await;
}

// guarantee: FAILOVER-5
#[tokio::test]
async fn leader_with_one_link_of_three_is_replaced() {
    a_stranded_leader_is_replaced(4).await;
}

// guarantee: FAILOVER-5
#[tokio::test]
async fn leader_with_one_link_of_four_is_replaced() {
    a_stranded_leader_is_replaced(5).await;
}

/// Writers with a key for each attempt, while leaders are cut off and killed under them.
// guarantee: DATA-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_twice_or_lost() {
    let mut group = Group::start(3, 500).await;
    let keys = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let mut told = (0, 0, 0);
    for round in 0..8 {
        over.store(false, Ordering::Relaxed);
        let writers: Vec<_> = (0..12)
            .map(|w| {
                let (keys, over, outcomes) = (keys.clone(), over.clone(), outcomes.clone());
                group.all[w % 3].run(move |node| async move {
                    while !over.load(Ordering::Relaxed) {
                        let key = keys.fetch_add(1, Ordering::Relaxed);
                        // Noted first: a writer that dies with its member knows nothing.
                        outcomes.lock().push((key, None));
                        let command = crate::machine::write(key, b"value");
                        let outcome = node.propose(command, Instant::now() + 700 * MS).await;
                        outcomes.lock().push((key, Some(outcome)));
                    }
                })
            })
            .collect();
        let lost = group.settled().await;
        let before = outcomes.lock().len();
        until("writes are under way", || {
            outcomes.lock().len() > before + 200
        })
        .await;
        if round % 2 == 0 {
            group.silence(lost, true);
        } else {
            group.all[lost].kill();
        }
        let others = group.followers(lost);
        until("a successor", || {
            others.iter().any(|i| group.all[*i].leading())
        })
        .await;
        let before = outcomes.lock().len();
        until("writes go on", || outcomes.lock().len() > before + 200).await;
        if round % 2 == 0 {
            group.silence(lost, false);
        } else {
            group.all[lost].start(NodeStartMode::Resume).await;
        }
        over.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await;
        }
    }
    let leader = group.settled().await;
    group.all[leader].read().await.unwrap();
    group.same().await;
    let view = &group.all[leader].view;
    for (key, outcome) in outcomes.lock().iter() {
        let times = view.times(*key);
        match outcome {
            Some(Ok(_)) => {
                told.0 += 1;
                assert_eq!(times, 1, "key {key} was acknowledged");
            }
            Some(Err(ProposeError::Unknown(_))) => {
                told.1 += 1;
                assert!(times <= 1, "key {key} was done {times} times");
            }
            Some(Err(e)) => {
                told.2 += 1;
                assert_eq!(times, 0, "key {key} was not done: {e}");
            }
            None => assert!(times <= 1, "key {key} was done {times} times"),
        }
    }
    println!("{} done, {} unknown, {} not done", told.0, told.1, told.2);
    assert!(told.0 > 1000);
}
