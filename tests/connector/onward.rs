//! A service that answers a message with another one: `Quorate-Send`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderValue, StatusCode};
use lapin::types::{AMQPValue, FieldTable};
use nix::sys::signal::Signal;
use quorate_resources::Kind;
use quorate_service::api::Reply;
use quorate_state::OperatorAction;
use quorate_supervisor::{ConnectorState, ConnectorStatus};
use serde_json::json;

use super::{load::*, world::*};

/// A channel from a queue, an outgoing to another one, and a dead-letter queue.
struct Bed {
    client: BrokerClient,
    group: Arc<SimulatedGroup>,
    queue: String,
    out: String,
    dead: String,
}

impl Bed {
    async fn new() -> Bed {
        let (broker, queue) = (broker().await, unique("chained"));
        let (out, dead) = (format!("{queue}-out"), format!("{queue}-dead"));
        let client = broker.client().await;
        for queue in [&queue, &out, &dead] {
            client.declare(queue).await;
        }
        let group = group_with_channel(broker, &queue);
        // What waits for an outgoing waits as long as a call may take.
        group.put(
            Kind::Service,
            json!({"name": "store", "upstream": "http://127.0.0.1:9/", "timeout_ms": 2000}),
        );
        let mut channel = channel(&queue);
        channel["on_failure"]["dead_letter"] = json!(dead);
        group.put(Kind::AmqpChannel, channel);
        let bed = Bed {
            client,
            group,
            queue,
            out,
            dead,
        };
        bed.outgoing(&bed.out);
        let to = format!("amqp_outgoing/{}", bed.out);
        bed.answer(&[("quorate-send", &to), ("quorate-message-id", "m-1")]);
        bed
    }

    /// Declares the outgoing with this routing key.
    fn outgoing(&self, routing_key: &str) {
        let outgoing = json!({"name": self.out, "connection": "broker", "exchange": "",
                              "routing_key": routing_key});
        self.group.put(Kind::AmqpOutgoing, outgoing);
    }

