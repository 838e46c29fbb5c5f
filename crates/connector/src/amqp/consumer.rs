//! Consumer of a queue, and settling of its messages.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{BoxFuture, Fuse},
};
use lapin::{
    Acker, BasicProperties, Channel, Consumer, Error, ErrorKind,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicNackOptions, BasicRejectOptions,
        QueueDeclareOptions,
    },
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{FieldTable, ShortString},
};
use quorate_clock::Instant;
use quorate_proto::connector::Reply;
use quorate_resources::AmqpConnection;
use tokio::{
    sync::Mutex,
    time::{timeout, timeout_at},
};

use super::{
    super::broker_link::{
        ConnectorError, ConsumerSession, DeadLetterInfo, IncomingMessage, MessageAcknowledger,
    },
    connect::connect,
    message,
    publisher::{ConfirmPublisher, PublishOutcome, PublishRequest},
    refusal::is_refused,
    short_string::short,
    stream::StreamPosition,
    unreadable_message::unreadable,
};

/// Longest wait for the broker's confirm that the dead-letter queue has a message.
const CONFIRM: Duration = Duration::from_secs(10);
/// Part of the broker's text for a delivery that was not acknowledged in time, for which it has no
/// code of its own.
const ACK_TIMEOUT: &str = "delivery acknowledgement on channel";
/// Longest wait for the broker to stop a consumer.
const CANCEL: Duration = Duration::from_secs(5);

/// Consumer on a channel of its own.
pub(crate) struct AmqpConsumer {
    pub(super) channel: Channel,
    pub(super) consumer: Consumer,
    pub(super) tag: ShortString,
    pub(super) queue: String,
    pub(super) acknowledger: AmqpAcknowledger,
    /// Future that ends the session when others are found not to be kept off, or a stream to have
    /// begun anew.
    pub(super) fence_doubt: Fuse<BoxFuture<'static, ConnectorError>>,
    /// Position in the stream, of one.
    pub(super) position: Option<StreamPosition>,
}

/// Token of a delivery.
#[derive(Clone)]
pub(crate) struct AmqpDeliveryToken {
    acker: Acker,
    properties: Arc<BasicProperties>,
}

impl ConsumerSession for AmqpConsumer {
    const COMES_AGAIN: bool = true;
    type Token = AmqpDeliveryToken;
    type Acknowledger = AmqpAcknowledger;

    fn acknowledger(&self) -> AmqpAcknowledger {
        self.acknowledger.clone()
    }

    async fn next(&mut self) -> Result<(AmqpDeliveryToken, IncomingMessage), ConnectorError> {
        let (mut delivery, offset, unreadable) = loop {
            let next = tokio::select! {
                next = self.consumer.next() => next,
                error = &mut self.fence_doubt => return Err(error),
            };
            let mut delivery = match next {
                Some(Ok(delivery)) => delivery,
                Some(Err(error)) => return Err(ended(&self.queue, &error)),
                None => return Err(cancelled(&self.channel, &self.queue).await),
            };
            // First, since the offset is among the properties that can't be read otherwise.
            let unreadable = unreadable(&delivery.properties).map(|it| {
                delivery.properties = it.properties;
                it.reason
            });
            // Only of a stream: any producer can send such a header.
            let Some(position) = &mut self.position else {
                break (delivery, None, unreadable);
            };
            if let Some(offset) = position.next(message::offset(&delivery.properties)) {
                break (delivery, Some(offset), unreadable);
            }
            // Not here: an ack that is dropped halfway would leave the message unacknowledged.
            tokio::spawn(async move { delivery.acker.ack(BasicAckOptions::default()).await });
        };
        let body = Bytes::from(std::mem::take(&mut delivery.data));
        let message = IncomingMessage {
            offset,
            unreadable,
            ..message::read(&delivery, body)
        };
        let token = AmqpDeliveryToken {
            acker: delivery.acker,
            properties: Arc::new(delivery.properties),
        };
        Ok((token, message))
    }

    async fn cancel(&mut self) -> Result<(), ConnectorError> {
        let cancelling = self
            .channel
            .basic_cancel(self.tag.clone(), BasicCancelOptions::default());
        match timeout(CANCEL, cancelling).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(ConnectorError::new(format!(
                "can't stop consuming {:?}: {error}",
                self.queue
            ))),
            Err(_) => Err(ConnectorError::new(
                "the broker did not answer to the end of consuming",
            )),
        }
    }

    async fn close(self) {
        let _ = self.channel.close(200, "OK".into()).await;
    }
}

/// Returns why the broker has cancelled the consumer, as far as it reports that.
async fn cancelled(channel: &Channel, queue: &str) -> ConnectorError {
    let asking = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let there = match short(queue, "the queue's name") {
        Ok(name) => {
            let asked = channel.queue_declare(name, asking, FieldTable::default());
            timeout(CANCEL, asked).await.ok()
        }
        Err(_) => None,
    };
    let why = match there {
        Some(Ok(_)) => {
            "it is still there: its leader may have moved, or its node stopped".to_owned()
        }
        Some(Err(error)) if is_refused(&error, AMQPSoftError::NOTFOUND) => {
            format!("it is not there any more ({error})")
        }
        _ => "was it deleted, or its node stopped?".to_owned(),
    };
    ConnectorError::new(format!(
        "the broker has cancelled the consumer of {queue:?}: {why}"
    ))
}

