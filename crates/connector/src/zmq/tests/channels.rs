//! Messages in, and how they are settled.

use super::*;

#[tokio::test]
async fn pull_receives_messages_as_pushed() {
    let (push, address) = peer(SocketType::PUSH);
    let mut session = open_consumer(resource("PULL", &address, "connect"), 10).await;
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

// guarantee: MESSAGE-2
#[tokio::test]
async fn no_more_than_prefetch_are_in_flight() {
    let (push, address) = peer(SocketType::PUSH);
    let mut session = open_consumer(resource("PULL", &address, "connect"), 3).await;
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
async fn sub_receives_and_reports_its_topics() {
    let address = free_address();
    let mut of = resource("SUB", &address, "bind");
    of["sub_key"] = json!("orders");
    let mut session = open_consumer(of, 100).await;
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
async fn rep_answers_many_peers_despite_a_failed_request() {
    let address = free_address();
    let mut session = open_consumer(resource("REP", &address, "bind"), 10).await;
    let ask = |text: &'static str| {
        let req = unbound(SocketType::REQ);
        req.connect(&address).unwrap();
        req.send(text, 0).unwrap();
        req
    };
    let (one, two, three) = (ask("one"), ask("two"), ask("three"));
    let acknowledger = session.acknowledger();
    let mut tokens = std::collections::BTreeMap::new();
    for _ in 0..3 {
        let (token, message) = next(&mut session).await;
        tokens.insert(message.body, token);
    }
    acknowledger
        .reject(&tokens[&b"one"[..]], &info())
        .await
        .unwrap();
    acknowledger
        .ack(&tokens[&b"two"[..]], &reply("ok two"))
        .await
        .unwrap();
    acknowledger
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
    acknowledger.ack(&token, &reply("")).await.unwrap();
    assert!(beside(move || one.recv_bytes(0).unwrap()).await.is_empty());
}

// guarantee: ZMQ-1
#[tokio::test]
async fn router_acks_after_the_service_and_not_twice() {
    let address = free_address();
    let mut session = open_consumer(resource("ROUTER", &address, "bind"), 10).await;
    let dealer = unbound(SocketType::DEALER);
    dealer.connect(&address).unwrap();
    let acknowledger = session.acknowledger();
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
    acknowledger.ack(&token, &reply("not sent")).await.unwrap();
    acknowledger.reject(&other, &info()).await.unwrap();
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
    acknowledger.requeue(&token, Duration::ZERO).await.unwrap();
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
    while acknowledger.ack(&token, &reply("")).await.is_ok() {
        assert!(
            Instant::now() < deadline,
            "an ack to nobody was taken for an ack"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn only_the_message_beyond_bound_is_refused() {
    let address = free_address();
    let mut session = open_consumer(resource("ROUTER", &address, "bind"), 2).await;
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
async fn cancelling_stops_reading_and_answers_still_leave() {
    let address = free_address();
    let mut session = open_consumer(resource("ROUTER", &address, "bind"), 10).await;
    let dealer = unbound(SocketType::DEALER);
    dealer.connect(&address).unwrap();
    dealer.send_multipart(["1", "x"], 0).unwrap();
    let (token, _) = next(&mut session).await;
    session.cancel().await.unwrap();
    dealer.send_multipart(["2", "x"], 0).unwrap();
    let more = timeout(Duration::from_millis(200), session.next()).await;
    assert!(more.is_err(), "a message came after the end of consuming");
    session
        .acknowledger()
        .ack(&token, &reply(""))
        .await
        .unwrap();
    session.close().await;
    let answer = beside(move || dealer.recv_multipart(0).unwrap()).await;
    assert_eq!(texts(&answer), ["1", "ACK"]);
}
