//! The links against sockets of libzmq in the same process.

use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_proto::connector::{Header, Reply};
use serde_json::{Value, json};
use tokio::time::timeout;
use zmq::SocketType;

use super::{
    super::link::{
        Epitaph, Inlet, Link, Message, Outlet, Parcel, Sender, Sent, Session, Settler, Trouble,
    },
    Nothing, Zmq,
    frames::BYTES_MAX,
    inlet::Token,
    sender::Sending,
    session::Receiving,
};

const WAIT: Duration = Duration::from_secs(20);

/// A peer, and the address that it has bound.
fn peer(kind: SocketType) -> (zmq::Socket, String) {
    let socket = unbound(kind);
    socket.bind("tcp://127.0.0.1:*").unwrap();
    let address = socket.get_last_endpoint().unwrap().unwrap();
    (socket, address)
}

/// A peer that gives up after a while.
fn unbound(kind: SocketType) -> zmq::Socket {
    let socket = zmq::Context::new().socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(WAIT.as_millis() as i32).unwrap();
    socket.set_sndtimeo(WAIT.as_millis() as i32).unwrap();
    socket
}

/// An address that nobody has bound.
fn free_address() -> String {
    let (socket, address) = peer(SocketType::PULL);
    drop(socket);
    address
}

async fn link() -> Zmq {
    Zmq::connect(&Nothing {}, "test").await.unwrap()
}

fn resource(kind: &str, address: &str, method: &str) -> Value {
    json!({"name": "x", "service": "y", "address": address, "socket_type": kind, "method": method})
}

async fn try_inlet(resource: Value, prefetch: u16) -> Result<Receiving, Trouble> {
    let source = serde_json::from_value(resource).unwrap();
    Inlet::open(&link().await, &source, prefetch, Some(1)).await
}

async fn inlet(resource: Value, prefetch: u16) -> Receiving {
    try_inlet(resource, prefetch).await.unwrap()
}

async fn outlet(kind: &str, address: &str, method: &str) -> (Zmq, Sending) {
    let link = link().await;
    let target = serde_json::from_value(resource(kind, address, method)).unwrap();
    let sender = Outlet::open(&link, &target).await.unwrap();
    (link, sender)
}

async fn next(session: &mut Receiving) -> (Token, Message) {
    timeout(WAIT, session.next()).await.unwrap().unwrap()
}

fn property<'a>(message: &'a Message, name: &str) -> Option<&'a [u8]> {
    let found = message.properties.iter().find(|it| it.name == name);
    found.map(|it| &it.value[..])
}

fn reply(body: &'static str) -> Reply {
    Reply {
        content_type: String::new(),
        body: body.into(),
    }
}

fn epitaph() -> Epitaph {
    Epitaph {
        reason: "it broke".into(),
        attempts: 3,
        cid: "K1".into(),
        channel: "x".into(),
    }
}

fn parcel(id: &str, body: impl Into<Bytes>, within: Duration) -> Parcel {
    Parcel {
        message_id: id.into(),
        body: body.into(),
        within,
        ..Parcel::default()
    }
}

fn with(mut parcel: Parcel, name: &str, value: &'static str) -> Parcel {
    parcel.properties.push(Header {
        name: name.into(),
        value: value.into(),
    });
    parcel
}

/// Runs a peer's part beside the link's.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn texts(frames: &[Vec<u8>]) -> Vec<String> {
    let text = |frame: &Vec<u8>| String::from_utf8_lossy(frame).into_owned();
    frames.iter().map(text).collect()
}

