//! Sentences of the contract with openraft, one test for each.

use std::time::Duration;

use openraft::{
    Config, ServerState,
    errors::ClientWriteError,
    impls::ProgressResponder,
    raft::{ClientWriteResult, TransferLeaderRequest},
};
use quorate_clock::Instant;

use crate::{
    bare::{Group, config, until},
    disk::Bare,
};

/// Proposes, and waits for openraft's answer.
async fn proposed(group: &Group, at: u64, command: &str) -> ClientWriteResult<Bare> {
    let (responder, written) = ProgressResponder::complete_only();
    let raft = group.raft(at);
    raft.write(command.to_owned())
        .responder(responder)
        .await
        .unwrap();
    written.await.unwrap()
}

/// `node/transfer.rs`, `election/early_election.rs`: a member is made to campaign by being handed a
/// transfer from the vote that it has, whoever sent that; its requests carry the flag, and
/// voters whose leader's lease still runs grant them.
#[tokio::test]
async fn transfer_of_known_vote_is_flagged_campaign() {
    let group = Group::led_by_one().await;
    group.links.0.lock().asked.clear();
    // Without the flag nobody votes while the lease runs.
    group.raft(2).trigger().elect(false).await.unwrap();
    until("both were asked", || group.links.0.lock().asked.len() >= 2).await;
    assert!(
        group
            .links
            .0
            .lock()
            .asked
            .iter()
            .all(|it| *it == (2, false))
    );
    assert_eq!(group.seen(1).state, ServerState::Leader);
    assert_ne!(group.seen(2).state, ServerState::Leader);

    // A vote that it doesn't have makes it do nothing.
    group.links.0.lock().asked.clear();
    let known = group.vote(3);
    let stale = openraft::alias::VoteOf::<Bare>::new(0, 1);
    let request = TransferLeaderRequest::new(stale, 3, None);
    let refused = group.raft(3).handle_transfer_leader(request).await.unwrap();
    assert!(refused.is_err());
    let raft = group.raft(3);
    let voted = raft.with_raft_state(|state| *state.vote_ref()).await;
    assert_eq!(voted.unwrap(), known);
    assert!(group.links.0.lock().asked.is_empty());

    let request = TransferLeaderRequest::new(known, 3, None);
    group
        .raft(3)
        .handle_transfer_leader(request)
        .await
        .unwrap()
        .unwrap();
    until("it leads", || group.seen(3).state == ServerState::Leader).await;
    assert!(group.links.0.lock().asked.iter().all(|it| *it == (3, true)));
}

/// `node/propose.rs`: only what openraft turns away before it appends anything is surely not
/// done, and that is what `ForwardToLeader` says.
#[tokio::test]
async fn forward_to_leader_says_that_nothing_was_appended() {
    let group = Group::led_by_one().await;
    let before = group.disks[&1].commands();
    let refused = proposed(&group, 2, "at a follower").await;
    assert!(
        matches!(refused, Err(ClientWriteError::ForwardToLeader(_))),
        "{refused:?}"
    );

    let (responder, written) = ProgressResponder::complete_only();
    let raft = group.raft(1);
    let mut other = group.vote(1).leader_id;
    other.term += 1;
    let request = raft
        .write("of another term".to_owned())
        .responder(responder);
    request.with_leader(other).await.unwrap();
    let refused: ClientWriteResult<Bare> = written.await.unwrap();
    assert!(
        matches!(refused, Err(ClientWriteError::ForwardToLeader(_))),
        "{refused:?}"
    );

    group.write(1, "last").await.unwrap();
    group.applied_by(&[1, 2, 3]).await;
    for disk in group.disks.values() {
        let commands = disk.commands();
        assert_eq!(commands.len(), before.len() + 1, "{commands:?}");
    }
}

