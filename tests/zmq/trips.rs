//! Messages that go well: each type of socket, in and out, with a peer in Python.

use http::{HeaderMap, StatusCode};
use quorate_ipc::SendOutcome;
use quorate_resources::Kind;
use quorate_service::api::Reply;

use super::{peer::Peer, world::*};

/// Waits until the bodies `0` to `n - 1` were handled, each at least once.
async fn all_handled(member: &SimulatedMember, n: usize) {
    let all = async || (lost_and_repeated(&member.group, n).0 == 0).then_some(());
    eventually("all are handled", all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_receives_messages_of_a_program() {
    for (ours, theirs) in [("connect", "bind"), ("bind", "connect")] {
        let (name, address) = (unique("pull"), free_address());
        let member = running(Kind::ZmqChannel, channel(&name, "PULL", ours, &address)).await;
        let _peer = Peer::start("push", theirs, &address, 500).await;
        all_handled(&member, 500).await;
        let status = member
            .when(&name, "all", |it| it.counts.handled == 500)
            .await;
        assert_eq!((status.counts.received, status.counts.failed), (500, 0));
        assert_eq!(lost_and_repeated(&member.group, 500), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sub_takes_its_topics_from_a_publisher() {
    let (name, address) = (unique("sub"), free_address());
    let mut of = channel(&name, "SUB", "connect", &address);
    of["sub_key"] = "orders".into();
    let member = running(Kind::ZmqChannel, of).await;
    let _peer = Peer::start("pub", "bind", &address, 10).await;
    all_handled(&member, 10).await;
    let calls = member.group.calls.lock();
    for call in calls.iter() {
        assert_eq!(call.headers["quorate-property-topic"], "orders.eu");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rep_replies_with_the_service_response() {
    let (name, address) = (unique("rep"), free_address());
    let member = running(Kind::ZmqChannel, channel(&name, "REP", "bind", &address)).await;
    member.group.behave(|call| {
        let answer = match call.body.as_str() {
            "3" => status(500),
            body => Ok(Reply {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body: format!("re: {body}").into(),
            }),
        };
        (std::time::Duration::ZERO, answer)
    });
    let peer = Peer::start("req", "connect", &address, 10).await;
    let all = async || (peer.said("answer").len() == 10).then_some(());
    eventually("all are answered", all).await;
    for (n, answer) in peer.said("answer").into_iter().enumerate() {
        if n == 3 {
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["zato_env"]["result"], "ZATO_ERROR");
            assert_eq!(answer["zato_env"]["cid"].as_str().unwrap().len(), 40);
            let details = answer["zato_env"]["details"].as_str().unwrap();
            assert!(details.contains("store answered 500"), "{details}");
        } else {
            assert_eq!(answer, format!("re: {n}"));
        }
    }
    let status = member.when(&name, "all", |it| it.counts.handled == 9).await;
    // Somebody waits for the answer: it isn't tried again.
    assert_eq!((status.counts.failed, status.counts.retried), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn router_acks_messages_and_reports_given_up_ones() {
    let (name, address) = (unique("router"), free_address());
    let member = running(Kind::ZmqChannel, channel(&name, "ROUTER", "bind", &address)).await;
    member.group.behave(|call| {
        let code = if call.body == "7" { 422 } else { 200 };
        (std::time::Duration::ZERO, status(code))
    });
    let peer = Peer::start("dealer", "connect", &address, 200).await;
    peer.says("refused").await;
    let acked = async || (peer.said("acked").len() == 199).then_some(());
    eventually("the others are acked", acked).await;
    peer.says("done").await;
    let refused = &peer.said("refused")[0];
    assert!(refused.contains("store answered 422"), "{refused}");
    assert_eq!(lost_and_repeated(&member.group, 200).0, 0);
    let calls = member.group.calls.lock();
    let ids: std::collections::BTreeSet<_> = calls
        .iter()
        .map(|call| &call.headers["quorate-message-id"])
        .collect();
    assert_eq!(
        ids.len(),
        200,
        "each message has its own id for all its tries"
    );
}

// guarantee: ZMQ-4
#[tokio::test(flavor = "multi_thread")]
async fn a_push_arrives_at_a_program() {
    let (name, address) = (unique("push"), free_address());
    let member = running(
        Kind::ZmqOutgoing,
        outgoing(&name, "PUSH", "connect", &address),
    )
    .await;
    let early = send(
        &member,
        &name,
        "",
        "early",
        std::time::Duration::from_millis(500),
    )
    .await;
    assert!(
        matches!(&early, SendOutcome::NotSent(why) if why.contains("no peer took it at")),
        "{early:?}"
    );
    let peer = Peer::start("pull", "bind", &address, 0).await;
    for n in 0..100 {
        let sent = send(&member, &name, "", &n.to_string(), WAIT).await;
        assert!(matches!(sent, SendOutcome::Confirmed { .. }), "{sent:?}");
    }
    let all = async || (peer.said("got").len() == 100).then_some(());
    eventually("all have arrived", all).await;
    assert_eq!(
        peer.said("got"),
        bodies(100).collect::<Vec<_>>(),
        "and nothing that was given up"
    );
    member
        .when(&name, "counted", |it| it.counts.sent == 100)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn published_message_arrives_at_a_program() {
    let (name, address) = (unique("pub"), free_address());
    let member = running(Kind::ZmqOutgoing, outgoing(&name, "PUB", "bind", &address)).await;
    let peer = Peer::start("sub", "connect", &address, 0).await;
    let arrived = async || {
        let sent = send(&member, &name, "", "orders: one", WAIT).await;
        assert!(matches!(sent, SendOutcome::Confirmed { .. }), "{sent:?}");
        peer.said("got").first().cloned()
    };
    assert_eq!(eventually("it arrives", arrived).await, "orders: one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_by_a_program() {
    let (name, address) = (unique("req"), free_address());
    let member = running(
        Kind::ZmqOutgoing,
        outgoing(&name, "REQ", "connect", &address),
    )
    .await;
    let _peer = Peer::start("rep", "bind", &address, 0).await;
    let asking = (0..50).map(|n| {
        let (member, name) = (&member, &name);
        async move { (n, send(member, name, "", &n.to_string(), WAIT).await) }
    });
    for (n, sent) in futures_util::future::join_all(asking).await {
        let SendOutcome::Confirmed {
            reply: Some(reply), ..
        } = sent
        else {
            panic!("{sent:?}")
        };
        assert_eq!(reply.body, format!("re: {n}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dealer_learns_outcome_from_peer_program() {
    let (name, address) = (unique("dealer"), free_address());
    let member = running(
        Kind::ZmqOutgoing,
        outgoing(&name, "DEALER", "connect", &address),
    )
    .await;
    let peer = Peer::start("router", "bind", &address, 0).await;
    let good = send(&member, &name, "id-1", "good", WAIT).await;
    assert_eq!(
        good,
        SendOutcome::Confirmed {
            message_id: "id-1".into(),
            reply: None
        }
    );
    let bad = send(&member, &name, "id-2", "bad", WAIT).await;
    assert_eq!(
        bad,
        SendOutcome::Refused("the peer refused it: too bad".into())
    );
    assert_eq!(peer.said("got"), ["id-1 good", "id-2 bad"]);
    let status = member
        .when(&name, "counted", |it| it.counts.refused == 1)
        .await;
    assert_eq!(status.counts.sent, 1);
}
