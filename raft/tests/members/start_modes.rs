//! Start modes: how members come to a cluster, and how they don't.

use quorate_clock::Instant;
use quorate_raft::{Node, NodeStartMode};
use quorate_types::{Member, ProposeError, Role};

use crate::{
    group::{Group, One, SOON, until},
    links::Links,
};

async fn admit(by: &One, member: &Member) -> Result<quorate_raft::MemberIdentity, ProposeError> {
    let member = member.clone();
    let asked = by.run(move |node| async move { node.admit(member, Instant::now() + SOON).await });
    asked.await.unwrap()
}

#[tokio::test]
async fn an_empty_folder_does_not_resume() {
    let mut one = One::new("one", 500, &Links::new());
    assert_eq!(Node::marker(one.dir()).unwrap(), None);
    let refused = one
        .try_start(NodeStartMode::Resume)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("--bootstrap") && refused.contains("--join"),
        "{refused}"
    );
    one.start(NodeStartMode::Bootstrap).await;
    let marker = Node::marker(one.dir()).unwrap().unwrap();
    assert_eq!((marker.id, marker.cluster.len()), (1, 32));
    one.write(1).await.unwrap();
    one.stop().await;
    // A bootstrap of what exists resumes it.
    one.start(NodeStartMode::Bootstrap).await;
    assert_eq!(Node::marker(one.dir()).unwrap().unwrap(), marker);
    one.read().await.unwrap();
    assert_eq!(one.view.times(1), 1);
}

#[tokio::test]
async fn a_folder_belongs_to_one_cluster_only() {
    let group = Group::start(1, 500).await;
    let mut other = One::new("other", 500, &Links::new());
    other.start(NodeStartMode::Bootstrap).await;
    let theirs = other.node().cluster().to_owned();
    let admission = admit(&group.all[0], &other.member).await.unwrap();
    other.stop().await;
    let refused = other
        .try_start(NodeStartMode::Join(admission.clone()))
        .await
        .unwrap_err();
    let refused = refused.to_string();
    assert!(
        refused.contains(&theirs) && refused.contains(&admission.cluster),
        "{refused}"
    );
    // It is as it was.
    other.start(NodeStartMode::Resume).await;
    other.write(1).await.unwrap();
}

// guarantee: DATA-4
#[tokio::test]
async fn two_clusters_never_merge() {
    let group = Group::start(3, 500).await;
    let mut other = One::new("other", 500, &group.links);
    other.start(NodeStartMode::Bootstrap).await;
    other.write(77).await.unwrap();
    until("it leads itself", || other.leading()).await;
    let term = other.node().leadership().borrow().term;
    // By mistake it is taken for a newcomer of the first cluster, which now calls it.
    let admission = admit(&group.all[1], &other.member).await.unwrap();
    for key in 0..20 {
        group.all[0].write(key).await.unwrap();
        other.write(100 + key).await.unwrap();
    }
    let leader = group.settled().await;
    let members = group.all[leader].node().members();
    let stranger = members.iter().find(|m| m.id == admission.id).unwrap();
    assert_eq!(
        (stranger.role, stranger.reachable),
        (Role::Learner, Some(false))
    );
    assert_eq!(other.node().members().len(), 1);
    assert_eq!(other.node().leadership().borrow().term, term);
    assert_eq!(other.view.len(), 21);
    assert_eq!(other.view.times(3), 0);
}

#[tokio::test]
async fn names_and_addresses_are_taken_once() {
    let group = Group::start(3, 500).await;
    let newcomer = One::new("fresh", 500, &group.links).member.clone();
    for (member, says) in [
        (
            Member {
                name: "member-2".into(),
                ..newcomer.clone()
            },
            "\"member-2\" is taken",
        ),
        (
            Member {
                peer: group.all[2].member.peer.clone(),
                ..newcomer.clone()
            },
            "member-3",
        ),
    ] {
        for by in &group.all {
            let refused = admit(by, &member).await.unwrap_err();
            assert!(matches!(refused, ProposeError::Refused(_)), "{refused}");
            assert!(refused.to_string().contains(says), "{refused}");
        }
    }
    assert_eq!(group.all[0].node().members().len(), 3);
    // An admission that was lost on the way is given again.
    let first = admit(&group.all[0], &newcomer).await.unwrap();
    let leader = group.settled().await;
    until("it is known that it can't be reached", || {
        let members = group.all[leader].node().members();
        members
            .iter()
            .any(|m| m.id == first.id && m.reachable == Some(false))
    })
    .await;
    for by in &group.all {
        assert_eq!(admit(by, &newcomer).await.unwrap(), first);
    }
    let moved = Member {
        peer: "127.0.0.1:9".into(),
        ..newcomer
    };
    assert!(admit(&group.all[0], &moved).await.is_err());
}

#[tokio::test]
async fn ids_are_never_given_twice() {
    let group = Group::start(2, 500).await;
    let mut ids = vec![group.all[0].id(), group.all[1].id()];
    for i in 0..5 {
        let one = One::new(&format!("new-{i}"), 500, &group.links);
        ids.push(admit(&group.all[i % 2], &one.member).await.unwrap().id);
    }
    let mut sorted = ids.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(ids, sorted);
}

// guarantee: DATA-5
#[tokio::test]
async fn moved_member_announces_its_new_address() {
    let mut group = Group::start(3, 500).await;
    let leader = group.settled().await;
    let mover = (leader + 1) % 3;
    group.all[mover].stop().await;
    group.all[leader].write(1).await.unwrap();
    let elsewhere = One::new("elsewhere", 500, &group.links).member.peer.clone();
    group.all[mover].member.peer = elsewhere.clone();
    group.all[mover].start(NodeStartMode::Resume).await;
    let id = group.all[mover].id();
    for one in &group.all {
        until("everyone knows", || {
            let members = one.node().members();
            members
                .iter()
                .any(|m| m.id == id && m.member.peer == elsewhere)
        })
        .await;
    }
    until("it has caught up", || group.all[mover].view.times(1) == 1).await;
    group.all[mover].write(2).await.unwrap();
    group.same().await;
}