/// `node/propose.rs`: `LogEntryDiscarded` is said of what *was* appended, and may have been
/// sent to others: its outcome is unknown.
#[tokio::test]
async fn a_discarded_entry_was_in_the_log() {
    let group = Group::led_by_one().await;
    group.links.0.lock().cut.insert(1);
    let lonely = proposed(&group, 1, "lonely");
    tokio::pin!(lonely);
    let appended = async {
        until("it is in the log", || {
            let commands = group.disks[&1].commands();
            commands.iter().any(|(_, command)| command == "lonely")
        })
        .await;
    };
    tokio::select! {
        answer = &mut lonely => panic!("{answer:?}"),
        () = appended => {}
    }
    let request = TransferLeaderRequest::new(group.vote(2), 2, None);
    group
        .raft(2)
        .handle_transfer_leader(request)
        .await
        .unwrap()
        .unwrap();
    until("another leads", || {
        group.seen(2).last_quorum_acked.is_some()
    })
    .await;
    group.write(2, "other").await.unwrap();
    group.links.0.lock().cut.clear();
    let again = async {
        loop {
            group.raft(2).trigger().heartbeat().await.unwrap();
            let _ = group.write(2, "again").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = tokio::select! {
        answer = lonely => answer,
        () = again => unreachable!(),
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("never answered"),
    };
    assert!(
        matches!(answer, Err(ClientWriteError::LogEntryDiscarded(_))),
        "{answer:?}"
    );
}

/// `node/leadership.rs`: the lease runs from the *sending* of what a quorum has answered.
#[tokio::test]
async fn quorum_acked_is_a_sending_time() {
    let group = Group::led_by_one().await;
    let takes = Duration::from_millis(100);
    group.links.0.lock().answer_takes = takes;
    for by_heartbeat in [true, false] {
        let begun = Instant::now();
        match by_heartbeat {
            true => group.raft(1).trigger().heartbeat().await.unwrap(),
            false => group.write(1, "entry").await.unwrap(),
        }
        let sent = || {
            let acked = group.seen(1).last_quorum_acked.unwrap().into_inner();
            openraft::Instant::elapsed(&acked)
        };
        until("it is acked", || sent() <= begun.elapsed()).await;
        let sent = sent();
        assert!(sent >= takes, "{sent:?} ago, but an answer takes {takes:?}");
    }
}

/// `node/start.rs`: a leader that restarts has lost its leases and its reign; it asks for
/// votes.
#[tokio::test]
async fn a_leader_that_restarts_does_not_lead() {
    let group = Group::led_by_one().await;
    let vote = group.vote(1);
    for restored in [true, false] {
        group.raft(1).shutdown().await.unwrap();
        let restore = Config {
            enable_leader_restore: Some(restored),
            ..config()
        };
        group.start(1, restore).await;
        let raft = group.raft(1);
        let seen = raft.with_raft_state(|it| (it.server_state, *it.vote_ref()));
        let (state, voted) = seen.await.unwrap();
        // The other way round the same test would see it.
        let expected = match restored {
            true => ServerState::Leader,
            false => ServerState::Follower,
        };
        assert_eq!(state, expected);
        // What it has voted stands.
        assert_eq!(voted.leader_id, vote.leader_id);
        if restored {
            continue;
        }
        // `election/election_timer.rs`: on its disk that vote is one of a leader, so it is not made
        // to campaign by a transfer, but by the trigger.
        let request = TransferLeaderRequest::new(voted, 1, None);
        let refused = raft.handle_transfer_leader(request).await.unwrap();
        assert!(refused.is_err());
        raft.trigger().elect(false).await.unwrap();
        let term = voted.leader_id.term;
        until("it campaigns", || group.seen(1).current_term > term).await;
    }
}

/// `node/start.rs`: with its tick off openraft neither campaigns nor beats, however short its
/// timers are. With it the same test sees it.
#[tokio::test]
async fn openraft_keeps_no_timers_without_tick() {
    for ticks in [false, true] {
        let group = Group::led_by_one().await;
        for id in [2, 3] {
            group.raft(id).shutdown().await.unwrap();
            let short = Config {
                heartbeat_interval: 10,
                election_timeout_min: 50,
                election_timeout_max: 80,
                enable_tick: ticks,
                ..config()
            };
            group.start(id, short).await;
        }
        group.links.0.lock().asked.clear();
        let campaign = async {
            while group.links.0.lock().asked.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let patience = Duration::from_millis(if ticks { 20_000 } else { 800 });
        let campaigned = tokio::time::timeout(patience, campaign).await.is_ok();
        assert_eq!(campaigned, ticks);
    }
}

/// `network/follower_promises.rs`: a leader goes on when a follower has lost what it had
/// acknowledged, if it may, and the follower gets it anew. Otherwise it ends, by a
/// `debug_assert!`.
#[tokio::test]
async fn leader_goes_on_when_follower_lost_acknowledged_entries() {
    for allowed in [true, false] {
        let with = || Config {
            allow_log_reversion: allowed.then_some(true),
            ..config()
        };
        let group = Group::led_by_one_with(with).await;
        for n in 0..10 {
            group.write(1, &format!("number {n}")).await.unwrap();
        }
        group.applied_by(&[1, 2, 3]).await;
        let (term, last) = (group.seen(1).current_term, group.disks[&2].last());
        group.raft(2).shutdown().await.unwrap();
        group.disks[&2].lose_from(4);
        group.start(2, with()).await;
        let ended_or_whole = async {
            while group.raft(1).trigger().heartbeat().await.is_ok() && group.disks[&2].last() < last
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let over = tokio::time::timeout(Duration::from_secs(20), ended_or_whole).await;
        assert!(over.is_ok(), "it neither ends nor sends them anew");
        let whole = group.disks[&2].last() == last;
        assert_eq!(whole, allowed, "are openraft's assertions compiled in?");
        if allowed {
            group.write(1, "after it").await.unwrap();
            group.applied_by(&[1, 2, 3]).await;
            assert_eq!(group.seen(1).current_term, term);
        }
    }
}

/// `network/follower_promises.rs`: what a follower has lost does not count, so that the leader
/// commits nothing with it before it has that again.
#[tokio::test]
async fn what_follower_lost_does_not_count() {
    let with = || Config {
        allow_log_reversion: Some(true),
        ..config()
    };
    let group = Group::led_by_one_with(with).await;
    for n in 0..10 {
        group.write(1, &format!("number {n}")).await.unwrap();
    }
    group.applied_by(&[1, 2, 3]).await;
    group.links.0.lock().cut.insert(3);
    group.raft(2).shutdown().await.unwrap();
    group.disks[&2].lose_from(4);
    // What it is sent anew does not reach its disk.
    group.disks[&2].hold(true);
    group.start(2, with()).await;
    let forgotten = || {
        let progress = group.seen(1).replication.unwrap();
        progress[&2].as_ref().map(|it| it.index) < Some(4)
    };
    let beats = async {
        while !forgotten() {
            group.raft(1).trigger().heartbeat().await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let soon = Duration::from_secs(20);
    tokio::time::timeout(soon, beats).await.unwrap();
    let committed = group.seen(1).last_applied;
    let leader = group.raft(1);
    let writing = tokio::spawn(async move { leader.client_write("more".to_owned()).await });
    let early = tokio::time::timeout(Duration::from_millis(300), async {
        while group.seen(1).last_applied <= committed {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(early.await.is_err(), "it counts for what it has lost");
    group.disks[&2].hold(false);
    let written = tokio::time::timeout(soon, writing).await.unwrap();
    written.unwrap().unwrap();
    assert!(group.disks[&2].last() > Some(10));
}

/// `node/log_retention.rs`: with the highest number to keep openraft purges nothing of itself, and
/// what it is asked to purge it does, as far as a snapshot reaches.
#[tokio::test]
async fn only_requested_entries_are_purged() {
    let group = Group::led_by_one().await;
    for n in 0..1000 {
        group.write(1, &format!("number {n}")).await.unwrap();
    }
    let raft = group.raft(1);
    raft.trigger().snapshot().await.unwrap();
    until("a snapshot", || group.seen(1).snapshot.is_some()).await;
    let covered = group.seen(1).snapshot.unwrap().index;
    group.write(1, "after the snapshot").await.unwrap();
    assert_eq!(
        (group.seen(1).purged, group.disks[&1].first()),
        (None, Some(0))
    );
    raft.trigger().purge_log(500).await.unwrap();
    until("it is purged", || group.disks[&1].first() == Some(501)).await;
    raft.trigger().purge_log(u64::MAX).await.unwrap();
    until("the rest is purged", || {
        group.disks[&1].first() == Some(covered + 1)
    })
    .await;
}