    /// Lets the service answer with these headers, the body being the message's own.
    fn answer(&self, headers: &[(&'static str, &str)]) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                let name = http::HeaderName::from_static(name);
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect();
        self.group.behave(move |call| {
            let reply = Reply {
                status: StatusCode::OK,
                headers: headers.clone(),
                body: call.body.clone().into(),
            };
            (Duration::from_millis(2), Ok(reply))
        });
    }

    async fn lead(&self) -> SimulatedMember {
        let member = SimulatedMember::start(&self.group, 1, 500);
        member.lead(2);
        member.active(&self.queue).await;
        member.active(&self.out).await;
        member
    }

    /// Publishes one message, which must end in the dead-letter queue after its retries; gives
    /// the reason.
    async fn reason(&self, member: &SimulatedMember) -> String {
        self.reason_after(3, member).await
    }

    /// The same for one whose service runs so often.
    async fn reason_after(&self, runs: u32, member: &SimulatedMember) -> String {
        let (failed, ran) = (
            member.status(&self.queue).unwrap().counts.failed,
            self.group.calls.lock().len(),
        );
        self.client.publish(&self.queue, bodies(1)).await;
        member
            .when(&self.queue, "given up", |status| {
                status.counts.failed == failed + 1
            })
            .await;
        assert_eq!(self.group.calls.lock().len() - ran, runs as usize);
        let letter = self.client.take(&self.dead).await.unwrap();
        let headers = letter.properties.headers().clone().unwrap();
        assert_eq!(
            headers.inner()["x-quorate-attempts"],
            AMQPValue::LongUInt(runs)
        );
        match &headers.inner()["x-quorate-reason"] {
            AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
            other => panic!("{other:?}"),
        }
    }

    /// Takes what was sent so far; how often each.
    async fn sent(&self) -> BTreeMap<usize, usize> {
        let mut bodies = BTreeMap::new();
        self.take_sent(&mut bodies).await;
        bodies
    }

    async fn take_sent(&self, bodies: &mut BTreeMap<usize, usize>) {
        while let Some(message) = self.client.take(&self.out).await {
            let body = String::from_utf8_lossy(&message.delivery.data).into_owned();
            *bodies.entry(body.parse().unwrap()).or_default() += 1;
        }
    }

    /// Each message that was published was handled and sent; how often more than once. The
    /// last one may be under way yet: what a process says of that is as old as its last
    /// heartbeat.
    async fn complete(&self, published: usize) -> (usize, usize) {
        let mut sent = BTreeMap::new();
        let deadline = quorate_clock::Instant::now() + Duration::from_secs(10);
        let handled = loop {
            let handled = self.group.calls_by_body();
            self.take_sent(&mut sent).await;
            let missing: Vec<usize> = (0..published)
                .filter(|n| !sent.contains_key(n) || !handled.contains_key(&n.to_string()))
                .collect();
            if missing.is_empty() {
                break handled;
            }
            assert!(
                quorate_clock::Instant::now() < deadline,
                "lost of {published}: {missing:?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(self.client.count(&self.dead).await.0, 0);
        let again = |times: Vec<usize>| times.iter().map(|n| n - 1).sum();
        (
            again(handled.into_values().collect()),
            again(sent.into_values().collect()),
        )
    }
}

// guarantee: SEND-6
#[tokio::test(flavor = "multi_thread")]
async fn message_is_acked_after_its_reply_is_sent() {
    let bed = Bed::new().await;
    let member = bed.lead().await;
    bed.client.publish(&bed.queue, bodies(100)).await;
    let handled = member
        .when(&bed.queue, "handled", |status| status.counts.handled == 100)
        .await;
    assert_eq!((handled.counts.failed, handled.counts.retried), (0, 0));
    // The confirm comes before the ack, so they are all there by now.
    assert_eq!(bed.complete(100).await, (0, 0));
    member
        .when(&bed.out, "counted", |status| status.counts.sent == 100)
        .await;
}

// guarantee: MESSAGE-8, SEND-6
#[tokio::test(flavor = "multi_thread")]
async fn unsendable_reply_fails_message_with_reason() {
    let bed = Bed::new().await;
    let full = format!("{}-full", bed.out);
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert(
        "x-overflow".into(),
        AMQPValue::LongString("reject-publish".into()),
    );
    let channel = bed.client.connection().create_channel().await.unwrap();
    channel
        .queue_declare(
            full.as_str().into(),
            lapin::options::QueueDeclareOptions::durable(),
            arguments,
        )
        .await
        .unwrap();
    let member = bed.lead().await;
    let by = format!("refused by amqp_outgoing/{}", bed.out);
    let says = |reason: &str, texts: &[&str]| {
        for text in texts {
            assert!(reason.contains(text), "{text:?} is not in {reason:?}");
        }
    };

    bed.outgoing("nowhere");
    // Another try would be refused as well, and would run the service for nothing.
    says(
        &bed.reason_after(1, &member).await,
        &[&by, "no queue takes", "nowhere"],
    );

    bed.client.publish(&full, bodies(1)).await;
    bed.outgoing(&full);
    says(
        &bed.reason(&member).await,
        &[&by, "did not take the message"],
    );

    bed.outgoing(&bed.out);
    order(
        &bed.group,
        Kind::AmqpOutgoing,
        &bed.out,
        OperatorAction::Pause,
    );
    says(&bed.reason(&member).await, &["not sent", "it is paused"]);
    order(
        &bed.group,
        Kind::AmqpOutgoing,
        &bed.out,
        OperatorAction::Resume,
    );

    bed.answer(&[("quorate-send", "invoices")]);
    let reason = bed.reason_after(1, &member).await;
    says(&reason, &["Quorate-Send", "invoices", "KIND/NAME"]);

    bed.answer(&[("quorate-send", "amqp_outgoing/nobody")]);
    let reason = bed.reason(&member).await;
    says(
        &reason,
        &["amqp_outgoing/nobody", "there is no such outgoing"],
    );

    bed.answer(&[("quorate-send", &format!("amqp_channel/{}", bed.queue))]);
    says(&bed.reason(&member).await, &["there is no such outgoing"]);

    let to = format!("amqp_outgoing/{}", bed.out);
    bed.answer(&[("quorate-send", &to), ("quorate-property-colour", "red")]);
    says(&bed.reason_after(1, &member).await, &[&by, "colour"]);
    assert!(bed.sent().await.is_empty());
}

// guarantee: SEND-6
#[tokio::test(flavor = "multi_thread")]
async fn processes_killed_in_between_lose_nothing() {
    let bed = Bed::new().await;
    let member = bed.lead().await;
    let load = Load::start(broker().await, &bed.queue, Duration::from_millis(5)).await;
    let progress = async |more: usize| {
        let enough = bed.group.calls.lock().len() + more;
        eventually("more calls", async || {
            (bed.group.calls.lock().len() >= enough).then_some(())
        })
        .await;
    };
    for _ in 0..5 {
        for name in [&bed.out, &bed.queue] {
            progress(40).await;
            let pid = member.active(name).await.pid.unwrap();
            signal(pid, Signal::SIGKILL);
            let another = |status: &ConnectorStatus| {
                status.state == ConnectorState::Active && status.pid != Some(pid)
            };
            member.when(name, "another process", another).await;
        }
    }
    progress(40).await;
    let published = load.finish().await;
    drained(&bed.client, &member, &bed.queue).await;
    let (handled, sent) = bed.complete(published).await;
    println!("{published} messages through 10 kills: {handled} handled again, {sent} sent again");
    // Of each kill at most what was in flight comes again.
    assert!(handled <= 10 * 10 && sent <= 10 * 10);
}

// guarantee: SEND-6
#[tokio::test(flavor = "multi_thread")]
async fn takeovers_lose_nothing_and_a_transfer_repeats_nothing() {
    let bed = Bed::new().await;
    let one = bed.lead().await;
    let two = SimulatedMember::start(&bed.group, 2, 500);
    for name in [&bed.queue, &bed.out] {
        two.when(name, "standby", |status| {
            status.state == ConnectorState::Standby
        })
        .await;
    }
    let load = Load::start(broker().await, &bed.queue, Duration::from_millis(5)).await;
    let sound = Arc::new(AtomicBool::new(true));
    let (mut now, mut then, mut term) = (&one, &two, 2);
    for round in 0..6 {
        let enough = bed.group.calls.lock().len() + 60;
        eventually("more calls", async || {
            (bed.group.calls.lock().len() >= enough).then_some(())
        })
        .await;
        let began = quorate_clock::Instant::now();
        let planned = round % 2 == 0;
        let mut parted = None;
        if planned {
            parted = Some(now.handle.release(Duration::from_secs(5)).await);
            let took = began.elapsed();
            println!("released after {took:?}");
            sound.fetch_and(took < Duration::from_secs(2), Ordering::Relaxed);
        }
        term += 1;
        now.step_down(term);
        then.lead(term);
        then.active(&bed.queue).await;
        then.active(&bed.out).await;
        println!(
            "planned {planned}: at work elsewhere after {:?}",
            began.elapsed()
        );
        drop(parted);
        std::mem::swap(&mut now, &mut then);
    }
    let published = load.finish().await;
    drained(&bed.client, now, &bed.queue).await;
    let (handled, sent) = bed.complete(published).await;
    println!(
        "{published} messages through 6 takeovers: {handled} handled again, {sent} sent again"
    );
    assert!(sound.load(Ordering::Relaxed), "a release took too long");
    // Three were not planned; of each at most what was in flight comes again.
    assert!(handled <= 3 * 10 && sent <= 3 * 10);
}
