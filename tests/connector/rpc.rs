//! RPC over AMQP: a service that answers those who ask, and one that asks.

use std::time::Duration;

use futures_util::StreamExt;
use http::{HeaderMap, StatusCode};
use lapin::{
    BasicProperties, Consumer,
    options::{BasicConsumeOptions, BasicPublishOptions},
    types::{AMQPValue, FieldTable},
};
use quorate_clock::Instant;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::{Header, Send};
use quorate_resources::Kind;
use quorate_service::api::Reply;
use serde_json::json;
use tokio::time::timeout;

use super::world::*;

const DIRECT: &str = "amq.rabbitmq.reply-to";

/// A channel whose service answers who asks, through the outgoing `answers`.
async fn answering(queue: &str) -> (SimulatedMember, String) {
    let (broker, dead) = (broker().await, format!("{queue}-dead"));
    let client = broker.client().await;
    for queue in [queue, &dead] {
        client.declare(queue).await;
    }
    let group = group_with_channel(broker, queue);
    let mut channel = channel(queue);
    channel["on_failure"]["dead_letter"] = json!(dead);
    group.put(Kind::AmqpChannel, channel);
    group.put(
        Kind::AmqpOutgoing,
        json!({"name": "answers", "connection": "broker", "exchange": ""}),
    );
    group.behave(|call| {
        let mut headers = HeaderMap::new();
        headers.insert("quorate-send", "amqp_outgoing/answers".parse().unwrap());
        for (to, from) in [
            ("quorate-property-queue", "quorate-property-reply-to"),
            (
                "quorate-property-correlation-id",
                "quorate-property-correlation-id",
            ),
        ] {
            headers.insert(to, call.headers[from].clone());
        }
        let reply = Reply {
            status: StatusCode::OK,
            headers,
            body: format!("{} is answered", call.body).into(),
        };
        (Duration::ZERO, Ok(reply))
    });
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member.active(queue).await;
    member.active("answers").await;
    (member, dead)
}

/// Somebody who asks and waits on a channel of its own.
struct Asker {
    channel: lapin::Channel,
    replies: Consumer,
}

impl Asker {
    async fn new(client: &BrokerClient) -> Asker {
        let channel = client.connection().create_channel().await.unwrap();
        let options = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let replies = channel
            .basic_consume(DIRECT.into(), "".into(), options, FieldTable::default())
            .await
            .unwrap();
        Asker { channel, replies }
    }

    async fn ask(&self, queue: &str, id: &str) {
        let properties = BasicProperties::default()
            .with_reply_to(DIRECT.into())
            .with_correlation_id(id.into());
        let options = BasicPublishOptions::default();
        self.channel
            .basic_publish("".into(), queue.into(), options, id.as_bytes(), properties)
            .await
            .unwrap();
    }

    /// The next reply, and to what; `None`: none came for so long.
    async fn hears(&mut self, within: Duration) -> Option<(String, String)> {
        let reply = timeout(within, self.replies.next()).await.ok()??.unwrap();
        let to = reply.properties.correlation_id().as_ref().unwrap();
        let body = String::from_utf8_lossy(&reply.data).into_owned();
        Some((to.to_string(), body))
    }
}

// guarantee: SEND-2
#[tokio::test(flavor = "multi_thread")]
async fn direct_reply_is_sent_once_for_handled_request() {
    let queue = unique("rpc");
    let (member, dead) = answering(&queue).await;
    let client = broker().await.client().await;
    let mut asker = Asker::new(&client).await;
    for n in 0..20 {
        asker.ask(&queue, &n.to_string()).await;
    }
    let mut heard = std::collections::BTreeMap::new();
    while heard.len() < 20 {
        let (to, body) = asker.hears(WAIT).await.expect("a reply to each");
        assert_eq!(body, format!("{to} is answered"));
        assert!(heard.insert(to, body).is_none(), "answered once");
    }
    let seen = member
        .when(&queue, "handled", |status| status.counts.handled == 20)
        .await;
    assert_eq!((seen.counts.failed, seen.counts.retried), (0, 0));
    assert_eq!(member.group.calls.lock().len(), 20);
    assert_eq!(asker.hears(Duration::from_millis(500)).await, None);
    assert_eq!(client.count(&dead).await.0, 0);
}

