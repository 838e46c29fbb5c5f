//! Consuming, and settling what came.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::{
    Acker, BasicProperties, Channel, Connection, Consumer, Error,
    options::{BasicAckOptions, BasicCancelOptions, BasicNackOptions, BasicRejectOptions},
    types::ShortString,
};
use quorate_proto::connector::Reply;
use tokio::time::timeout;

use super::{
    super::link::{Epitaph, Message, Session, Settler, Trouble},
    message,
    publisher::{Fate, Letter, Publisher},
    short,
};

/// The longest wait for the broker's confirm that the dead-letter queue has a message.
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
        self.settler.publisher.close();
        let _ = self.channel.close(200, "OK".into()).await;
    }
}

/// Settles deliveries.
#[derive(Clone)]
pub struct Hand {
    publisher: Publisher,
}

impl Hand {
    /// Over this connection.
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Hand {
            publisher: Publisher::new(connection),
        }
    }
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
        let trouble = |why: String| Trouble::new(why + "; the message is kept");
        let letter = Letter {
            exchange: ShortString::default(),
            routing_key: short(queue, "dead_letter")?,
            properties: message::buried(&token.properties, epitaph, self.publisher.most()),
            body: message.body.clone(),
        };
        match self.publisher.publish(letter, CONFIRM).await {
            Fate::Confirmed => Ok(()),
            Fate::Unroutable => Err(trouble(format!(
                "there is no dead-letter queue {queue:?}: declare it at the broker"
            ))),
            Fate::Nacked => Err(trouble(format!(
                "the dead-letter queue {queue:?} did not take a message: if it is full, make room in it"
            ))),
            Fate::Rejected(said) => Err(trouble(format!(
                "the broker refuses to put a message into the dead-letter queue {queue:?}: {}",
                said.get_message()
            ))),
            Fate::TooLarge(bytes, most) => Err(trouble(format!(
                "a message can't be put into the dead-letter queue {queue:?}: its properties take {bytes} bytes, and the broker takes {most}"
            ))),
            Fate::NotSent(why) | Fate::Unknown(why) => Err(trouble(format!(
                "can't put a message into the dead-letter queue {queue:?}: {why}"
            ))),
        }
    }
}
