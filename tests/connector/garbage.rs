//! Brokers that are none, and messages that are hard to take.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    time::Duration,
};

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use quorate_resources::Kind;
use quorate_supervisor::ConnectorState;
use serde_json::json;

use super::world::*;

/// Sends this to whoever connects, so often, and then hangs up or says nothing more.
fn fake_broker(says: &'static [u8], times: usize, hangs_up: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let all_of_it = says.repeat(times);
            std::thread::spawn({
                let stream = stream.try_clone().unwrap();
                move || {
                    let _ = (&stream).write_all(&all_of_it);
                }
            })
            .join()
            .unwrap();
            if hangs_up {
                let _ = stream.flush();
                let _ = stream.shutdown(std::net::Shutdown::Both);
            } else {
                open.push(stream);
            }
        }
    });
    port
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let words = line.unwrap().split_whitespace();
    words.skip(1).flat_map(str::parse).next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn non_amqp_peer_is_reported_without_memory_growth() {
    // The type of a frame, its channel, its size; then its content.
    let half = b"\x01\x00\x00\x00\x00\x01\x00\x00\x0a\x00\x0a";
    let huge = b"\x01\x00\x00\xff\xff\xff\xff\x00\x0a\x00\x0a\x00\x09\x00\x00\x00\x10";
    let rubbish = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    let other = b"AMQP\x00\x01\x00\x00";
    let cases = [
        (
            "rubbish",
            fake_broker(rubbish, 1, true),
            "does not speak AMQP 0-9-1",
        ),
        (
            "other",
            fake_broker(other, 1, false),
            "does not speak AMQP 0-9-1",
        ),
        (
            "gone",
            fake_broker(half, 1, true),
            "ended the connection before it spoke AMQP",
        ),
        (
            "half",
            fake_broker(half, 1, false),
            "did not answer within 10 s",
        ),
        (
            "huge",
            fake_broker(huge, 1, false),
            "did not answer within 10 s",
        ),
        (
            "flood",
            fake_broker(&[0; 65536], 1024, false),
            "does not speak AMQP 0-9-1",
        ),
    ];
    let group = SimulatedGroup::new();
    group.put(
        Kind::Service,
        json!({"name": "store", "upstream": "http://127.0.0.1:9/"}),
    );
    for (name, port, _) in &cases {
        let mut connection = connection(*port);
        connection["name"] = json!(name);
        group.put(Kind::AmqpConnection, connection);
        let mut channel = channel(name);
        channel["connection"] = json!(name);
        group.put(Kind::AmqpChannel, channel);
    }
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    for (name, _, told) in cases {
        let seen = member
            .when(name, told, |status| {
                status.state == ConnectorState::Failed && says(status, told)
            })
            .await;
        let peak = resident_kib(seen.pid.unwrap());
        println!("{name}: {peak} KiB at most; {}", seen.last_error.unwrap());
        assert!(peak < 64 << 10, "{name}: {peak} KiB");
    }
}

