//! Messages in RabbitMQ: published at an even rate with confirms, looked for in the end.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::json;

use super::{
    error::WorkloadError,
    http::put,
    workload_client::{SettledOperation, WorkloadClient},
};
use crate::{
    cancel::CancelToken,
    cluster::{SOON, api},
    run_context::RunContext,
};

/// Time limit for a confirm, after which nothing is known of the message.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(5);

/// Ids of the messages that were published, and of those confirmed so far.
#[derive(Default)]
pub struct PublishedMessages {
    next: AtomicU64,
    confirmed: Mutex<BTreeSet<String>>,
}

impl PublishedMessages {
    /// Returns the ids that the broker has confirmed.
    pub fn confirmed(&self) -> BTreeSet<String> {
        self.confirmed.lock().clone()
    }
}

/// Declares durable queues of this type.
pub async fn declare(uri: &str, queues: &[&str], kind: &str) -> Result<(), WorkloadError> {
    let channel = channel(uri).await?;
    for queue in queues {
        let options = QueueDeclareOptions::durable();
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
        channel
            .queue_declare((*queue).into(), options, arguments)
            .await?;
    }
    Ok(())
}

/// Returns the path at any member for messages to an outgoing.
pub fn send_path(outgoing: &str) -> String {
    format!("/v1/outgoing/amqp_outgoing/{outgoing}/send")
}

/// Declares an outgoing to a queue, and has each member send a first message by it.
pub async fn outgoing(context: &RunContext, name: &str, queue: &str) -> Result<(), WorkloadError> {
    let broker = context.broker.as_ref().ok_or(WorkloadError::NoBroker)?;
    let (host, port) = broker.address;
    let connection = json!({
        "host": host.to_string(), "port": port, "username": "guest",
        "password": "guest", "fence": "lease",
    });
    put(context, "amqp_connection", "chaos-broker", &connection).await?;
    let outgoing = json!({"connection": "chaos-broker", "exchange": "", "routing_key": queue});
    put(context, "amqp_outgoing", name, &outgoing).await?;
    for member in &context.cluster.members {
        let url = member.admin(&send_path(name));
        api::until("a message that is sent", SOON, || async {
            api::accepted(Method::POST, &url, "first".to_owned()).await
        })
        .await?;
    }
    Ok(())
}

/// A channel with confirms on a connection of its own.
pub async fn channel(uri: &str) -> Result<Channel, lapin::Error> {
    let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

/// Publishes to a queue until it is cancelled. Messages are their ids.
pub async fn publish(
    context: Arc<RunContext>,
    published: Arc<PublishedMessages>,
    queue: String,
    number: u64,
    pause: Duration,
    cancel: CancelToken,
) {
    let mut client = WorkloadClient::elsewhere(&context, number);
    let uri = context.broker.as_ref().map(|broker| broker.uri.clone());
    let uri = uri.unwrap_or_default();
    let mut open: Option<Channel> = None;
    while !cancel.cancelled_within(pause).await {
        let Some(now) = &open else {
            let tried = tokio::time::timeout(CONFIRMED_WITHIN, channel(&uri)).await;
            open = tried.ok().and_then(Result::ok);
            continue;
        };
        let n = published.next.fetch_add(1, Ordering::Relaxed);
        let id = format!("{queue}-{n:06}");
        let invoked = client.invoke("publish", Some(&queue), json!(id));
        let settled = match tokio::time::timeout(CONFIRMED_WITHIN, send(now, &queue, &id)).await {
            Ok(Ok(Confirmation::Ack(None))) => {
                published.confirmed.lock().insert(id);
                SettledOperation::ok(None, None)
            }
            other => {
                // A message in it may or may not be in the queue: it is not used again.
                open = None;
                SettledOperation::info(format!("{other:?}"))
            }
        };
        client.settle(invoked, settled);
    }
}

async fn send(channel: &Channel, queue: &str, id: &str) -> Result<Confirmation, lapin::Error> {
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    let properties = BasicProperties::default().with_delivery_mode(2);
    let body = id.as_bytes();
    let confirm = channel.basic_publish("".into(), queue.into(), options, body, properties);
    confirm.await?.await
}

/// Takes out what is ready in queues.
pub async fn take_all(uri: &str, queues: &[&str]) -> Result<Vec<String>, WorkloadError> {
    let channel = channel(uri).await?;
    let mut all = Vec::new();
    for queue in queues {
        let get = || channel.basic_get((*queue).into(), BasicGetOptions::default());
        while let Some(message) = get().await? {
            all.push(String::from_utf8_lossy(&message.data).into_owned());
            message.acker.ack(BasicAckOptions::default()).await?;
        }
    }
    Ok(all)
}
