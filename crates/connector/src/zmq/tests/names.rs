//! Peers whose hosts are given by name.

use std::net::SocketAddr;

use super::{
    super::super::dial::tests::{black_hole, name},
    *,
};

fn socket_address(uri: &str) -> SocketAddr {
    uri.strip_prefix("tcp://").unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_address_that_swallows_everything_is_passed_by() {
    let (_socket, _taken, hole) = black_hole();
    let (push, address) = peer(SocketType::PUSH);
    name("pushing.test", vec![hole, socket_address(&address)]);
    let mut session = open_consumer(resource("PULL", "tcp://pushing.test:7", "connect"), 1).await;
    push.send("in", 0).unwrap();
    assert_eq!(&next(&mut session).await.1.body[..], b"in");

    let (pull, address) = peer(SocketType::PULL);
    name("pulling.test", vec![hole, socket_address(&address)]);
    let (_link, sender) = open_producer("PUSH", "tcp://pulling.test:7", "connect").await;
    let sent = sender.send(&message("1", "out", WAIT)).await;
    assert!(matches!(sent, SendOutcome::Confirmed { .. }), "{sent:?}");
    let got = beside(move || pull.recv_bytes(0).unwrap()).await;
    assert_eq!(got, b"out");
}

#[tokio::test]
async fn lost_peer_is_searched_at_current_addresses() {
    let (push, address) = peer(SocketType::PUSH);
    name("moving.test", vec![socket_address(&address)]);
    let mut session = open_consumer(resource("PULL", "tcp://moving.test:7", "connect"), 1).await;
    push.send("before", 0).unwrap();
    assert_eq!(&next(&mut session).await.1.body[..], b"before");
    drop(push);
    let (_socket, _taken, hole) = black_hole();
    let (push, address) = peer(SocketType::PUSH);
    name("moving.test", vec![hole, socket_address(&address)]);
    push.send("after", 0).unwrap();
    assert_eq!(&next(&mut session).await.1.body[..], b"after");
}

#[tokio::test]
async fn a_host_may_have_addresses_of_ipv6_alone() {
    let push = unbound(SocketType::PUSH);
    push.set_ipv6(true).unwrap();
    if push.bind("tcp://[::1]:*").is_err() {
        return println!("this machine has no IPv6");
    }
    let address = push.get_last_endpoint().unwrap().unwrap();
    name("six.test", vec![socket_address(&address)]);
    let mut session = open_consumer(resource("PULL", "tcp://six.test:7", "connect"), 1).await;
    push.send("six", 0).unwrap();
    assert_eq!(&next(&mut session).await.1.body[..], b"six");
}