/// Returns why the broker has ended the session.
fn ended(queue: &str, error: &Error) -> ConnectorError {
    if let ErrorKind::ProtocolError(refusal) = error.kind()
        && *refusal.kind() == AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED)
        && refusal.get_message().as_str().contains(ACK_TIMEOUT)
    {
        return ConnectorError::until_handled(format!(
            "the broker has taken back the messages of {queue:?}, since one was not acknowledged within the broker's consumer_timeout: shorten the waits in `on_failure` or the service's `timeout_ms`, or lengthen the broker's consumer_timeout ({})",
            refusal.get_message()
        ));
    }
    ConnectorError::new(format!("the consumer of {queue:?} has ended: {error}"))
}

/// Handle that settles deliveries.
#[derive(Clone)]
pub(crate) struct AmqpAcknowledger {
    broker: AmqpConnection,
    label: String,
    /// Publisher on a connection of its own, made at the first dead letter: a broker that is short
    /// of memory or disk reads nothing more from a connection that publishes, acks included.
    publisher: Arc<Mutex<Option<ConfirmPublisher>>>,
}

impl AmqpAcknowledger {
    /// Returns the handle of a session on the connection to this broker with this label.
    pub(super) fn new(broker: &AmqpConnection, label: &str) -> Self {
        AmqpAcknowledger {
            broker: broker.clone(),
            label: format!("{label} dead letters"),
            publisher: Arc::default(),
        }
    }

    async fn publisher(&self) -> Result<ConfirmPublisher, ConnectorError> {
        let mut publisher = self.publisher.lock().await;
        if let Some(publisher) = publisher.as_ref().filter(|it| !it.is_lost()) {
            return Ok(publisher.clone());
        }
        let (connection, _) = connect(&self.broker, &self.label).await?;
        Ok(publisher
            .insert(ConfirmPublisher::new(Arc::new(connection)))
            .clone())
    }
}

/// Converts lapin's result, which is `false` when the channel of the delivery is gone.
fn settled(result: Result<bool, Error>) -> Result<(), ConnectorError> {
    match result {
        Ok(true) => Ok(()),
        Ok(false) => Err(ConnectorError::transient("the delivery's channel is gone")),
        Err(error) => Err(ConnectorError::transient(error.to_string())),
    }
}

impl MessageAcknowledger for AmqpAcknowledger {
    type Token = AmqpDeliveryToken;

    async fn ack(&self, token: &AmqpDeliveryToken, _: &Reply) -> Result<(), ConnectorError> {
        settled(token.acker.ack(BasicAckOptions::default()).await)
    }

    async fn requeue(&self, token: &AmqpDeliveryToken, _: Duration) -> Result<(), ConnectorError> {
        settled(
            token
                .acker
                .nack(BasicNackOptions {
                    requeue: true,
                    multiple: false,
                })
                .await,
        )
    }

    async fn reject(
        &self,
        token: &AmqpDeliveryToken,
        _: &DeadLetterInfo,
    ) -> Result<(), ConnectorError> {
        settled(
            token
                .acker
                .reject(BasicRejectOptions { requeue: false })
                .await,
        )
    }

    async fn dead_letter(
        &self,
        token: &AmqpDeliveryToken,
        message: &IncomingMessage,
        queue: &str,
        info: &DeadLetterInfo,
    ) -> Result<(), ConnectorError> {
        let kept = |why: String| ConnectorError::new(why + "; the message is kept");
        let until = Instant::now() + CONFIRM;
        let publisher = timeout_at(until, self.publisher()).await.map_err(|_| {
            kept(format!(
                "the broker took no connection for the dead-letter queue {queue:?} within {} s",
                CONFIRM.as_secs()
            ))
        })??;
        let request = PublishRequest {
            exchange: ShortString::default(),
            routing_key: short(queue, "dead_letter")?,
            properties: message::dead_letter_properties(
                &token.properties,
                info,
                publisher.header_bytes_max(),
            ),
            body: message.body.clone(),
            mandatory: true,
        };
        let left = until.saturating_duration_since(Instant::now());
        match publisher.publish(request, left).await {
            PublishOutcome::Confirmed => Ok(()),
            PublishOutcome::Unroutable
            | PublishOutcome::MaybeHandedOver(_)
            | PublishOutcome::ReplyNotAwaited => Err(kept(format!(
                "there is no dead-letter queue {queue:?}: declare it at the broker"
            ))),
            PublishOutcome::Nacked => Err(kept(format!(
                "the dead-letter queue {queue:?} did not take a message: if it is full, make room in it"
            ))),
            PublishOutcome::Rejected(refusal) => Err(kept(format!(
                "the broker refuses to put a message into the dead-letter queue {queue:?}: {}",
                refusal.get_message()
            ))),
            PublishOutcome::TooLarge(bytes, most) => Err(kept(format!(
                "a message can't be put into the dead-letter queue {queue:?}: its properties take {bytes} bytes, and the broker takes {most}"
            ))),
            PublishOutcome::NotSent(why) | PublishOutcome::Unknown(why) => Err(kept(format!(
                "can't put a message into the dead-letter queue {queue:?}: {why}"
            ))),
        }
    }
}
