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
use quorate::{connector::ConnectorState, state::Kind};
use serde_json::json;

use super::{rabbitmq::Rabbit, world::*};

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
async fn what_is_no_broker_is_told_of_and_takes_no_memory() {
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
    let group = Group::new();
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
    let member = Member::start(&group, 1, 2000);
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
async fn a_broker_without_a_bound_for_frames_takes_no_memory() {
    let broker = Rabbit::start().await;
    let client = broker.client().await;
    broker
        .ctl(&["eval", "application:set_env(rabbit, frame_max, 0)."])
        .await;
    let queue = unique("frames");
    client.declare(&queue).await;
    let member = Member::consuming(&broker, &queue, 2000).await;
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
    let member = Member::consuming(broker, &queue, 2000).await;
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
    let short = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
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
    let publish = [&[0, 60, 0, 40, 0, 0][..], &short(""), &short(queue), &[0]];
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

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_can_not_be_read_is_told_of() {
    let (broker, queue) = (broker().await, unique("unreadable"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = Member::consuming(broker, &queue, 2000).await;
    publish_raw(broker.port(), &queue, CORRELATION_ID, b"\x02ok");
    member
        .when(&queue, "one that can be read", |status| {
            status.counts.handled == 1
        })
        .await;
    let paused = |paused: bool| {
        let mut channel = channel(&queue);
        channel["active"] = json!(!paused);
        member.group.put(Kind::AmqpChannel, channel);
    };
    paused(true);
    member
        .when(&queue, "paused", |status| {
            status.state == ConnectorState::Paused
        })
        .await;
    client.publish(&queue, bodies(3)).await;
    publish_raw(broker.port(), &queue, CORRELATION_ID, b"\x02\xff\xfe");
    client.publish(&queue, ["behind".to_owned()]).await;
    paused(false);
    let seen = member
        .when(&queue, "it is told", |status| says(status, "can't be read"))
        .await;
    println!("{}", seen.last_error.unwrap());
    // In between another reason is told: what is asked for behind such a message is not
    // answered. So both are not waited for at once.
    member
        .when(&queue, "it is tried again and again", |status| {
            status.counts.reconnects >= 4
        })
        .await;
    // Those before it are handled in the end, one at a time. Those behind it wait, but for
    // what the broker hands out in between: seen now and then, and no harm.
    eventually("those before it are handled", async || {
        let calls = member.group.calls_by_body();
        let mut bodies = bodies(3);
        bodies.all(|body| calls.contains_key(&body)).then_some(())
    })
    .await;
    // It is taken out with all that waits, as no client's library can read it. A purge leaves
    // what the broker has just handed out, which comes back: as long as it is told, again.
    let channel = client.connection().create_channel().await.unwrap();
    eventually("the next is handled", async || {
        let told = member
            .status(&queue)
            .is_some_and(|status| status.last_error.is_some());
        if told {
            let purging = channel.queue_purge(queue.as_str().into(), Default::default());
            purging.await.unwrap();
            client.publish(&queue, ["after".to_owned()]).await;
        }
        let calls = member.group.calls_by_body();
        (!told && calls.contains_key("after")).then_some(())
    })
    .await;
}

/// Tables in tables: what reads them must not run out of its stack.
#[tokio::test(flavor = "multi_thread")]
async fn deeply_nested_headers_end_no_process() {
    let (broker, queue) = (broker().await, unique("nested"));
    let client = broker.client().await;
    client.declare(&queue).await;
    let member = Member::consuming(broker, &queue, 2000).await;
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
