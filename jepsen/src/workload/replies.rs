//! Replies that are sent by `amqp_outgoing` to somebody who waits for direct replies of
//! RabbitMQ, which hands them over and returns them each time. What was told of each is
//! compared in the end with what that one has got.

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
    pace::{Client, Settled, clients},
};
use crate::{client::Outcome, run_context::Bed, stop::Stop};

/// By which who waits finds out its address.
const QUEUE: &str = "questions";
const DIRECT: &str = "amq.rabbitmq.reply-to";
const OUTGOING: &str = "chaos-replies";

/// The workload.
#[derive(Default)]
pub struct Replies {
    next: Arc<AtomicU64>,
    asker: Mutex<Option<Arc<Asker>>>,
}

/// Who waits, on a channel that lives as long as it.
struct Asker {
    address: String,
    received: Arc<Mutex<Vec<String>>>,
    _channel: Channel,
    _consumer: Consumer,
}

impl Asker {
    async fn start(uri: &str) -> Result<Asker, WorkloadError> {
        amqp::declare(uri, &[QUEUE], "classic").await?;
        let started = Asker::waiting(uri).await?;
        started.ok_or(WorkloadError::NoReplyAddress)
    }

    async fn waiting(uri: &str) -> Result<Option<Asker>, lapin::Error> {
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
        Ok(address.map(|address| Asker {
            address: address.to_string(),
            received,
            _channel: channel,
            _consumer: consumer,
        }))
    }
}

#[async_trait]
impl Workload for Replies {
    async fn prepare(&self, bed: &Arc<Bed>) -> Result<(), WorkloadError> {
        let broker = bed.broker.as_ref().ok_or(WorkloadError::NoBroker)?;
        let asker = Asker::start(&broker.uri).await?;
        // The first messages go into the queue: they are not for who waits.
        amqp::outgoing(bed, OUTGOING, QUEUE).await?;
        *self.asker.lock() = Some(Arc::new(asker));
        Ok(())
    }

    async fn work(&self, bed: &Arc<Bed>, stop: &Stop) {
        let Some(asker) = self.asker.lock().clone() else {
            return;
        };
        clients(bed, |mut client| {
            let (next, stop, asker) = (self.next.clone(), stop.clone(), asker.clone());
            async move {
                while !client.rests(&stop).await {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    reply(&mut client, &asker.address, n).await;
                }
            }
        })
        .await;
    }

    async fn left(&self, _: &Arc<Bed>) -> Option<Vec<String>> {
        let asker = self.asker.lock().clone()?;
        let received = asker.received.lock().clone();
        Some(received)
    }
}

async fn reply(client: &mut Client, to: &str, n: u64) {
    let id = format!("reply-{n:06}");
    let headers = [
        ("quorate-property-queue", to.to_owned()),
        ("quorate-idempotency-key", id.clone()),
    ];
    let url = client.member.admin(&amqp::send_path(OUTGOING));
    let invoked = client.invoke("send", Some("replies"), json!(id));
    let outcome = client.http.ask(Method::POST, &url, &headers, id).await;
    let settled = match &outcome {
        Outcome::Answer(it) if it.status == 200 => Settled::ok(None, it.revision),
        // Nobody has it, it says.
        Outcome::Answer(it) if it.code.as_deref() == Some("refused") => {
            Settled::fail(it.told(), it.revision)
        }
        _ => Settled::unless_done(&outcome),
    };
    client.settle(invoked, settled);
}
