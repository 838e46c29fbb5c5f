//! Peers that send rubbish: the process stays, and the good ones are served.

use std::{io::Write, net::TcpStream, time::Duration};

use quorate_resources::Kind;
use quorate_supervisor::ConnectorState;
use zmq::SocketType;

use super::{
    peer::{Peer, socket},
    world::*,
};

/// ZMTP 3.0, no security.
fn greeting() -> Vec<u8> {
    let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];
    bytes.extend_from_slice(b"NULL");
    bytes.resize(64, 0);
    bytes
}

/// The command by which a socket says what it is.
fn ready(socket_type: &str) -> Vec<u8> {
    let mut command = b"\x05READY\x0bSocket-Type".to_vec();
    command.extend((socket_type.len() as u32).to_be_bytes());
    command.extend_from_slice(socket_type.as_bytes());
    let mut bytes = vec![4, command.len() as u8];
    bytes.extend(command);
    bytes
}

/// What strangers may send, each on a connection of its own. Some hold it open.
fn rubbish(socket_type: &str) -> Vec<Vec<u8>> {
    let greeted = |rest: &[u8]| [&greeting()[..], &ready(socket_type), rest].concat();
    vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0xff; 4096],
        vec![0; 4096],
        (0..100_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect(),
        // Half a greeting, and one of the wrong type.
        greeting()[..20].to_vec(),
        [&greeting()[..], &ready("PAIR")].concat(),
        [&greeting()[..], b"\x04\xff half a command"].concat(),
        // Half a frame; one that says to be longer than all memory; a flag that isn't one.
        greeted(b"\x00\x10half"),
        greeted(b"\x02\x7f\xff\xff\xff\xff\xff\xff\xff"),
        greeted(b"\xf8\x01x"),
        // More to come, and then nothing.
        greeted(b"\x01\x00\x01\x00"),
    ]
}

fn pour(address: &str, socket_type: &str) -> Vec<TcpStream> {
    let host = address.strip_prefix("tcp://").unwrap();
    rubbish(socket_type)
        .into_iter()
        .map(|bytes| {
            let mut stream = TcpStream::connect(host).unwrap();
            // It may be thrown out before it has said all.
            let _ = stream.write_all(&bytes);
            stream
        })
        .collect()
}

// guarantee: ZMQ-5
#[tokio::test(flavor = "multi_thread")]
async fn rubbish_on_a_bound_router_hurts_nobody_else() {
    let (name, address) = (unique("rubbish"), free_address());
    let member = running(Kind::ZmqChannel, channel(&name, "ROUTER", "bind", &address)).await;
    let pid = member.status(&name).unwrap().pid;
    let streams = pour(&address, "DEALER");
    let peer = Peer::start("dealer", "connect", &address, 300).await;
    drop(pour(&address, "DEALER"));
    peer.says("done").await;
    drop(streams);
    assert_eq!(peer.said("acked").len(), 300);
    assert_eq!(lost_and_repeated(&member.group, 300).0, 0);
    let status = member.status(&name).unwrap();
    assert_eq!((status.pid, status.state), (pid, ConnectorState::Active));
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_on_a_bound_pull_hurts_nobody_else() {
    let (name, address) = (unique("rubbish"), free_address());
    let member = running(Kind::ZmqChannel, channel(&name, "PULL", "bind", &address)).await;
    let pid = member.status(&name).unwrap().pid;
    let _streams = pour(&address, "PUSH");
    let _peer = Peer::start("push", "connect", &address, 300).await;
    let all = async || (lost_and_repeated(&member.group, 300).0 == 0).then_some(());
    eventually("all are handled", all).await;
    let status = member.status(&name).unwrap();
    assert_eq!((status.pid, status.state), (pid, ConnectorState::Active));
}

// guarantee: ZMQ-5
#[tokio::test(flavor = "multi_thread")]
async fn overlong_excessive_and_empty_messages_are_refused_singly() {
    let (name, address) = (unique("bounds"), free_address());
    let member = running(Kind::ZmqChannel, channel(&name, "ROUTER", "bind", &address)).await;
    let pid = member.status(&name).unwrap().pid;
    let told = tokio::task::spawn_blocking(move || {
        let dealer = socket(SocketType::DEALER);
        dealer.connect(&address).unwrap();
        let ask = |frames: Vec<Vec<u8>>| {
            dealer.send_multipart(frames, 0).unwrap();
            let answer = dealer.recv_multipart(0).unwrap();
            answer
                .iter()
                .map(|it| String::from_utf8_lossy(it).into_owned())
                .collect::<Vec<_>>()
        };
        let id = || b"id".to_vec();
        let mut told = vec![
            ask(vec![id()]),
            ask(vec![vec![]]),
            ask(vec![vec![], vec![], vec![]]),
            ask(vec![vec![7; 300], id()]),
            ask(vec![id(); 5000]),
            ask(vec![id(), vec![1; 40 << 20], vec![1; 40 << 20]]),
            // Ids and bodies may be any bytes.
            ask(vec![vec![0xff, 0, 10, 13], vec![]]),
        ];
        // A frame that is too long costs the connection.
        dealer
            .send_multipart([id(), vec![0; 100 << 20]], 0)
            .unwrap();
        let good = socket(SocketType::DEALER);
        good.connect(&address).unwrap();
        good.send_multipart(["last", "body"], 0).unwrap();
        let answer = good.recv_multipart(0).unwrap();
        told.push(
            answer
                .iter()
                .map(|it| String::from_utf8_lossy(it).into_owned())
                .collect(),
        );
        told
    });
    let told = told.await.unwrap();
    for refused in &told[..6] {
        assert_eq!(refused[refused.len() - 2], "NACK", "{refused:?}");
        assert!(!refused[refused.len() - 1].is_empty(), "{refused:?}");
    }
    assert!(told[5][2].contains("at most 64 MiB"), "{:?}", told[5]);
    assert_eq!(told[6][1], "ACK");
    assert_eq!(told[7], ["last", "ACK"]);
    member
        .when(&name, "both", |it| it.counts.handled == 2)
        .await;
    let calls = member.group.calls.lock();
    assert_eq!(calls[0].headers["quorate-message-id"], "%FF%00%0A%0D");
    drop(calls);
    let status = member.status(&name).unwrap();
    assert_eq!((status.pid, status.state), (pid, ConnectorState::Active));
}

/// A channel that connects to what isn't ZeroMQ says so, and goes on when it is.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_peer_type_is_reported_and_right_served() {
    let (name, address) = (unique("wrong"), free_address());
    let wrong = socket(SocketType::PUB);
    wrong.bind(&address).unwrap();
    let member = running(
        Kind::ZmqChannel,
        channel(&name, "PULL", "connect", &address),
    )
    .await;
    let told = member
        .when(&name, "an error", |it| it.last_error.is_some())
        .await;
    let error = told.last_error.unwrap();
    assert!(
        error.contains(&format!("the peer at {address} broke ZeroMQ's protocol")),
        "{error}"
    );
    drop(wrong);
    tokio::time::timeout(Duration::from_secs(30), async {
        let _peer = Peer::start("push", "bind", &address, 100).await;
        member
            .when(&name, "all", |it| it.counts.handled >= 100)
            .await;
    })
    .await
    .unwrap();
}