#[tokio::test]
async fn pull_takes_what_is_pushed_as_it_is() {
    let (push, address) = peer(SocketType::PUSH);
    let mut session = inlet(resource("PULL", &address, "connect"), 10).await;
    beside(move || {
        push.send("one", 0).unwrap();
        push.send_multipart(["a", "", "bc"], 0).unwrap();
        push.send("", 0).unwrap();
        push.send(vec![0xff, 0x00], 0).unwrap();
        push
    })
    .await;
    let (_, one) = next(&mut session).await;
    assert_eq!((one.id.as_str(), &one.body[..]), ("", &b"one"[..]));
    assert!(one.properties.is_empty());
    let (_, three) = next(&mut session).await;
    assert_eq!(&three.body[..], b"abc");
    assert_eq!(property(&three, "frames"), Some(&b"1,0,2"[..]));
    assert!(next(&mut session).await.1.body.is_empty());
    assert_eq!(&next(&mut session).await.1.body[..], [0xff, 0x00]);
    session.close().await;
}

#[tokio::test]
async fn no_more_than_prefetch_are_in_flight() {
    let (push, address) = peer(SocketType::PUSH);
    let mut session = inlet(resource("PULL", &address, "connect"), 3).await;
    let _push = beside(move || {
        (0..10).for_each(|n: u32| push.send(&n.to_string(), 0).unwrap());
        push
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut session).await);
    }
    let fourth = timeout(Duration::from_millis(200), session.next()).await;
    assert!(fourth.is_err(), "a fourth came while three were in flight");
    drop(held.pop());
    assert_eq!(&next(&mut session).await.1.body[..], b"3");
}

#[tokio::test]
async fn sub_gets_its_topics_and_is_told_them() {
    let address = free_address();
    let mut of = resource("SUB", &address, "bind");
    of["sub_key"] = json!("orders");
    let mut session = inlet(of, 100).await;
    let publisher = unbound(SocketType::PUB);
    publisher.connect(&address).unwrap();
    // Until the subscription has come to the publisher, it sends to nobody.
    let (_token, first) = loop {
        publisher.send_multipart(["other", "no"], 0).unwrap();
        publisher
            .send_multipart([&b"orders\xff 1"[..], b"yes"], 0)
            .unwrap();
        if let Ok(it) = timeout(Duration::from_millis(20), session.next()).await {
            break it.unwrap();
        }
    };
    assert_eq!(&first.body[..], b"yes");
    assert_eq!(property(&first, "topic"), Some(&b"orders%FF%201"[..]));
    publisher.send("orders in one frame", 0).unwrap();
    loop {
        let (_, message) = next(&mut session).await;
        if property(&message, "topic").is_none() {
            assert_eq!(&message.body[..], b"orders in one frame");
            break;
        }
        assert_eq!(&message.body[..], b"yes");
    }
}

#[tokio::test]
async fn rep_answers_many_peers_at_once_and_a_failed_request_wedges_nothing() {
    let address = free_address();
    let mut session = inlet(resource("REP", &address, "bind"), 10).await;
    let ask = |text: &'static str| {
        let req = unbound(SocketType::REQ);
        req.connect(&address).unwrap();
        req.send(text, 0).unwrap();
        req
    };
    let (one, two, three) = (ask("one"), ask("two"), ask("three"));
    let settler = session.settler();
    let mut tokens = std::collections::BTreeMap::new();
    for _ in 0..3 {
        let (token, message) = next(&mut session).await;
        tokens.insert(message.body, token);
    }
    settler
        .reject(&tokens[&b"one"[..]], &epitaph())
        .await
        .unwrap();
    settler
        .ack(&tokens[&b"two"[..]], &reply("ok two"))
        .await
        .unwrap();
    settler
        .requeue(&tokens[&b"three"[..]], Duration::ZERO)
        .await
        .unwrap();
    tokens.clear();
    let failed = beside(move || {
        let answer: Value = serde_json::from_slice(&one.recv_bytes(0).unwrap()).unwrap();
        one.send("again", 0).unwrap();
        (one, answer)
    });
    let (one, failed) = failed.await;
    assert_eq!(failed["zato_env"]["result"], "ZATO_ERROR");
    assert_eq!(failed["zato_env"]["cid"], "K1");
    assert_eq!(failed["zato_env"]["details"], "it broke");
    assert_eq!(beside(move || two.recv_bytes(0).unwrap()).await, b"ok two");
    let again = beside(move || three.recv_string(0).unwrap().unwrap()).await;
    assert!(again.contains("send it again"), "{again}");
    let (token, message) = next(&mut session).await;
    assert_eq!(&message.body[..], b"again");
    settler.ack(&token, &reply("")).await.unwrap();
    assert!(beside(move || one.recv_bytes(0).unwrap()).await.is_empty());
}

