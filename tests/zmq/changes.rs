//! Settings that change while messages flow.

use std::time::Duration;

use quorate_ipc::SendOutcome;
use quorate_resources::Kind;

use super::{peer::Peer, world::*};

// guarantee: ZMQ-2
#[tokio::test(flavor = "multi_thread")]
async fn channel_changes_lose_and_repeat_nothing_for_dealer() {
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
async fn outgoing_follows_moved_peer_with_all_sends_confirmed() {
    let (name, addresses) = (unique("moved"), [free_address(), free_address()]);
    let peers = [
        Peer::start("router", "bind", &addresses[0], 0).await,
        Peer::start("router", "bind", &addresses[1], 0).await,
    ];
    let of = |n: usize| outgoing(&name, "DEALER", "connect", &addresses[n]);
    let member = running(Kind::ZmqOutgoing, of(0)).await;
    let mut ids = (0..).map(|n: u32| n.to_string());
    let mut confirmed = Vec::new();
    for n in [1, 0, 1] {
        member.group.put(Kind::ZmqOutgoing, of(n));
        let before = peers[n].said("got").len();
        let arrived = async || {
            let id = ids.next().unwrap();
            let sent = send(&member, &name, &id, "good", WAIT).await;
            let message_id = id.clone();
            assert_eq!(
                sent,
                SendOutcome::Confirmed {
                    message_id,
                    reply: None
                }
            );
            confirmed.push(format!("{id} good"));
            (peers[n].said("got").len() > before).then_some(())
        };
        eventually("it arrives at the other address", arrived).await;
    }
    let mut got = [peers[0].said("got"), peers[1].said("got")].concat();
    got.sort();
    confirmed.sort();
    assert_eq!(got, confirmed, "each arrived once");
}

/// What waits for a peer while the address changes has not been sent, and is sent then.
// guarantee: ZMQ-4
#[tokio::test(flavor = "multi_thread")]
async fn waiting_message_goes_to_changed_address() {
    let (name, nobody, address) = (unique("waits"), free_address(), free_address());
    let member = running(
        Kind::ZmqOutgoing,
        outgoing(&name, "DEALER", "connect", &nobody),
    )
    .await;
    let peer = Peer::start("router", "bind", &address, 0).await;
    let changing = async {
        member
            .when(&name, "it waits", |it| it.counts.in_flight == 1)
            .await;
        member.group.put(
            Kind::ZmqOutgoing,
            outgoing(&name, "DEALER", "connect", &address),
        );
    };
    let (sent, ()) = tokio::join!(send(&member, &name, "1", "good", WAIT), changing);
    let message_id = "1".to_owned();
    assert_eq!(
        sent,
        SendOutcome::Confirmed {
            message_id,
            reply: None
        }
    );
    assert_eq!(peer.said("got"), ["1 good"]);
}
