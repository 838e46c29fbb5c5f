//! Early election: when the leader's process has died for sure, and when it only seems so.

use std::time::Duration;

use quorate_clock::Instant;
use quorate_proto::peer::{
    Ballot, LeaderId, LogId, Reason as Said, VoteRequest, VoteResponse, raft_client::RaftClient,
};
use quorate_raft::NodeStartMode;
use quorate_types::{ElectionReason, Leadership};

use crate::group::{Group, until};

const PROMISE: Duration = Duration::from_millis(500);

fn seen(group: &Group, i: usize) -> Leadership {
    *group.all[i].node().leadership().borrow()
}

/// The follower that campaigns first, and the other one.
fn by_rank(group: &Group, leader: usize) -> (usize, usize) {
    let mut followers = group.followers(leader);
    followers.sort_by_key(|i| std::cmp::Reverse(group.all[*i].id()));
    (followers[0], followers[1])
}

/// Waits until one member has seen for sure that another's process is gone.
async fn misses(group: &Group, one: usize, lost: u64) {
    let silent = group.all[one].node().unreachable_members();
    until("it misses the leader", || silent.borrow().contains(&lost)).await;
}

// guarantee: FAILOVER-1
#[tokio::test]
async fn death_causes_one_election_that_records_death() {
    let mut group = Group::start(3, 500).await;
    let mut clean = 0;
    for _ in 0..5 {
        let lost = group.settled().await;
        group.all_there().await;
        let (before, id) = (seen(&group, lost), group.all[lost].id());
        let killed = Instant::now();
        group.all[lost].kill();
        until("a successor", || group.leader().is_some()).await;
        let took = killed.elapsed();
        let now = seen(&group, group.leader().unwrap());
        let election = now.election.unwrap();
        // On a busy machine two may campaign at once, or the timers be first.
        clean +=
            usize::from(now.term == before.term + 1 && election.reason == ElectionReason::Death);
        assert_eq!(election.former, Some(id));
        assert!(election.lost_at.unwrap() <= election.detected_at);
        assert!(killed <= election.detected_at);
        assert!(election.detected_at <= election.elected_at);
        assert!(took < PROMISE, "{took:?}");
        group.all[lost].start(NodeStartMode::Resume).await;
    }
    assert!(
        clean >= 3,
        "{clean} of 5 elections were early and burnt no term"
    );
}

#[tokio::test]
async fn a_reset_on_one_link_moves_nobody() {
    let group = Group::start(3, 500).await;
    let leader = group.settled().await;
    group.all_there().await;
    let before = seen(&group, leader);
    let (first, other) = by_rank(&group, leader);
    for fooled in [first, other] {
        group.reset(leader, fooled, true);
        misses(&group, fooled, group.all[leader].id()).await;
        until("its timers have run out, too", || {
            let heard_at = seen(&group, fooled).heard_at;
            heard_at.is_none_or(|at| at.elapsed() > PROMISE * 2)
        })
        .await;
        let now = seen(&group, leader);
        assert!(now.leading);
        assert_eq!((now.term, now.leader), (before.term, before.leader));
        group.reset(leader, fooled, false);
        group.all_there().await;
        let now = seen(&group, leader);
        assert!(now.leading);
        assert_eq!((now.term, now.leader), (before.term, before.leader));
    }
    group.all[first].write(1).await.unwrap();
    group.same().await;
}

// guarantee: LEASE-2
#[tokio::test]
async fn living_leader_behind_resets_loses_lease_before_successor() {
    let group = Group::start(3, 500).await;
    let mut early = 0;
    for key in 0..5 {
        let lost = group.settled().await;
        group.all_there().await;
        let before = seen(&group, lost);
        let others = group.followers(lost);
        for other in &others {
            group.reset(lost, *other, true);
        }
        until("a successor", || {
            others.iter().any(|i| group.all[*i].leading())
        })
        .await;
        let leader = *others.iter().find(|i| group.all[**i].leading()).unwrap();
        let now = seen(&group, leader);
        let election = now.election.unwrap();
        // The old one lives, and may act until the lease of its last answered round is over.
        let old = seen(&group, lost);
        if old.term == before.term {
            let over = old.heard_at.unwrap() + group.all[lost].timing.lease;
            let clear = now.lease_clear_at.unwrap();
            assert!(clear >= over, "{:?} too early", over.duration_since(clear));
            early +=
                usize::from(election.reason == ElectionReason::Death && election.elected_at < over);
        }
        group.all[leader].write(key).await.unwrap();
        for other in &others {
            group.reset(lost, *other, false);
        }
        until("the old one knows its successor", || {
            seen(&group, lost).term >= now.term
        })
        .await;
    }
    assert!(
        early >= 2,
        "{early} of 5 elections came before the old lease was over"
    );
    group.settled().await;
    group.same().await;
}