#[tokio::test]
async fn router_acks_after_the_service_and_not_twice() {
    let address = free_address();
    let mut session = inlet(resource("ROUTER", &address, "bind"), 10).await;
    let dealer = unbound(SocketType::DEALER);
    dealer.connect(&address).unwrap();
    let settler = session.settler();
    dealer.send_multipart(["7", "body"], 0).unwrap();
    let (token, message) = next(&mut session).await;
    assert_eq!(
        (message.id.as_str(), &message.body[..]),
        ("7", &b"body"[..])
    );
    // Sent again while it is being handled: not handled twice, and acked once.
    dealer.send_multipart(["7", "body"], 0).unwrap();
    dealer.send_multipart(["", "8", "delimited"], 0).unwrap();
    let (other, message) = next(&mut session).await;
    assert_eq!(
        (message.id.as_str(), &message.body[..]),
        ("8", &b"delimited"[..])
    );
    settler.ack(&token, &reply("not sent")).await.unwrap();
    settler.reject(&other, &epitaph()).await.unwrap();
    drop((token, other));
    let (dealer, answers) = beside(move || {
        let answers = [
            dealer.recv_multipart(0).unwrap(),
            dealer.recv_multipart(0).unwrap(),
        ];
        (dealer, answers)
    })
    .await;
    assert_eq!(texts(&answers[0]), ["7", "ACK"]);
    assert_eq!(texts(&answers[1]), ["", "8", "NACK", "it broke"]);
    // Settled: sent again, it is handled again.
    dealer.send_multipart(["7", "body"], 0).unwrap();
    let (token, _) = next(&mut session).await;
    // Given back: no answer, and it may come again.
    settler.requeue(&token, Duration::ZERO).await.unwrap();
    drop(token);
    dealer.send_multipart(["7", "body"], 0).unwrap();
    let (token, _) = next(&mut session).await;
    // What is no message is refused, and the reason told.
    dealer.send_multipart(["9"], 0).unwrap();
    dealer.send_multipart(["9", "a", "b"], 0).unwrap();
    let (dealer, refused) = beside(move || {
        let refused = [
            dealer.recv_multipart(0).unwrap(),
            dealer.recv_multipart(0).unwrap(),
        ];
        (dealer, refused)
    })
    .await;
    for refused in refused {
        let refused = texts(&refused);
        assert_eq!(refused[..2], ["9", "NACK"]);
        assert!(refused[2].contains("must have two frames"), "{refused:?}");
    }
    // The peer is gone before its ack: it wasn't settled.
    drop(dealer);
    let deadline = Instant::now() + WAIT;
    while settler.ack(&token, &reply("")).await.is_ok() {
        assert!(
            Instant::now() < deadline,
            "an ack to nobody was taken for an ack"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_message_beyond_the_bound_is_refused_and_the_next_one_is_not() {
    let address = free_address();
    let mut session = inlet(resource("ROUTER", &address, "bind"), 2).await;
    let dealer = unbound(SocketType::DEALER);
    dealer.connect(&address).unwrap();
    let refused = beside(move || {
        let half = vec![0; BYTES_MAX / 2];
        dealer
            .send_multipart([b"1".to_vec(), half.clone(), half.clone(), half], 0)
            .unwrap();
        let refused = dealer.recv_multipart(0).unwrap();
        let many = std::iter::repeat_n("x", 1200);
        dealer.send_multipart(many, 0).unwrap();
        dealer.send_multipart(["2", "fits"], 0).unwrap();
        (dealer, refused)
    })
    .await;
    assert_eq!(texts(&refused.1)[1], "NACK");
    assert_eq!(&next(&mut session).await.1.body[..], b"fits");
}

#[tokio::test]
async fn push_is_confirmed_once_a_peer_takes_it_and_surely_not_sent_without_one() {
    let address = free_address();
    let (_link, sender) = outlet("PUSH", &address, "bind").await;
    let within = Duration::from_millis(200);
    let started = Instant::now();
    let none = sender.send(&parcel("1", "lost", within)).await;
    assert!(
        matches!(&none, Sent::NotSent(why) if why.contains("no peer took it at tcp://")),
        "{none:?}"
    );
    assert!(started.elapsed() < within + Duration::from_secs(1));
    let pull = unbound(SocketType::PULL);
    // One that waits goes out when a peer comes.
    let waiting = tokio::spawn({
        let sender = sender.clone();
        async move {
            sender
                .send(&with(parcel("2", "abc", WAIT), "frames", "1,2"))
                .await
        }
    });
    pull.connect(&address).unwrap();
    let sent = waiting.await.unwrap();
    assert_eq!(
        sent,
        Sent::Confirmed {
            message_id: "2".into(),
            reply: None
        }
    );
    let (pull, got) = beside(move || {
        let got = pull.recv_multipart(0).unwrap();
        (pull, got)
    })
    .await;
    assert_eq!(
        texts(&got),
        ["a", "bc"],
        "what was given up must not be sent"
    );
    let made_up = sender.send(&parcel("", "x", WAIT)).await;
    assert!(matches!(made_up, Sent::Confirmed { message_id, .. } if message_id.len() == 32));
    // What was confirmed leaves before the socket is closed.
    let large = parcel("", vec![7; 1 << 20], WAIT);
    for _ in 0..20 {
        let sent = sender.send(&large).await;
        assert!(matches!(sent, Sent::Confirmed { .. }), "{sent:?}");
    }
    sender.close().await;
    let left = move || {
        assert_eq!(pull.recv_bytes(0).unwrap(), b"x");
        (0..20).all(|_| pull.recv_bytes(0).is_ok_and(|it| it.len() == 1 << 20))
    };
    assert!(beside(left).await);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_with_its_name() {
    let (_link, sender) = outlet("PUSH", &free_address(), "bind").await;
    let good = || parcel("1", "x", Duration::from_secs(5));
    let mut headed = good();
    headed.headers.push(Header {
        name: "color".into(),
        value: "red".into(),
    });
    for (parcel, why) in [
        (
            with(good(), "routing-key", "x"),
            "\"routing-key\"; it knows frames",
        ),
        (
            with(good(), "topic", "x"),
            "can't send the property \"topic\"",
        ),
        (with(good(), "frames", "2"), "frames is \"2\""),
        (headed, "header \"color\""),
        (
            parcel("1", vec![0; BYTES_MAX + 1], WAIT),
            "at most 67108864",
        ),
    ] {
        let sent = sender.send(&parcel).await;
        assert!(
            matches!(&sent, Sent::Refused(said) if said.contains(why)),
            "{why}: {sent:?}"
        );
    }
    let (_link, sender) = outlet("DEALER", &free_address(), "bind").await;
    let sent = sender.send(&parcel(&"x".repeat(256), "", WAIT)).await;
    assert!(matches!(&sent, Sent::Refused(said) if said.contains("256 bytes; it may have 255")));
    let sent = sender.send(&with(good(), "frames", "1")).await;
    assert!(
        matches!(&sent, Sent::Refused(said) if said.contains("no property")),
        "{sent:?}"
    );
}

#[tokio::test]
async fn publishing_never_waits_and_carries_the_topic() {
    let address = free_address();
    let (_link, sender) = outlet("PUB", &address, "bind").await;
    let nobody = sender.send(&parcel("1", "x", WAIT)).await;
    assert!(matches!(nobody, Sent::Confirmed { .. }), "{nobody:?}");
    let sub = unbound(SocketType::SUB);
    sub.set_subscribe(b"orders eu").unwrap();
    sub.connect(&address).unwrap();
    let reading = tokio::task::spawn_blocking(move || sub.recv_multipart(0).unwrap());
    while !reading.is_finished() {
        let published = with(parcel("2", "news", WAIT), "topic", "orders%20eu");
        assert!(matches!(
            sender.send(&published).await,
            Sent::Confirmed { .. }
        ));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(texts(&reading.await.unwrap()), ["orders eu", "news"]);
}

#[tokio::test]
async fn requests_are_answered_many_at_a_time_each_with_its_own_reply() {
    let (rep, address) = peer(SocketType::REP);
    let (_link, sender) = outlet("REQ", &address, "connect").await;
    let serving = tokio::task::spawn_blocking(move || {
        for _ in 0..50 {
            let asked = rep.recv_bytes(0).unwrap();
            rep.send([b"re: ", &asked[..]].concat(), 0).unwrap();
        }
        rep
    });
    let asking: Vec<_> = (0..50)
        .map(|n| {
            let sender = sender.clone();
            tokio::spawn(async move { (n, sender.send(&parcel("", n.to_string(), WAIT)).await) })
        })
        .collect();
    for asked in asking {
        let (n, sent) = asked.await.unwrap();
        let Sent::Confirmed {
            reply: Some(reply), ..
        } = sent
        else {
            panic!("{sent:?}")
        };
        assert_eq!(reply.body, format!("re: {n}"));
    }
    // An answer that comes too late is not taken for that of the next request.
    let rep = serving.await.unwrap();
    let late = sender
        .send(&parcel("", "late", Duration::from_millis(100)))
        .await;
    assert!(
        matches!(&late, Sent::Unknown(why) if why.contains("did not answer within 100 ms")),
        "{late:?}"
    );
    let serving = tokio::task::spawn_blocking(move || {
        for answer in ["to late", "to next"] {
            rep.recv_bytes(0).unwrap();
            rep.send(answer, 0).unwrap();
        }
        rep
    });
    let sent = sender.send(&parcel("", "next", WAIT)).await;
    assert!(
        matches!(&sent, Sent::Confirmed { reply: Some(reply), .. } if reply.body == "to next"),
        "{sent:?}"
    );
    drop(serving.await.unwrap());
}

#[tokio::test]
async fn a_dealer_is_acked_refused_or_left_in_the_dark() {
    let (router, address) = peer(SocketType::ROUTER);
    let (_link, sender) = outlet("DEALER", &address, "connect").await;
    let serving = tokio::task::spawn_blocking(move || {
        loop {
            let mut frames = router.recv_multipart(0).unwrap();
            let body = frames.pop().unwrap();
            match &body[..] {
                b"good" => frames.push(b"ACK".to_vec()),
                b"bad" => frames.extend([b"NACK".to_vec(), b"too bad".to_vec()]),
                b"odd" => frames.push(b"HUH".to_vec()),
                b"end" => return router,
                _ => continue,
            }
            router.send_multipart(frames, 0).unwrap();
        }
    });
    let good = sender.send(&parcel("1", "good", WAIT)).await;
    assert_eq!(
        good,
        Sent::Confirmed {
            message_id: "1".into(),
            reply: None
        }
    );
    let bad = sender.send(&parcel("2", "bad", WAIT)).await;
    assert_eq!(bad, Sent::Refused("the peer refused it: too bad".into()));
    let short = Duration::from_millis(200);
    for body in ["odd", "ignored"] {
        let sent = sender.send(&parcel("3", body, short)).await;
        assert!(matches!(sent, Sent::Unknown(_)), "{sent:?}");
    }
    // The same id while the first is unanswered.
    let first = tokio::spawn({
        let sender = sender.clone();
        async move {
            sender
                .send(&parcel("4", "ignored", Duration::from_secs(1)))
                .await
        }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let twin = sender.send(&parcel("4", "ignored", short)).await;
    assert!(
        matches!(&twin, Sent::NotSent(why) if why.contains("the same id")),
        "{twin:?}"
    );
    assert!(matches!(first.await.unwrap(), Sent::Unknown(_)));
    let end = sender.send(&parcel("5", "end", short)).await;
    assert!(matches!(end, Sent::Unknown(_)), "{end:?}");
    drop(serving.await.unwrap());
    // The peer is gone: nothing is taken for sent.
    let gone = async || match sender.send(&parcel("6", "good", short)).await {
        Sent::NotSent(_) => true,
        Sent::Unknown(_) => false,
        other => panic!("{other:?}"),
    };
    let deadline = Instant::now() + WAIT;
    while !gone().await {
        assert!(
            Instant::now() < deadline,
            "messages to nobody are taken for sent"
        );
    }
}

#[tokio::test]
async fn closing_frees_the_address_and_tells_those_that_wait() {
    let address = free_address();
    let (_link, sender) = outlet("DEALER", &address, "bind").await;
    let refused = try_inlet(resource("ROUTER", &address, "bind"), 1)
        .await
        .err()
        .unwrap();
    assert!(refused.passing, "{refused:?}");
    let waiting = tokio::spawn({
        let sender = sender.clone();
        async move { sender.send(&parcel("1", "x", WAIT)).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    sender.clone().close().await;
    let told = waiting.await.unwrap();
    assert!(
        matches!(&told, Sent::NotSent(why) if why.contains("closed before it was sent")),
        "{told:?}"
    );
    let late = sender.send(&parcel("2", "x", WAIT)).await;
    assert!(matches!(late, Sent::NotSent(_)), "{late:?}");
    let session = inlet(resource("ROUTER", &address, "bind"), 1).await;
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

#[tokio::test]
async fn cancelling_stops_reading_and_answers_still_leave() {
    let address = free_address();
    let mut session = inlet(resource("ROUTER", &address, "bind"), 10).await;
    let dealer = unbound(SocketType::DEALER);
    dealer.connect(&address).unwrap();
    dealer.send_multipart(["1", "x"], 0).unwrap();
    let (token, _) = next(&mut session).await;
    session.cancel().await.unwrap();
    dealer.send_multipart(["2", "x"], 0).unwrap();
    let more = timeout(Duration::from_millis(200), session.next()).await;
    assert!(more.is_err(), "a message came after the end of consuming");
    session.settler().ack(&token, &reply("")).await.unwrap();
    session.close().await;
    let answer = beside(move || dealer.recv_multipart(0).unwrap()).await;
    assert_eq!(texts(&answer), ["1", "ACK"]);
}

/// libzmq never connects again to a peer that has broken the protocol.
#[tokio::test]
async fn a_peer_that_breaks_the_protocol_ends_a_connecting_socket() {
    // A PUB where a PUSH should be.
    let (_publisher, address) = peer(SocketType::PUB);
    let mut session = inlet(resource("PULL", &address, "connect"), 1).await;
    let ended = timeout(WAIT, session.next()).await.unwrap().err().unwrap();
    assert!(ended.text.contains("broke ZeroMQ's protocol"), "{ended:?}");
    let (link, sender) = outlet("PUSH", &address, "connect").await;
    let sent = sender.send(&parcel("1", "x", WAIT)).await;
    assert!(matches!(sent, Sent::NotSent(_)), "{sent:?}");
    let lost = timeout(WAIT, link.lost()).await.unwrap();
    assert!(
        link.is_lost() && lost.text.contains("broke ZeroMQ's protocol"),
        "{lost:?}"
    );
    // A frame beyond the bound.
    let (push, address) = peer(SocketType::PUSH);
    let mut session = inlet(resource("PULL", &address, "connect"), 1).await;
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
    let mut session = inlet(resource("PULL", &address, "connect"), 1).await;
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
