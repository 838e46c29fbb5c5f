//! Outgoings: what a caller is told of a message, against what the broker has.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use lapin::{
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use quorate_clock::Instant;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::{Header, Send};
use quorate_resources::Kind;
use quorate_supervisor::ConnectorState;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::world::*;

const WITHIN: Duration = Duration::from_secs(5);

fn outgoing(name: &str, exchange: &str, routing_key: &str) -> Value {
    json!({"name": name, "connection": "broker", "exchange": exchange, "routing_key": routing_key})
}

/// A member that leads, with an outgoing of this name to the queue of the same name.
async fn sending(port: u16, name: &str) -> SimulatedMember {
    let group = SimulatedGroup::new();
    group.put(Kind::AmqpConnection, connection(port));
    group.put(Kind::AmqpOutgoing, outgoing(name, "", name));
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member.active(name).await;
    member
}

fn named(pairs: &[(&str, &str)]) -> Vec<Header> {
    let header = |(name, value): &(&str, &str)| Header {
        name: (*name).to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    pairs.iter().map(header).collect()
}

async fn send_within(
    member: &SimulatedMember,
    name: &str,
    properties: &[(&str, &str)],
    within: Duration,
) -> SendOutcome {
    let message = Send {
        properties: named(properties),
        body: Bytes::from_static(b"body"),
        cid: "K1".into(),
        ..Send::default()
    };
    let deadline = Instant::now() + within;
    let sent = member.handle.send("amqp_outgoing", name, message, deadline);
    sent.await.unwrap()
}

async fn send(member: &SimulatedMember, name: &str, properties: &[(&str, &str)]) -> SendOutcome {
    send_within(member, name, properties, WITHIN).await
}

fn refused(sent: SendOutcome, why: &[&str]) {
    let SendOutcome::Refused(said) = &sent else {
        panic!("{sent:?}")
    };
    for part in why {
        assert!(said.contains(part), "{said:?} says nothing of {part:?}");
    }
}

fn is_confirmed(sent: &SendOutcome) -> bool {
    matches!(sent, SendOutcome::Confirmed { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn message_arrives_as_sent() {
    let (broker, name) = (broker().await, unique("sent"));
    let client = broker.client().await;
    client.declare(&name).await;
    let member = sending(broker.port(), &name).await;
    let message = Send {
        message_id: "m-1".into(),
        content_type: "text/plain".into(),
        headers: named(&[("tenant", "a"), ("tenant", "b")]),
        properties: named(&[
            ("priority", "7"),
            ("correlation-id", "c-1"),
            ("type", "order"),
        ]),
        body: Bytes::from_static(b"hello"),
        cid: "K42".into(),
        ..Send::default()
    };
    let deadline = Instant::now() + WITHIN;
    let sent = member
        .handle
        .send("amqp_outgoing", &name, message, deadline);
    let Ok(SendOutcome::Confirmed { message_id, .. }) = sent.await else {
        panic!("not confirmed")
    };
    assert_eq!(message_id, "m-1");
    let got = client.take(&name).await.unwrap();
    assert_eq!(got.data, b"hello");
    let told = &got.properties;
    let text = |value: &Option<lapin::types::ShortString>| value.as_ref().unwrap().to_string();
    assert_eq!(text(told.message_id()), "m-1");
    assert_eq!(text(told.content_type()), "text/plain");
    assert_eq!(text(told.correlation_id()), "c-1");
    assert_eq!(text(told.kind()), "order");
    assert_eq!(
        (*told.priority(), *told.delivery_mode()),
        (Some(7), Some(2))
    );
    assert!(told.timestamp().is_some());
    let headers = told.headers().as_ref().unwrap().inner();
    assert_eq!(headers["tenant"], AMQPValue::LongString("a, b".into()));
    assert_eq!(
        headers["x-quorate-cid"],
        AMQPValue::LongString("K42".into())
    );
    // An id is made up where none is given.
    let SendOutcome::Confirmed { message_id, .. } = send(&member, &name, &[]).await else {
        panic!("not confirmed")
    };
    let got = client.take(&name).await.unwrap();
    assert_eq!(text(got.properties.message_id()), message_id);
    assert_eq!(message_id.len(), 32);
    let seen = member
        .when(&name, "both are counted", |status| status.counts.sent == 2)
        .await;
    assert_eq!((seen.counts.refused, seen.counts.unknown), (0, 0));
}

// guarantee: SEND-2
#[tokio::test(flavor = "multi_thread")]
async fn broker_refusal_names_the_remedy() {
    let (broker, name) = (broker().await, unique("refused"));
    let client = broker.client().await;
    client.declare(&name).await;
    let member = sending(broker.port(), &name).await;

    let nowhere = send(&member, &name, &[("routing-key", "nowhere")]).await;
    refused(
        nowhere,
        &["no queue takes", "default exchange", "\"nowhere\""],
    );
    let no_exchange = send(&member, &name, &[("exchange", "no-such")]).await;
    refused(
        no_exchange,
        &["no such exchange", "\"no-such\"", "declare it"],
    );
    let stranger = send(&member, &name, &[("user-id", "somebody")]).await;
    refused(stranger, &["user-id", "\"guest\""]);
    let unknown = send(&member, &name, &[("prority", "1")]).await;
    refused(unknown, &["no property `prority`", "priority"]);
    let wrong = send(&member, &name, &[("delivery-mode", "9")]).await;
    refused(wrong, &["`delivery-mode` is \"9\""]);
    let large = Send {
        headers: named(&[("large", &"x".repeat(140_000))]),
        ..Send::default()
    };
    let deadline = Instant::now() + WITHIN;
    let large = member.handle.send("amqp_outgoing", &name, large, deadline);
    refused(
        large.await.unwrap(),
        &["headers and properties take 140", "the broker takes 131"],
    );

    // A queue that is full and says so.
    let full = format!("{name}-full");
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert(
        "x-overflow".into(),
        AMQPValue::LongString("reject-publish".into()),
    );
    let channel = client.connection().create_channel().await.unwrap();
    let durable = QueueDeclareOptions::durable();
    channel
        .queue_declare(full.as_str().into(), durable, arguments)
        .await
        .unwrap();
    assert!(is_confirmed(
        &send(&member, &name, &[("queue", &full)]).await
    ));
    let over = send(&member, &name, &[("queue", &full)]).await;
    assert!(
        matches!(&over, SendOutcome::Full(why) if why.contains("reject-publish") && why.contains(&full)),
        "{over:?}"
    );

    // Without the permission to write.
    broker.ctl(&["add_user", &name, "password"]).await;
    broker
        .ctl(&["set_permissions", &name, ".*", "none", ".*"])
        .await;
    let mut other = connection(broker.port());
    other["username"] = json!(name);
    other["password"] = json!("password");
    member.group.put(Kind::AmqpConnection, other);
    eventually("it may not write", async || {
        let sent = send(&member, &name, &[]).await;
        matches!(&sent, SendOutcome::Refused(why) if why.contains("permission to write"))
            .then_some(())
    })
    .await;
    broker
        .ctl(&["set_permissions", &name, ".*", ".*", ".*"])
        .await;
    eventually("it may", async || {
        is_confirmed(&send(&member, &name, &[]).await).then_some(())
    })
    .await;
    let seen = member.active(&name).await;
    assert_eq!(seen.counts.unknown, 0);
}

/// One caller's wrong exchange, for which the broker closes a channel, and one's unroutable
/// message are nothing to the others.
// guarantee: SEND-2
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_sends_get_their_own_outcomes() {
    let (broker, name) = (broker().await, unique("many"));
    let client = broker.client().await;
    client.declare(&name).await;
    let channel = client.connection().create_channel().await.unwrap();
    channel
        .exchange_declare(
            format!("{name}-unbound").as_str().into(),
            lapin::ExchangeKind::Fanout,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let member = sending(broker.port(), &name).await;
    let unbound = format!("{name}-unbound");
    let began = Instant::now();
    let outcomes = join_all((0..1000).map(|n| {
        let (member, name, unbound) = (&member, &name, &unbound);
        async move {
            match n % 10 {
                3 => send(member, name, &[("exchange", "no-such")]).await,
                7 => send(member, name, &[("exchange", unbound)]).await,
                _ => send(member, name, &[]).await,
            }
        }
    }))
    .await;
    println!("1000 at a time, 200 of them refused: {:?}", began.elapsed());
    for (n, sent) in outcomes.into_iter().enumerate() {
        match n % 10 {
            3 => refused(sent, &["no such exchange"]),
            7 => refused(sent, &["no queue takes"]),
            _ => assert!(is_confirmed(&sent), "{n}: {sent:?}"),
        }
    }
    assert_eq!(client.count(&name).await.0, 800);
    let began = Instant::now();
    let outcomes = join_all((0..1000).map(|_| send(&member, &name, &[]))).await;
    println!("1000 at a time: {:?}", began.elapsed());
    assert!(outcomes.iter().all(is_confirmed));
    let began = Instant::now();
    client.publish(&name, bodies(1000)).await;
    println!("1000 at a time by the library alone: {:?}", began.elapsed());
}

/// A way to the broker that can be cut, or made silent from the broker's side.
struct Line {
    port: u16,
    silent: Arc<AtomicBool>,
    cut: watch::Sender<u64>,
}

impl Line {
    async fn to(broker: u16) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent = Arc::new(AtomicBool::new(false));
        let cut = watch::Sender::new(0);
        let (quiet, cuts) = (silent.clone(), cut.subscribe());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", broker)).await.unwrap();
                let ((mut from_near, mut to_near), (mut from_far, mut to_far)) =
                    (near.into_split(), far.into_split());
                let (quiet, mut cuts) = (quiet.clone(), cuts.clone());
                cuts.mark_unchanged();
                let cut_already = cuts.clone();
                let there = async move { tokio::io::copy(&mut from_near, &mut to_far).await };
                let back = async move {
                    let mut buffer = vec![0; 65536];
                    while let Ok(n @ 1..) = from_far.read(&mut buffer).await {
                        while quiet.load(SeqCst) {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                        // Cut while it was silent: nothing of what was held back gets out.
                        if cut_already.has_changed().unwrap_or(true)
                            || to_near.write_all(&buffer[..n]).await.is_err()
                        {
                            return;
                        }
                    }
                };
                tokio::spawn(async move {
                    tokio::select! {
                        _ = there => {}
                        () = back => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Line { port, silent, cut }
    }
}

// guarantee: SEND-2
#[tokio::test(flavor = "multi_thread")]
async fn message_possibly_at_broker_has_unknown_outcome() {
    let (broker, name) = (broker().await, unique("unknown"));
    let client = broker.client().await;
    client.declare(&name).await;
    let line = Line::to(broker.port()).await;
    let member = sending(line.port, &name).await;
    assert!(is_confirmed(&send(&member, &name, &[]).await));

    // It has it, and its confirm does not arrive in time.
    line.silent.store(true, SeqCst);
    let late = send_within(&member, &name, &[], Duration::from_millis(600)).await;
    assert!(
        matches!(&late, SendOutcome::Unknown(why) if why.contains("did not confirm in time")),
        "{late:?}"
    );
    line.silent.store(false, SeqCst);
    assert!(is_confirmed(&send(&member, &name, &[]).await));
    assert_eq!(client.count(&name).await.0, 3);

    // It has it, and the connection is lost before the confirm.
    line.silent.store(true, SeqCst);
    let cutting = async {
        eventually("the broker has it", async || {
            (client.count(&name).await.0 == 4).then_some(())
        })
        .await;
        line.cut.send_modify(|cuts| *cuts += 1);
        line.silent.store(false, SeqCst);
    };
    let (lost, ()) = tokio::join!(send(&member, &name, &[]), cutting);
    assert!(matches!(&lost, SendOutcome::Unknown(_)), "{lost:?}");
    assert!(is_confirmed(&send(&member, &name, &[]).await));
    assert_eq!(client.count(&name).await.0, 5);
    member
        .when(&name, "all are counted", |status| {
            (status.counts.sent, status.counts.unknown) == (3, 2)
        })
        .await;
}

// guarantee: SEND-2
#[tokio::test(flavor = "multi_thread")]
async fn unsent_messages_are_reported_and_recovered_broker_used() {
    let mut broker = RabbitBroker::start().await;
    let name = unique("not-sent");
    broker.client().await.declare(&name).await;
    let member = sending(broker.port(), &name).await;

    // Short of memory: the first message may get in before the broker says so.
    broker.ctl(&["set_vm_memory_high_watermark", "0"]).await;
    let first = send_within(&member, &name, &[], Duration::from_secs(1)).await;
    let second = send_within(&member, &name, &[], Duration::from_secs(1)).await;
    println!("while blocked: {first:?}, {second:?}");
    assert!(
        matches!(&second, SendOutcome::NotSent(why) if why.contains("has blocked the connection")),
        "{second:?}"
    );
    broker.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    assert!(is_confirmed(&send(&member, &name, &[]).await));

    broker.stop();
    member
        .when(&name, "it is told", |status| {
            status.state == ConnectorState::Failed
        })
        .await;
    let away = send_within(&member, &name, &[], Duration::from_millis(500)).await;
    assert!(matches!(&away, SendOutcome::NotSent(_)), "{away:?}");
    broker.up().await;
    // Waits until the outgoing can.
    let back = send_within(&member, &name, &[], WAIT).await;
    assert!(is_confirmed(&back), "{back:?}");
}
