//! Writes and reads through any member, and restarts.

use std::{net::TcpStream, time::Duration};

use bytes::Bytes;
use quorate_clock::Instant;
use quorate_raft::NodeStartMode;
use quorate_testkit::ports;
use quorate_types::ProposeError;

use crate::group::{Group, SOON, until};

#[tokio::test]
async fn writes_and_reads_go_through_any_member() {
    let group = Group::start(3, 500).await;
    let mut last = 0;
    for (key, one) in group.all.iter().enumerate() {
        let done = one.write(key as u64).await.unwrap();
        assert!(done.index > last);
        last = done.index;
        assert_eq!(done.answer, Bytes::copy_from_slice(&1u64.to_le_bytes()));
        // Applied where it was asked for.
        assert_eq!(one.view.times(key as u64), 1);
        for reader in &group.all {
            assert!(reader.read().await.unwrap() >= done.index);
            assert_eq!(reader.view.times(key as u64), 1);
        }
    }
    group.same().await;
}

/// Where nobody listens, and where another member does, which refuses what is not for it.
#[tokio::test]
async fn wrong_leader_address_is_corrected_by_redirect() {
    const WITHIN: Duration = Duration::from_secs(5);
    let group = Group::start(3, 500).await;
    let leader = group.settled().await;
    let followers: Vec<_> = (0..3).filter(|n| *n != leader).collect();
    let (one, other) = (&group.all[followers[0]], &group.all[followers[1]]);
    let nobody = format!("127.0.0.1:{}", ports::free());
    let refusing = group.links.dial(&one.member.peer, &nobody);
    group.links.up(&nobody, false);
    until("a connection is refused", || {
        TcpStream::connect(&refusing).is_err()
    })
    .await;
    for (key, wrong) in [nobody, other.member.peer.clone()].into_iter().enumerate() {
        let leader = &group.all[group.settled().await];
        one.node().set_announced_address(leader.id(), &wrong);
        let done = one.write_within(key as u64, WITHIN).await.unwrap();
        assert!(one.read_within(WITHIN).await.unwrap() >= done.index);
        assert_eq!(one.view.times(key as u64), 1);
    }
    group.same().await;
}

#[tokio::test]
async fn too_large_command_is_refused_and_not_done() {
    let group = Group::start(3, 500).await;
    let fits = Bytes::from(vec![7; 1_310_720]);
    let too_large = Bytes::from(vec![7; 1_310_721]);
    for one in &group.all {
        // What was written before is in each log: a quorum need not have been all.
        group.same().await;
        let before = one.node().log_stats().entries;
        let command = too_large.clone();
        let refused =
            one.run(|node| async move { node.propose(command, Instant::now() + SOON).await });
        let refused = refused.await.unwrap();
        assert!(matches!(&refused, Err(ProposeError::Refused(why)) if why.contains("1310721")));
        assert_eq!(one.node().log_stats().entries, before);
        let command = fits.clone();
        let done =
            one.run(|node| async move { node.propose(command, Instant::now() + SOON).await });
        done.await.unwrap().unwrap();
    }
    group.same().await;
}

// guarantee: FENCE-13
#[tokio::test]
async fn a_write_in_another_term_is_refused() {
    let group = Group::start(3, 500).await;
    let leader = group.leader().unwrap();
    let seen = *group.all[leader].node().leadership().borrow();
    let propose = |i: usize, term: u64, key: u64| {
        let command = crate::machine::write(key, b"");
        group.all[i].run(move |node| async move {
            node.propose_in_term(term, command, Instant::now() + SOON)
                .await
        })
    };
    propose(leader, seen.term, 1).await.unwrap().unwrap();
    for (i, term) in [
        (leader, seen.term + 1),
        (leader, seen.term - 1),
        ((leader + 1) % 3, seen.term),
    ] {
        let refused = propose(i, term, 2).await.unwrap().unwrap_err();
        assert!(!matches!(refused, ProposeError::Unknown(_)), "{refused}");
    }
    group.all[leader].read().await.unwrap();
    assert_eq!(group.all[leader].view.times(1), 1);
    assert_eq!(group.all[leader].view.times(2), 0);
}

// guarantee: DATA-1
#[tokio::test]
async fn everything_acknowledged_is_there_after_all_have_died() {
    let mut group = Group::start(3, 500).await;
    for round in 0..3u64 {
        for key in 0..50 {
            group.all[key as usize % 3]
                .write(round * 100 + key)
                .await
                .unwrap();
        }
        for one in &mut group.all {
            one.kill();
        }
        for one in &mut group.all {
            one.start(NodeStartMode::Resume).await;
        }
        group.settled().await;
        for one in &group.all {
            one.read().await.unwrap();
            for key in 0..50 {
                assert_eq!(one.view.times(round * 100 + key), 1);
            }
        }
    }
}

#[tokio::test]
async fn stopped_member_leaves_folder_and_comes_back() {
    let mut group = Group::start(3, 500).await;
    let leader = group.settled().await;
    let away = (leader + 1) % 3;
    group.all[away].stop().await;
    let left = std::fs::File::open(group.all[away].dir().join("lock")).unwrap();
    left.try_lock().unwrap();
    drop(left);
    for key in 0..20 {
        group.all[leader].write(key).await.unwrap();
    }
    group.all[away].start(NodeStartMode::Resume).await;
    let one = &group.all[away];
    until("it has caught up", || one.view.len() == 20).await;
    one.write(20).await.unwrap();
}

/// As a virtual machine that is set back to a copy of its disk.
// guarantee: DATA-6
#[tokio::test]
async fn leader_outlives_old_copy_of_followers_folder() {
    let mut group = Group::start(3, 500).await;
    let leader = group.settled().await;
    let away = (leader + 1) % 3;
    let copy = tempfile::TempDir::new().unwrap();
    let copied = |from: &std::path::Path, to: &std::path::Path| {
        let status = std::process::Command::new("cp")
            .args(["-a", "--"])
            .args([from.join("."), to.to_owned()])
            .status();
        assert!(status.unwrap().success());
    };
    for key in 0..10 {
        group.all[leader].write(key).await.unwrap();
    }
    group.all[away].stop().await;
    copied(group.all[away].dir(), copy.path());
    group.all[away].start(NodeStartMode::Resume).await;
    for key in 10..60 {
        group.all[leader].write(key).await.unwrap();
    }
    let one = &group.all[away];
    until("it has everything", || one.view.len() == 60).await;
    let term = group.all[leader].node().leadership().borrow().term;
    group.all[away].stop().await;
    let folder = group.all[away].dir();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
    copied(copy.path(), group.all[away].dir());
    group.all[away].start(NodeStartMode::Resume).await;
    let one = &group.all[away];
    until("it has everything again", || one.view.len() == 60).await;
    group.all[leader].write(60).await.unwrap();
    until("it follows", || one.view.len() == 61).await;
    let now = *group.all[leader].node().leadership().borrow();
    assert!(now.leading, "{now:?}");
    assert_eq!(now.term, term);
}

#[tokio::test]
async fn all_live_members_are_waited_for() {
    let group = Group::start(3, 500).await;
    let done = group.all[0].write(1).await.unwrap();
    let waited = group.all[0].run(move |node| async move {
        node.wait_applied_everywhere(done.index, SOON).await;
    });
    waited.await.unwrap();
    for one in &group.all {
        assert!(one.view.applied() >= done.index);
    }
}
