//! Peers that come, go and misbehave, and sockets that are closed.

use super::*;

#[tokio::test]
async fn closing_frees_address_and_ends_waiting_sends() {
    let address = free_address();
    let (_link, sender) = open_producer("DEALER", &address, "bind").await;
    let refused = try_inlet(resource("ROUTER", &address, "bind"), 1)
        .await
        .err()
        .unwrap();
    assert!(refused.transient, "{refused:?}");
    let waiting = tokio::spawn({
        let sender = sender.clone();
        async move { sender.send(&message("1", "x", WAIT)).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    sender.clone().close().await;
    let told = waiting.await.unwrap();
    assert!(
        matches!(&told, SendOutcome::NotSent(why) if why.contains("closed before it was sent")),
        "{told:?}"
    );
    let late = sender.send(&message("2", "x", WAIT)).await;
    assert!(matches!(late, SendOutcome::NotSent(_)), "{late:?}");
    let session = open_consumer(resource("ROUTER", &address, "bind"), 1).await;
    // Dropped without a goodbye, it is free soon.
    drop(session);
    let deadline = Instant::now() + WAIT;
    while try_inlet(resource("PULL", &address, "bind"), 1)
        .await
        .is_err()
    {
        assert!(Instant::now() < deadline, "the address is not free");
    }
}

/// libzmq never connects again to a peer that has broken the protocol.
#[tokio::test]
async fn protocol_error_of_peer_ends_connecting_socket() {
    // A PUB where a PUSH should be.
    let (_publisher, address) = peer(SocketType::PUB);
    let mut session = open_consumer(resource("PULL", &address, "connect"), 1).await;
    let ended = timeout(WAIT, session.next()).await.unwrap().err().unwrap();
    assert!(ended.text.contains("broke ZeroMQ's protocol"), "{ended:?}");
    let (link, sender) = open_producer("PUSH", &address, "connect").await;
    let sent = sender.send(&message("1", "x", WAIT)).await;
    assert!(matches!(sent, SendOutcome::NotSent(_)), "{sent:?}");
    let lost = timeout(WAIT, link.wait_lost()).await.unwrap();
    assert!(
        link.is_lost() && lost.text.contains("broke ZeroMQ's protocol"),
        "{lost:?}"
    );
    // A frame beyond the bound.
    let (push, address) = peer(SocketType::PUSH);
    let mut session = open_consumer(resource("PULL", &address, "connect"), 1).await;
    let _push = beside(move || {
        push.send(vec![0; BYTES_MAX + 1], 0).unwrap();
        push
    })
    .await;
    let ended = timeout(WAIT, session.next()).await.unwrap().err().unwrap();
    assert!(ended.text.contains("no frame beyond 64 MiB"), "{ended:?}");
}

/// A peer that goes and comes back is none that breaks the protocol.
#[tokio::test]
async fn a_peer_that_comes_back_is_connected_again() {
    let (push, address) = peer(SocketType::PUSH);
    let mut session = open_consumer(resource("PULL", &address, "connect"), 1).await;
    push.send("before", 0).unwrap();
    assert_eq!(&next(&mut session).await.1.body[..], b"before");
    drop(push);
    let quiet = timeout(Duration::from_millis(1500), session.next()).await;
    assert!(quiet.is_err(), "the session ended with its peer");
    let push = unbound(SocketType::PUSH);
    push.bind(&address).unwrap();
    push.send("after", 0).unwrap();
    assert_eq!(&next(&mut session).await.1.body[..], b"after");
}

/// Were it otherwise, resources need not refuse the fields of CURVE.
#[test]
fn libzmq_is_built_without_curve() {
    assert_eq!(zmq::has("curve"), Some(false));
}
