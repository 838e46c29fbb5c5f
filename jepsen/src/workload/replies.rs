//! Workload of replies by `amqp_outgoing` to a client that waits for RabbitMQ's direct replies.
//!
//! RabbitMQ hands them over and returns them each time. What was told of each is compared in the
//! end with what that client has got.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use lapin::{
    BasicProperties, Channel, Consumer,
    message::DeliveryResult,
    options::{BasicConsumeOptions, BasicGetOptions, BasicPublishOptions},
    types::FieldTable,
};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::json;

use super::{
    amqp,
    contract::Workload,
    error::WorkloadError,
    workload_client::{SettledOperation, WorkloadClient, clients},
};
use crate::{cancel::CancelToken, pinned_client::RequestOutcome, run_context::RunContext};

/// Queue by which the receiver finds out its address.
const QUEUE: &str = "questions";
const DIRECT: &str = "amq.rabbitmq.reply-to";
const OUTGOING: &str = "chaos-replies";

/// Workload of direct replies.
#[derive(Default)]
pub struct RepliesWorkload {
    next: Arc<AtomicU64>,
    asker: Mutex<Option<Arc<ReplyReceiver>>>,
}

/// Receiver of direct replies, on a channel that lives as long as it.
struct ReplyReceiver {
    address: String,
    received: Arc<Mutex<Vec<String>>>,
    _channel: Channel,
    _consumer: Consumer,
}

impl ReplyReceiver {
    async fn start(uri: &str) -> Result<ReplyReceiver, WorkloadError> {
        amqp::declare(uri, &[QUEUE], "classic").await?;
        let started = ReplyReceiver::waiting(uri).await?;
        started.ok_or(WorkloadError::NoReplyAddress)
    }

    async fn waiting(uri: &str) -> Result<Option<ReplyReceiver>, lapin::Error> {
        let channel = amqp::channel(uri).await?;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let consumer = channel
            .basic_consume(DIRECT.into(), "".into(), options, FieldTable::default())
            .await?;
        let received: Arc<Mutex<Vec<String>>> = Arc::default();
        let receiving = received.clone();
        consumer.set_delegate(move |delivery: DeliveryResult| {
            let received = receiving.clone();
            async move {
                if let Ok(Some(delivery)) = delivery {
                    let body = String::from_utf8_lossy(&delivery.data).into_owned();
                    received.lock().push(body);
                }
            }
        });
        let properties = BasicProperties::default().with_reply_to(DIRECT.into());
        let options = BasicPublishOptions::default();
        channel
            .basic_publish("".into(), QUEUE.into(), options, b"question", properties)
            .await?
            .await?;
        let options = BasicGetOptions { no_ack: true };
        let question = channel.basic_get(QUEUE.into(), options).await?;
        let address = question.and_then(|it| it.properties.reply_to().clone());
        Ok(address.map(|address| ReplyReceiver {
            address: address.to_string(),
            received,
            _channel: channel,
            _consumer: consumer,
        }))
    }
}

#[async_trait]
impl Workload for RepliesWorkload {
    async fn prepare(&self, context: &Arc<RunContext>) -> Result<(), WorkloadError> {
        let broker = context.broker.as_ref().ok_or(WorkloadError::NoBroker)?;
        let asker = ReplyReceiver::start(&broker.uri).await?;
        // The first messages go into the queue: they are not for who waits.
        amqp::outgoing(context, OUTGOING, QUEUE).await?;
        *self.asker.lock() = Some(Arc::new(asker));
        Ok(())
    }

    async fn work(&self, context: &Arc<RunContext>, cancel: &CancelToken) {
        let Some(asker) = self.asker.lock().clone() else {
            return;
        };
        clients(context, |mut client| {
            let (next, cancel, asker) = (self.next.clone(), cancel.clone(), asker.clone());
            async move {
                while !client.rests(&cancel).await {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    reply(&mut client, &asker.address, n).await;
                }
            }
        })
        .await;
    }

    async fn left(&self, _: &Arc<RunContext>) -> Option<Vec<String>> {
        let asker = self.asker.lock().clone()?;
        let received = asker.received.lock().clone();
        Some(received)
    }
}

async fn reply(client: &mut WorkloadClient, to: &str, n: u64) {
    let id = format!("reply-{n:06}");
    let headers = [
        ("quorate-property-queue", to.to_owned()),
        ("quorate-idempotency-key", id.clone()),
    ];
    let url = client.member.admin(&amqp::send_path(OUTGOING));
    let invoked = client.invoke("send", Some("replies"), json!(id));
    let outcome = client.http.ask(Method::POST, &url, &headers, id).await;
    let settled = match &outcome {
        RequestOutcome::Answer(it) if it.status == 200 => SettledOperation::ok(None, it.revision),
        // Nobody has it, it says.
        RequestOutcome::Answer(it) if it.code.as_deref() == Some("refused") => {
            SettledOperation::fail(it.describe(), it.revision)
        }
        _ => SettledOperation::unless_done(&outcome),
    };
    client.settle(invoked, settled);
}