/// Who has asked may be gone when the answer is there.
#[tokio::test(flavor = "multi_thread")]
async fn direct_reply_without_waiter_is_refused_and_reported() {
    let queue = unique("rpc-gone");
    let (member, dead) = answering(&queue).await;
    let client = broker().await.client().await;
    let asker = Asker::new(&client).await;
    asker.ask(&queue, "1").await;
    let address = {
        // What the service would answer to is taken from its call.
        eventually("asked", async || {
            let calls = member.group.calls.lock();
            let call = calls.first()?;
            Some(call.headers["quorate-property-reply-to"].clone())
        })
        .await
    };
    member
        .when(&queue, "answered", |status| status.counts.handled == 1)
        .await;
    let address = address.to_str().unwrap().to_owned();
    let send = async |address: &str| {
        let message = Send {
            properties: vec![Header {
                name: "queue".into(),
                value: address.to_owned().into(),
            }],
            body: "late".into(),
            cid: "K1".into(),
            ..Send::default()
        };
        let deadline = Instant::now() + Duration::from_secs(5);
        let sending = member
            .handle
            .send("amqp_outgoing", "answers", message, deadline);
        sending.await.unwrap()
    };
    let there = send(&address).await;
    assert!(matches!(there, SendOutcome::Confirmed { .. }), "{there:?}");
    asker.channel.close(200, "OK".into()).await.unwrap();
    let away = send(&address).await;
    assert!(
        matches!(&away, SendOutcome::Refused(why) if why.contains("waits no more")),
        "{away:?}"
    );

    // As an answer to a request: its service is not run again for it.
    let properties = BasicProperties::default()
        .with_reply_to(address.as_str().into())
        .with_correlation_id("2".into());
    client
        .publish_with(&queue, ["2".to_owned()], properties)
        .await;
    member
        .when(&queue, "given up", |status| status.counts.failed == 1)
        .await;
    assert_eq!(member.group.calls_by_body()["2"], 1);
    let letter = client.take(&dead).await.unwrap();
    let headers = letter.properties.headers().clone().unwrap();
    let AMQPValue::LongString(reason) = &headers.inner()["x-quorate-reason"] else {
        panic!()
    };
    let reason = String::from_utf8_lossy(reason.as_bytes()).into_owned();
    assert!(reason.contains("waits no more"), "{reason}");
}

/// The other direction: what is sent asks, and the answer comes by a channel.
#[tokio::test(flavor = "multi_thread")]
async fn outgoing_request_is_answered_through_a_channel() {
    let (broker, queue) = (broker().await, unique("rpc-answers"));
    let (requests, client) = (format!("{queue}-requests"), broker.client().await);
    for queue in [&queue, &requests] {
        client.declare(queue).await;
    }
    let group = group_with_channel(broker, &queue);
    group.put(
        Kind::AmqpOutgoing,
        json!({"name": "ask", "connection": "broker", "exchange": "", "routing_key": requests}),
    );
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    member.active(&queue).await;
    member.active("ask").await;
    let message = Send {
        properties: [("reply-to", queue.as_str()), ("correlation-id", "c-7")]
            .map(|(name, value)| Header {
                name: name.into(),
                value: value.to_owned().into(),
            })
            .to_vec(),
        body: "what time is it?".into(),
        cid: "K1".into(),
        ..Send::default()
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    let sent = member
        .handle
        .send("amqp_outgoing", "ask", message, deadline)
        .await;
    assert!(
        matches!(sent, Ok(SendOutcome::Confirmed { .. })),
        "{sent:?}"
    );

    // Whoever answers does as RPC has it.
    let request = client.take(&requests).await.unwrap();
    let told = &request.properties;
    let answer =
        BasicProperties::default().with_correlation_id(told.correlation_id().clone().unwrap());
    let to = told.reply_to().clone().unwrap();
    client
        .publish_with(to.as_str(), ["late".to_owned()], answer)
        .await;
    member
        .when(&queue, "answered", |status| status.counts.handled == 1)
        .await;
    let call = member.group.calls.lock().pop().unwrap();
    assert_eq!(call.body, "late");
    assert_eq!(call.headers["quorate-property-correlation-id"], "c-7");
}
