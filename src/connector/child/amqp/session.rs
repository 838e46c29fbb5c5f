//! Consuming, and settling what came.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::{
    Acker, BasicProperties, Channel, Confirmation, Connection, Consumer, Error,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicNackOptions, BasicPublishOptions,
        BasicRejectOptions, ConfirmSelectOptions,
    },
    types::ShortString,
};
use quorate_proto::connector::Reply;
use tokio::{sync::Mutex, time::timeout};

use super::{
    super::link::{Epitaph, Message, Session, Settler, Trouble},
    message, short,
};

/// The longest wait for the dead-letter queue to have a message: for the channel, for the
/// broker to read it, and for its confirm.
const CONFIRM: Duration = Duration::from_secs(10);
/// The longest wait for the broker to stop a consumer.
const CANCEL: Duration = Duration::from_secs(5);

/// A consumer on a channel of its own.
pub struct Consuming {
    pub(super) channel: Channel,
    pub(super) consumer: Consumer,
    pub(super) tag: ShortString,
    pub(super) queue: String,
    pub(super) settler: Hand,
}

/// A delivery, as the broker knows it.
#[derive(Clone)]
pub struct Token {
    acker: Acker,
    properties: Arc<BasicProperties>,
}

impl Session for Consuming {
    type Token = Token;
    type Settler = Hand;

    fn settler(&self) -> Hand {
        self.settler.clone()
    }

    async fn next(&mut self) -> Result<(Token, Message), Trouble> {
        let queue = &self.queue;
        let mut delivery = match self.consumer.next().await {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => {
                return Err(Trouble::new(format!(
                    "the consumer of {queue:?} has ended: {error}"
                )));
            }
            None => {
                return Err(Trouble::new(format!(
                    "the broker has cancelled the consumer of {queue:?}: was the queue deleted, or its node stopped?"
                )));
            }
        };
        let body = Bytes::from(std::mem::take(&mut delivery.data));
        let message = message::read(&delivery, body);
        let token = Token {
            acker: delivery.acker,
            properties: Arc::new(delivery.properties),
        };
        Ok((token, message))
    }

    async fn cancel(&mut self) -> Result<(), Trouble> {
        let cancelling = self
            .channel
            .basic_cancel(self.tag.clone(), BasicCancelOptions::default());
        match timeout(CANCEL, cancelling).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Trouble::new(format!(
                "can't stop consuming {:?}: {error}",
                self.queue
            ))),
            Err(_) => Err(Trouble::new(
                "the broker did not answer to the end of consuming",
            )),
        }
    }

    async fn close(self) {
        let _ = self.channel.close(200, "OK".into()).await;
        if let Some(publisher) = self.settler.publisher.lock().await.take() {
            let _ = publisher.close(200, "OK".into()).await;
        }
    }
}

/// Settles deliveries.
#[derive(Clone)]
pub struct Hand {
    connection: Arc<Connection>,
    /// In confirm mode; opened at the first burial.
    publisher: Arc<Mutex<Option<Channel>>>,
}

/// lapin answers `false` when the channel that the delivery came by is gone.
fn settled(result: Result<bool, Error>) -> Result<(), Trouble> {
    match result {
        Ok(true) => Ok(()),
        Ok(false) => Err(Trouble::passing("the delivery's channel is gone")),
        Err(error) => Err(Trouble::passing(error.to_string())),
    }
}

impl Settler for Hand {
    type Token = Token;

    async fn ack(&self, token: &Token, _: &Reply) -> Result<(), Trouble> {
        settled(token.acker.ack(BasicAckOptions::default()).await)
    }

    async fn requeue(&self, token: &Token, _: Duration) -> Result<(), Trouble> {
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

    async fn reject(&self, token: &Token, _: &Epitaph) -> Result<(), Trouble> {
        settled(
            token
                .acker
                .reject(BasicRejectOptions { requeue: false })
                .await,
        )
    }

    async fn bury(
        &self,
        token: &Token,
        message: &Message,
        queue: &str,
        epitaph: &Epitaph,
    ) -> Result<(), Trouble> {
        let burying = self.publish(token, message, queue, epitaph);
        match timeout(CONFIRM, burying).await {
            Ok(done) => done,
            Err(_) => {
                // Whatever it hangs on, the next burial begins with another channel. Where
                // the lock is held, another one is opening that channel.
                if let Ok(mut publisher) = self.publisher.try_lock() {
                    publisher.take();
                }
                Err(Trouble::new(format!(
                    "the broker did not confirm within {} s that the dead-letter queue {queue:?} has the message",
                    CONFIRM.as_secs()
                )))
            }
        }
    }
}

impl Hand {
    async fn publish(
        &self,
        token: &Token,
        message: &Message,
        queue: &str,
        epitaph: &Epitaph,
    ) -> Result<(), Trouble> {
        let properties = message::buried(&token.properties, epitaph);
        let routing_key = short(queue, "dead_letter")?;
        let explain = |error: Error| {
            Trouble::new(format!(
                "can't put a message into the dead-letter queue {queue:?}: {error}"
            ))
        };
        let channel = self.publisher().await.map_err(explain)?;
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let confirm = channel
            .basic_publish(
                ShortString::default(),
                routing_key,
                options,
                &message.body,
                properties,
            )
            .await
            .map_err(explain)?;
        match confirm.await {
            Ok(Confirmation::Ack(None)) => Ok(()),
            Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => {
                Err(Trouble::new(format!(
                    "there is no dead-letter queue {queue:?}: declare it at the broker; the message is kept"
                )))
            }
            Ok(_) => Err(Trouble::new(format!(
                "the broker did not take a message into the dead-letter queue {queue:?}"
            ))),
            Err(error) => Err(explain(error)),
        }
    }

    /// Over this connection.
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Hand {
            connection,
            publisher: Arc::default(),
        }
    }

    async fn publisher(&self) -> Result<Channel, Error> {
        let mut publisher = self.publisher.lock().await;
        if let Some(channel) = publisher
            .as_ref()
            .filter(|channel| channel.status().connected())
        {
            return Ok(channel.clone());
        }
        let channel = self.connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        *publisher = Some(channel.clone());
        Ok(channel)
    }
}
