//! Transfer of leadership, and what happens when nobody takes it.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_raft::NodeStartMode;
use quorate_types::{MemberId, TransferError};

use crate::group::{Group, SOON, until};

async fn transfer(
    group: &Group,
    from: usize,
    to: Option<MemberId>,
) -> Result<MemberId, TransferError> {
    let handed = group.all[from]
        .run(move |node| async move { node.transfer(to, Instant::now() + SOON).await });
    handed.await.unwrap()
}

#[tokio::test]
async fn leadership_moves_to_requested_member() {
    let group = Group::start(3, 500).await;
    let mut took = Vec::new();
    for key in 0..9 {
        let leader = group.settled().await;
        let target = &group.all[(leader + 1) % 3];
        let began = Instant::now();
        let to = (key % 3 > 0).then_some(target.id());
        let now = transfer(&group, leader, to).await.unwrap();
        took.push(began.elapsed());
        assert_ne!(now, group.all[leader].id());
        assert_eq!(now, to.unwrap_or(now));
        assert!(!group.all[leader].leading());
        for one in &group.all {
            one.write(key * 10 + one.id() % 3).await.unwrap();
        }
    }
    took.sort();
    println!("handed over in {:?} (median), {:?} (max)", took[4], took[8]);
    assert!(took[4] < Duration::from_millis(250), "{took:?}");
}

#[tokio::test]
async fn only_a_fit_voter_is_handed_to() {
    let mut group = Group::start(3, 500).await;
    let leader = group.settled().await;
    let follower = (leader + 1) % 3;
    let refused = transfer(&group, follower, None).await.unwrap_err();
    let id = group.all[leader].id();
    assert!(
        matches!(refused, TransferError::NotLeader(Some(l)) if l == id),
        "{refused}"
    );
    let refused = transfer(&group, leader, Some(12345)).await.unwrap_err();
    assert!(matches!(refused, TransferError::Refused(_)), "{refused}");
    let gone = group.all[follower].id();
    group.all[follower].kill();
    until("the leader misses it", || {
        let members = group.all[leader].node().members();
        members
            .iter()
            .any(|m| m.id == gone && m.reachable == Some(false))
    })
    .await;
    let term = group.all[leader].node().leadership().borrow().term;
    let refused = transfer(&group, leader, Some(gone)).await.unwrap_err();
    assert!(matches!(refused, TransferError::Refused(_)), "{refused}");
    let seen = *group.all[leader].node().leadership().borrow();
    assert!(seen.leading && seen.term == term);
    // Without a named target, the one that is left takes over.
    let now = transfer(&group, leader, None).await.unwrap();
    assert_eq!(now, group.all[(leader + 2) % 3].id());
    group.all[follower].start(NodeStartMode::Resume).await;
    let leader = group.settled().await;
    until("the leader hears it again", || {
        let members = group.all[leader].node().members();
        members
            .iter()
            .any(|m| m.id == gone && m.reachable == Some(true))
    })
    .await;
    group.all_there().await;
    assert!(transfer(&group, leader, Some(gone)).await.is_ok());
}

/// The target dies, or falls silent, just before it is to take over.
// guarantee: FAILOVER-3
#[tokio::test]
async fn failed_transfer_leaves_leader_in_time() {
    let mut group = Group::start(3, 500).await;
    let mut took = Vec::new();
    for round in 0..6 {
        let leader = group.settled().await;
        let target = (leader + 1) % 3;
        let to = group.all[target].id();
        group.all[leader].write(round).await.unwrap();
        if round % 2 == 0 {
            group.all[target].kill();
        } else {
            group.silence(target, true);
        }
        let began = Instant::now();
        let result = transfer(&group, leader, Some(to)).await;
        assert!(!matches!(result, Ok(id) if id == to), "{result:?}");
        until("a leader", || group.leader().is_some_and(|i| i != target)).await;
        // Leading, and that is when writes are done again.
        let at = group.all[(leader + 2) % 3].write(100 + round).await;
        at.unwrap();
        took.push(began.elapsed());
        if round % 2 == 0 {
            group.all[target].start(NodeStartMode::Resume).await;
        } else {
            group.silence(target, false);
        }
    }
    took.sort();
    println!(
        "writes done again {:?} (median), {:?} (max) after a failed transfer",
        took[3], took[5]
    );
    assert!(took[5] < Duration::from_millis(500), "{took:?}");
    group.settled().await;
    group.same().await;
}

/// However long the promise, whoever ends has little time to hand over.
#[tokio::test]
async fn a_transfer_that_fails_keeps_its_deadline() {
    let group = Group::start(3, 20_000).await;
    let leader = group.settled().await;
    group.all_there().await;
    let target = (leader + 1) % 3;
    for other in group.followers(leader) {
        group.silence(other, true);
    }
    let to = group.all[target].id();
    let began = Instant::now();
    let deadline = began + Duration::from_secs(2);
    let asked =
        group.all[leader].run(move |node| async move { node.transfer(Some(to), deadline).await });
    let result = asked.await.unwrap();
    assert!(
        matches!(result, Err(TransferError::TimedOut(_))),
        "{result:?}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
}
