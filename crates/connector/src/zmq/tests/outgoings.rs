//! Messages out, and what the sender is told.

use super::*;

// guarantee: ZMQ-4
#[tokio::test]
async fn push_without_peer_is_not_sent_otherwise_confirmed() {
    let address = free_address();
    let (_link, sender) = open_producer("PUSH", &address, "bind").await;
    let within = Duration::from_millis(200);
    let started = Instant::now();
    let none = sender.send(&message("1", "lost", within)).await;
    assert!(
        matches!(&none, SendOutcome::NotSent(why) if why.contains("no peer took it at tcp://")),
        "{none:?}"
    );
    assert!(started.elapsed() < within + Duration::from_secs(1));
    let pull = unbound(SocketType::PULL);
    // One that waits goes out when a peer comes.
    let waiting = tokio::spawn({
        let sender = sender.clone();
        async move {
            sender
                .send(&with(message("2", "abc", WAIT), "frames", "1,2"))
                .await
        }
    });
    pull.connect(&address).unwrap();
    let sent = waiting.await.unwrap();
    assert_eq!(
        sent,
        SendOutcome::Confirmed {
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
    let made_up = sender.send(&message("", "x", WAIT)).await;
    assert!(matches!(made_up, SendOutcome::Confirmed { message_id, .. } if message_id.len() == 32));
    // What was confirmed leaves before the socket is closed.
    let large = message("", vec![7; 1 << 20], WAIT);
    for _ in 0..20 {
        let sent = sender.send(&large).await;
        assert!(matches!(sent, SendOutcome::Confirmed { .. }), "{sent:?}");
    }
    sender.close().await;
    let left = move || {
        assert_eq!(pull.recv_bytes(0).unwrap(), b"x");
        (0..20).all(|_| pull.recv_bytes(0).is_ok_and(|it| it.len() == 1 << 20))
    };
    assert!(beside(left).await);
}

#[tokio::test]
async fn unsendable_property_is_refused_by_name() {
    let (_link, sender) = open_producer("PUSH", &free_address(), "bind").await;
    let good = || message("1", "x", Duration::from_secs(5));
    let mut headed = good();
    headed.headers.push(Header {
        name: "color".into(),
        value: "red".into(),
    });
    for (message, why) in [
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
            message("1", vec![0; BYTES_MAX + 1], WAIT),
            "at most 67108864",
        ),
    ] {
        let sent = sender.send(&message).await;
        assert!(
            matches!(&sent, SendOutcome::Refused(said) if said.contains(why)),
            "{why}: {sent:?}"
        );
    }
    let (_link, sender) = open_producer("DEALER", &free_address(), "bind").await;
    let sent = sender.send(&message(&"x".repeat(256), "", WAIT)).await;
    assert!(
        matches!(&sent, SendOutcome::Refused(said) if said.contains("256 bytes; it may have 255"))
    );
    let sent = sender.send(&with(good(), "frames", "1")).await;
    assert!(
        matches!(&sent, SendOutcome::Refused(said) if said.contains("no property")),
        "{sent:?}"
    );
}

#[tokio::test]
async fn publishing_never_waits_and_carries_the_topic() {
    let address = free_address();
    let (_link, sender) = open_producer("PUB", &address, "bind").await;
    let nobody = sender.send(&message("1", "x", WAIT)).await;
    assert!(
        matches!(nobody, SendOutcome::Confirmed { .. }),
        "{nobody:?}"
    );
    let sub = unbound(SocketType::SUB);
    sub.set_subscribe(b"orders eu").unwrap();
    sub.connect(&address).unwrap();
    let reading = tokio::task::spawn_blocking(move || sub.recv_multipart(0).unwrap());
    while !reading.is_finished() {
        let published = with(message("2", "news", WAIT), "topic", "orders%20eu");
        assert!(matches!(
            sender.send(&published).await,
            SendOutcome::Confirmed { .. }
        ));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(texts(&reading.await.unwrap()), ["orders eu", "news"]);
}

#[tokio::test]
async fn concurrent_requests_get_their_own_replies() {
    let (rep, address) = peer(SocketType::REP);
    let (_link, sender) = open_producer("REQ", &address, "connect").await;
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
            tokio::spawn(async move { (n, sender.send(&message("", n.to_string(), WAIT)).await) })
        })
        .collect();
    for asked in asking {
        let (n, sent) = asked.await.unwrap();
        let SendOutcome::Confirmed {
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
        .send(&message("", "late", Duration::from_millis(100)))
        .await;
    assert!(
        matches!(&late, SendOutcome::Unknown(why) if why.contains("did not answer in time")),
        "{late:?}"
    );
    let serving = tokio::task::spawn_blocking(move || {
        for answer in ["to late", "to next"] {
            rep.recv_bytes(0).unwrap();
            rep.send(answer, 0).unwrap();
        }
        rep
    });
    let sent = sender.send(&message("", "next", WAIT)).await;
    assert!(
        matches!(&sent, SendOutcome::Confirmed { reply: Some(reply), .. } if reply.body == "to next"),
        "{sent:?}"
    );
    drop(serving.await.unwrap());
}

#[tokio::test]
async fn dealer_gets_ack_refusal_or_unknown() {
    let (router, address) = peer(SocketType::ROUTER);
    let (_link, sender) = open_producer("DEALER", &address, "connect").await;
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
    let good = sender.send(&message("1", "good", WAIT)).await;
    assert_eq!(
        good,
        SendOutcome::Confirmed {
            message_id: "1".into(),
            reply: None
        }
    );
    let bad = sender.send(&message("2", "bad", WAIT)).await;
    assert_eq!(
        bad,
        SendOutcome::Refused("the peer refused it: too bad".into())
    );
    let short = Duration::from_millis(200);
    for body in ["odd", "ignored"] {
        let sent = sender.send(&message("3", body, short)).await;
        assert!(matches!(sent, SendOutcome::Unknown(_)), "{sent:?}");
    }
    // The same id while the first is unanswered.
    let first = tokio::spawn({
        let sender = sender.clone();
        async move {
            sender
                .send(&message("4", "ignored", Duration::from_secs(1)))
                .await
        }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let twin = sender.send(&message("4", "ignored", short)).await;
    assert!(
        matches!(&twin, SendOutcome::NotSent(why) if why.contains("the same id")),
        "{twin:?}"
    );
    assert!(matches!(first.await.unwrap(), SendOutcome::Unknown(_)));
    let end = sender.send(&message("5", "end", short)).await;
    assert!(matches!(end, SendOutcome::Unknown(_)), "{end:?}");
    drop(serving.await.unwrap());
    // The peer is gone: nothing is taken for sent.
    let gone = async || match sender.send(&message("6", "good", short)).await {
        SendOutcome::NotSent(_) => true,
        SendOutcome::Unknown(_) => false,
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