/// Asks a member for its vote over the wire, as any other member could.
async fn ask(group: &Group, of: usize, candidate: u64, term: u64, reason: Said) -> VoteResponse {
    let one = &group.all[of];
    let url = format!("http://{}", one.member.peer);
    let channel = tonic::transport::Endpoint::from_shared(url).unwrap();
    let channel = channel.connect().await.unwrap();
    let (cluster, target) = (one.node().cluster().to_owned(), one.id().to_string());
    let stamp = move |mut request: tonic::Request<()>| {
        let metadata = request.metadata_mut();
        metadata.insert("quorate-cluster", cluster.parse().unwrap());
        metadata.insert("quorate-target", target.parse().unwrap());
        Ok(request)
    };
    let leader = |term, member| Some(LeaderId { term, member });
    let request = VoteRequest {
        ballot: Some(Ballot {
            leader: leader(term, candidate),
            committed: false,
        }),
        last: Some(LogId {
            leader: leader(term - 1, candidate),
            index: 1 << 40,
        }),
        transfer: true,
        reason: reason.into(),
    };
    let mut client = RaftClient::with_interceptor(channel, stamp);
    client.vote(request).await.unwrap().into_inner()
}

// guarantee: FENCE-12
#[tokio::test]
async fn death_vote_against_living_leader_is_refused() {
    let group = Group::start(3, 500).await;
    let leader = group.settled().await;
    group.all_there().await;
    let before = seen(&group, leader);
    let (first, other) = by_rank(&group, leader);
    let candidate = group.all[first].id();
    let term = before.term + 10;
    for _ in 0..20 {
        for of in [leader, other] {
            let answer = ask(&group, of, candidate, term, Said::Death).await;
            assert!(!answer.granted, "{answer:?}");
            let known = answer.ballot.unwrap().leader.unwrap();
            assert_eq!(
                (known.term, Some(known.member)),
                (before.term, before.leader)
            );
        }
    }
    let now = seen(&group, leader);
    assert!(now.leading);
    assert_eq!((now.term, now.leader), (before.term, before.leader));
    // The same message is honoured when it comes of a transfer, so the reason was at fault.
    let answer = ask(&group, other, candidate, term, Said::Transfer).await;
    assert!(answer.granted, "{answer:?}");
    group.settled().await;
}

#[tokio::test]
async fn member_lacking_entries_loses_early_election() {
    let mut group = Group::start(3, 500).await;
    let lost = group.settled().await;
    group.all_there().await;
    let before = seen(&group, lost);
    let (first, other) = by_rank(&group, lost);
    let peer = |i: usize| group.all[i].member.peer.clone();
    group.links.silence_one(&peer(lost), &peer(first), true);
    group.all[lost].write(7).await.unwrap();
    until("the other one has it", || {
        group.all[other].view.times(7) == 1
    })
    .await;
    group.all[lost].kill();
    until("a successor", || group.leader().is_some()).await;
    let now = seen(&group, other);
    assert!(now.leading, "the one with the longer log");
    assert_eq!(now.term, before.term + 1, "a term was burnt");
    assert_eq!(now.election.unwrap().reason, ElectionReason::Death);
    assert_eq!(group.all[other].view.times(7), 1);
}

#[tokio::test]
async fn death_seen_by_few_is_left_to_timers() {
    let mut group = Group::start(3, 500).await;
    let lost = group.settled().await;
    group.all_there().await;
    let (first, other) = by_rank(&group, lost);
    let peer = |i: usize| group.all[i].member.peer.clone();
    let (theirs, its) = (peer(other), peer(lost));
    group.links.stubborn(&theirs, &its, true);
    let id = group.all[lost].id();
    let killed = Instant::now();
    group.all[lost].kill();
    misses(&group, first, id).await;
    until("a successor", || group.leader().is_some()).await;
    let took = killed.elapsed();
    let election = seen(&group, group.leader().unwrap()).election.unwrap();
    assert_eq!(election.reason, ElectionReason::Timeout);
    assert_eq!(election.former, Some(id));
    assert!(took < PROMISE * 2, "{took:?}");
    group.links.stubborn(&theirs, &its, false);
}

#[tokio::test]
async fn gone_member_is_unreachable_until_back() {
    let mut group = Group::start(3, 500).await;
    let leader = group.settled().await;
    group.all_there().await;
    let (first, other) = by_rank(&group, leader);
    let id = group.all[first].id();
    // Silent: only the leader can know.
    group.silence(first, true);
    misses(&group, leader, id).await;
    group.silence(first, false);
    group.all_there().await;
    // Dead: everybody does.
    let killed = Instant::now();
    group.all[first].kill();
    misses(&group, leader, id).await;
    misses(&group, other, id).await;
    assert!(killed.elapsed() < PROMISE, "{:?}", killed.elapsed());
    group.all[first].start(NodeStartMode::Resume).await;
    group.all_there().await;
    assert_eq!(seen(&group, leader).leader, Some(group.all[leader].id()));
}