/// A broker may set no bound for its frames; the process sets one of its own.
#[tokio::test(flavor = "multi_thread")]
async fn broker_without_frame_bound_causes_no_memory_growth() {
    let broker = RabbitBroker::start().await;
    let client = broker.client().await;
    broker
        .ctl(&["eval", "application:set_env(rabbit, frame_max, 0)."])
        .await;
    let queue = unique("frames");
    client.declare(&queue).await;
    let member = consuming_member(&broker, &queue, 2000).await;
    client.publish(&queue, bodies(10)).await;
    let seen = member
        .when(&queue, "handled", |status| status.counts.handled == 10)
        .await;
    assert!(resident_kib(seen.pid.unwrap()) < 64 << 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_and_many_headers_are_handled() {
    let (broker, queue) = (broker().await, unique("large"));
    let dead = format!("{queue}-dead");
    let client = broker.client().await;
    client.declare(&queue).await;
    client.declare(&dead).await;
    let member = consuming_member(broker, &queue, 2000).await;
    let mut with_dead_letter = channel(&queue);
    with_dead_letter["on_failure"] = json!({"retries": 0, "dead_letter": dead});
    member.group.put(Kind::AmqpChannel, with_dead_letter);
    member.group.behave(|call| {
        let code = if call.body == "poison" { 500 } else { 200 };
        (Duration::ZERO, status(code))
    });
    member.active(&queue).await;

    let large = "x".repeat(100 << 20);
    client.publish(&queue, [large]).await;
    let seen = member
        .when(&queue, "a large body is handled", |status| {
            status.counts.handled == 1
        })
        .await;
    let length = member.group.calls.lock().pop().unwrap().body.len();
    assert_eq!(length, 100 << 20);
    println!("100 MiB: {} KiB at most", resident_kib(seen.pid.unwrap()));

    let mut headers = FieldTable::default();
    for n in 0..10_000 {
        headers.insert(format!("{n:05}").into(), AMQPValue::LongString("v".into()));
    }
    let properties = BasicProperties::default().with_headers(headers);
    for body in ["many headers", "poison"] {
        client
            .publish_with(&queue, [body.to_owned()], properties.clone())
            .await;
    }
    member
        .when(&queue, "both are done", |status| {
            (status.counts.handled, status.counts.failed) == (2, 1)
        })
        .await;
    let call = member.group.calls.lock()[0].clone();
    assert_eq!(call.headers["quorate-headers-left-out"], "9936");
    assert!(call.headers.len() < 100, "{}", call.headers.len());
    let letter = client.take(&dead).await.unwrap();
    let headers = letter.properties.headers().clone().unwrap();
    assert_eq!(headers.inner().len(), 10_004);

    // As large as the broker takes; the reason must fit in as well.
    let mut headers = FieldTable::default();
    for n in 0..13 {
        let text = "v".repeat(10_000);
        headers.insert(format!("{n:05}").into(), AMQPValue::LongString(text.into()));
    }
    headers.insert(
        "bytes".into(),
        AMQPValue::LongString(vec![0xff; 700].into()),
    );
    let properties = BasicProperties::default().with_headers(headers);
    client
        .publish_with(&queue, ["poison".to_owned()], properties)
        .await;
    let seen = member
        .when(&queue, "it is buried", |status| status.counts.failed == 2)
        .await;
    let letter = client.take(&dead).await.unwrap();
    let headers = letter.properties.headers().clone().unwrap();
    assert_eq!(
        headers.inner()["x-quorate-headers-left-out"],
        AMQPValue::LongUInt(1)
    );
    assert!(headers.contains_key("bytes") && headers.contains_key("x-quorate-reason"));
    assert_eq!(seen.counts.handled, 2);
}

/// Publishes past what a client's library would send: raw properties behind these flags.
fn publish_raw(port: u16, queue: &str, flags: u16, properties: &[u8]) {
    publish_raw_to(port, "", queue.as_bytes(), flags, properties);
}

fn publish_raw_to(port: u16, exchange: &str, key: &[u8], flags: u16, properties: &[u8]) {
    let short_bytes = |text: &[u8]| [&[text.len() as u8], text].concat();
    let short = |text: &str| short_bytes(text.as_bytes());
    let long = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
    let frame = |kind: u8, channel: u8, content: &[u8]| {
        [&[kind, 0, channel], &*long(content), b"\xce"].concat()
    };
    let start_ok = [
        &[0, 10, 0, 11][..],
        &long(b""),
        &short("PLAIN"),
        &long(b"\0guest\0guest"),
        &short("en_US"),
    ];
    let tune_ok = [0, 10, 0, 31, 0x07, 0xff, 0, 2, 0, 0, 0, 0];
    let open = [&[0, 10, 0, 40][..], &short("/"), &short(""), &[0]];
    let channel_open = [&[0, 20, 0, 10][..], &short("")];
    let publish = [
        &[0, 60, 0, 40, 0, 0][..],
        &short(exchange),
        &short_bytes(key),
        &[0],
    ];
    let header = [
        &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4][..],
        &flags.to_be_bytes(),
        properties,
    ];
    let all = [
        b"AMQP\x00\x00\x09\x01".to_vec(),
        frame(1, 0, &start_ok.concat()),
        frame(1, 0, &tune_ok),
        frame(1, 0, &open.concat()),
        frame(1, 1, &channel_open.concat()),
        frame(1, 1, &publish.concat()),
        frame(2, 1, &header.concat()),
        frame(3, 1, b"poor"),
        // Close: the broker hangs up when it has seen it all.
        frame(1, 0, &[0, 10, 0, 50, 0, 200, 0, 0, 0, 0, 0]),
    ];
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(&all.concat()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

const HEADERS: u16 = 1 << 13;
const CORRELATION_ID: u16 = 1 << 10;

/// What one producer sends must not stop a queue.
// guarantee: MESSAGE-11
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_message_is_dead_lettered_others_flow() {
    let (broker, queue) = (broker().await, unique("unreadable"));
    let dead = format!("{queue}-dead");
    let client = broker.client().await;
    client.declare(&queue).await;
    client.declare(&dead).await;
    let member = consuming_member(broker, &queue, 2000).await;
    let mut with_dead_letter = channel(&queue);
    with_dead_letter["on_failure"]["dead_letter"] = json!(dead);
    member.group.put(Kind::AmqpChannel, with_dead_letter);
    member.active(&queue).await;
    // Each short string, and the name of a header. A value of a type that nobody knows is
    // refused by RabbitMQ itself.
    let short = |text: &[u8]| [&[text.len() as u8], text].concat();
    let table = |entry: &[u8]| [&(entry.len() as u32).to_be_bytes()[..], entry].concat();
    let bad = short(b"\xff\xfe\x01");
    let shorts = [15, 14, 10, 9, 7, 5, 3].map(|bit| (1 << bit, bad.clone()));
    let named = table(&[&short(b"b\xffd")[..], b"t\x01"].concat());
    let poor: Vec<(u16, Vec<u8>)> = shorts.into_iter().chain([(HEADERS, named)]).collect();
    let mut sent = 0;
    for (flags, properties) in &poor {
        client
            .publish(&queue, (sent..sent + 5).map(|n| n.to_string()))
            .await;
        sent += 5;
        publish_raw(broker.port(), &queue, *flags, properties);
    }
    let seen = member
        .when(&queue, "all are handled or dead-lettered", |status| {
            (status.counts.handled, status.counts.failed) == (sent, poor.len() as u64)
        })
        .await;
    assert_eq!((seen.counts.reconnects, seen.counts.dead_lettered), (0, 8));
    assert_eq!(seen.state, ConnectorState::Active);
    let calls = member.group.calls_by_body();
    assert!(calls.values().all(|times| *times == 1), "{calls:?}");
    assert!(!calls.contains_key("poor"));
    for _ in &poor {
        let letter = client.take(&dead).await.unwrap();
        assert_eq!(letter.data, b"poor");
        let headers = letter.properties.headers().clone().unwrap();
        let AMQPValue::LongString(reason) = &headers.inner()["x-quorate-reason"] else {
            panic!()
        };
        let reason = String::from_utf8_lossy(reason.as_bytes()).into_owned();
        println!("{reason}");
        assert!(reason.contains("can't be read"), "{reason}");
        assert!(headers.contains_key("x-quorate-raw-properties"));
        assert_eq!(
            headers.inner()["x-quorate-attempts"],
            AMQPValue::LongUInt(0)
        );
    }
}

/// A routing key may be of any bytes as well; without a dead-letter queue the broker's own
/// dead-letter exchange gets the message as it was.
// guarantee: MESSAGE-11
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_routing_key_stops_no_queue() {
    let (broker, queue) = (broker().await, unique("unreadable-key"));
    let dead = format!("{queue}-dead");
    let client = broker.client().await;
    client.declare(&dead).await;
    let dead_letters = [
        ("x-dead-letter-exchange", ""),
        ("x-dead-letter-routing-key", dead.as_str()),
    ];
    client.declare_with(&queue, &dead_letters).await;
    let channel = client.connection().create_channel().await.unwrap();
    channel
        .queue_bind(
            queue.as_str().into(),
            "amq.fanout".into(),
            "".into(),
            Default::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let member = consuming_member(broker, &queue, 2000).await;
    publish_raw_to(broker.port(), "amq.fanout", b"k\xffy", 0, b"");
    // The broker keeps no reason, so it is told here, until another one is handled.
    member
        .when(&queue, "it is rejected with its reason", |status| {
            status.counts.failed == 1 && says(status, "routing key or exchange is not UTF-8")
        })
        .await;
    client.publish(&queue, bodies(5)).await;
    let seen = member
        .when(&queue, "all are done", |status| {
            (status.counts.handled, status.counts.failed) == (5, 1) && status.last_error.is_none()
        })
        .await;
    assert_eq!(seen.counts.reconnects, 0);
    eventually("the broker has it", async || {
        (client.count(&dead).await.0 == 1).then_some(())
    })
    .await;
}

/// What was wrong once is no burden afterwards.
// guarantee: MESSAGE-11
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_message_does_not_slow_queue_afterwards() {
    let (broker, queue) = (broker().await, unique("unreadable-fast"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 2000).await;
    let took = async |from: u64| {
        let began = quorate_clock::Instant::now();
        client.publish(&queue, bodies(500)).await;
        member
            .when(&queue, "handled", |it| it.counts.handled == from + 500)
            .await;
        began.elapsed()
    };
    let before = took(0).await;
    publish_raw(broker.port(), &queue, CORRELATION_ID, b"\x02\xff\xfe");
    member
        .when(&queue, "given up", |status| status.counts.failed == 1)
        .await;
    let after = took(500).await;
    println!("500 messages: {before:?} before, {after:?} after");
    assert!(after < before * 3 + Duration::from_millis(500));
}

/// Tables in tables: what reads them must not run out of its stack.
#[tokio::test(flavor = "multi_thread")]
async fn deeply_nested_headers_end_no_process() {
    let (broker, queue) = (broker().await, unique("nested"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = consuming_member(broker, &queue, 2000).await;
    let before = member.status(&queue).unwrap().pid;
    // As many as fit into a frame.
    let mut array: Vec<u8> = Vec::new();
    for _ in 0..26_000 {
        let size = (array.len() as u32).to_be_bytes();
        array = [b"A", &size[..], &array].concat();
    }
    let entry = [b"\x01a", &*array].concat();
    let table = [&(entry.len() as u32).to_be_bytes(), &*entry].concat();
    publish_raw(broker.port(), &queue, HEADERS, &table);
    member
        .when(&queue, "handled", |status| status.counts.handled == 1)
        .await;
    let dead = format!("{queue}-dead");
    client.declare(&dead).await;
    let mut with_dead_letter = channel(&queue);
    with_dead_letter["on_failure"] = json!({"retries": 0, "dead_letter": dead});
    member.group.put(Kind::AmqpChannel, with_dead_letter);
    member.group.behave(|_| (Duration::ZERO, status(500)));
    publish_raw(broker.port(), &queue, HEADERS, &table);
    let seen = member
        .when(&queue, "buried", |status| status.counts.failed == 1)
        .await;
    assert_eq!(seen.pid, before);
}

/// What can't be dead-lettered yet is kept, also by a stream, which hands nothing out twice by
/// itself.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_stream_message_is_not_skipped() {
    let (broker, queue) = (broker().await, unique("unreadable-stream"));
    let dead = format!("{queue}-dead");
    let client = broker.client().await;
    client
        .declare_with(&queue, &[("x-queue-type", "stream")])
        .await;
    let group = SimulatedGroup::with_services();
    group.put(Kind::AmqpConnection, leased(broker.port()));
    let put = |active: bool| {
        let mut it = channel(&queue);
        it["on_failure"]["dead_letter"] = json!(dead);
        it["active"] = json!(active);
        group.put(Kind::AmqpChannel, it);
    };
    put(true);
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member.active(&queue).await;
    client.publish(&queue, bodies(5)).await;
    publish_raw(broker.port(), &queue, CORRELATION_ID, b"\x02\xff\xfe");
    client.publish(&queue, ["last".to_owned()]).await;
    // There is no such queue yet.
    member
        .when(&queue, "the others are handled", |status| {
            status.counts.handled == 6 && says(status, "no dead-letter queue")
        })
        .await;
    put(false);
    member
        .when(&queue, "paused", |it| it.state == ConnectorState::Paused)
        .await;
    client.declare(&dead).await;
    put(true);
    eventually("it is dead-lettered", async || {
        (client.count(&dead).await.0 == 1).then_some(())
    })
    .await;
    assert_eq!(client.take(&dead).await.unwrap().data, b"poor");
}
