//! Settings that change while messages flow.

use std::time::Duration;

use quorate::state::Kind;

use super::{peer::Peer, world::*};

#[tokio::test(flavor = "multi_thread")]
async fn changes_while_a_dealer_sends_lose_nothing_and_repeat_nothing() {
    const MESSAGES: usize = 3000;
    let (name, one, two) = (unique("changed"), free_address(), free_address());
    let member = running(Kind::ZmqChannel, channel(&name, "ROUTER", "bind", &one)).await;
    let group = &member.group;
    group.behave(|_| (Duration::from_millis(20), status(200)));
    let pid = member.status(&name).unwrap().pid;
    let peer = Peer::start("dealer", "connect", &format!("{one},{two}"), MESSAGES).await;
    for (n, (address, service)) in [
        (&two, "store"),
        (&two, "other"),
        (&one, "other"),
        (&two, "store"),
    ]
    .into_iter()
    .enumerate()
    {
        let some = 500 * (n + 1);
        let handled = async || (group.calls.lock().len() >= some).then_some(());
        eventually("some were handled", handled).await;
        let mut changed = channel(&name, "ROUTER", "bind", address);
        changed["service"] = service.into();
        group.put(Kind::ZmqChannel, changed);
    }
    peer.says("done").await;
    assert_eq!(peer.said("acked").len(), MESSAGES);
    assert_eq!(lost_and_repeated(group, MESSAGES), (0, 0));
    assert!(
        group
            .calls
            .lock()
            .iter()
            .any(|call| call.service == "other")
    );
    assert_eq!(
        member.status(&name).unwrap().pid,
        pid,
        "it was the same process all the while"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outgoing_follows_its_peer_to_another_address() {
    let (name, one, two) = (unique("moved"), free_address(), free_address());
    let member = running(
        Kind::ZmqOutgoing,
        outgoing(&name, "DEALER", "connect", &one),
    )
    .await;
    for (address, id) in [(&one, "1"), (&two, "2"), (&one, "3")] {
        let _peer = Peer::start("router", "bind", address, 0).await;
        member.group.put(
            Kind::ZmqOutgoing,
            outgoing(&name, "DEALER", "connect", address),
        );
        let sent = send(&member, &name, id, "good", WAIT).await;
        let confirmed = quorate::connector::Sent::Confirmed {
            message_id: id.into(),
            reply: None,
        };
        assert_eq!(sent, confirmed);
    }
}
