//! Consuming, and settling what came.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{BoxFuture, Fuse},
};
use lapin::{
    Acker, BasicProperties, Channel, Consumer, Error, ErrorKind,
    options::{BasicAckOptions, BasicCancelOptions, BasicNackOptions, BasicRejectOptions},
    types::ShortString,
};
use quorate_clock::Instant;
use quorate_proto::connector::Reply;
use tokio::{
    sync::Mutex,
    time::{timeout, timeout_at},
};

use super::{
    super::link::{Epitaph, Message, Session, Settler, Trouble},
    broker::Broker,
    message,
    publisher::{Fate, Letter, Publisher},
    short,
};

/// The longest wait for the broker's confirm that the dead-letter queue has a message.
const CONFIRM: Duration = Duration::from_secs(10);
/// A message of this process's one queue could not be read. With it ends the connection, and
/// what else was handed out comes again, so from then on nothing else is: those before it are
/// handled once, and those behind it wait.
pub static ONE_AT_A_TIME: AtomicBool = AtomicBool::new(false);
/// The longest wait for the broker to stop a consumer.
const CANCEL: Duration = Duration::from_secs(5);

/// A consumer on a channel of its own.
pub struct Consuming {
    pub(super) channel: Channel,
    pub(super) consumer: Consumer,
    pub(super) tag: ShortString,
    pub(super) queue: String,
    pub(super) settler: Hand,
    /// Ends the session when it turns out that others are not kept off.
    pub(super) doubt: Fuse<BoxFuture<'static, Trouble>>,
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
        let next = tokio::select! {
            next = self.consumer.next() => next,
            trouble = &mut self.doubt => return Err(trouble),
        };
        let mut delivery = match next {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => {
                return Err(unreadable(queue, &error).unwrap_or_else(|| {
                    Trouble::new(format!("the consumer of {queue:?} has ended: {error}"))
                }));
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
    }
}

/// That a message can't be read, if that is what ended the connection.
pub(super) fn unreadable(queue: &str, error: &Error) -> Option<Trouble> {
    let ErrorKind::ParsingError(_) = error.kind() else {
        return None;
    };
    ONE_AT_A_TIME.store(true, Relaxed);
    Some(Trouble::new(format!(
        "a message in the queue {queue:?} can't be read, because a property or the name of a header is not UTF-8 or a value has an unknown type ({error}): take it out of the queue with another program, and correct who sends such messages; those behind it wait"
    )))
}

/// Settles deliveries.
#[derive(Clone)]
pub struct Hand {
    broker: Broker,
    label: String,
    /// On a connection of its own, made at the first burial: a broker that is short of memory
    /// or disk reads nothing more from a connection that publishes, acks included.
    publisher: Arc<Mutex<Option<Publisher>>>,
}

impl Hand {
    /// For a session on the connection to this broker with this label.
    pub(super) fn new(broker: &Broker, label: &str) -> Self {
        Hand {
            broker: broker.clone(),
            label: format!("{label} dead letters"),
            publisher: Arc::default(),
        }
    }

    async fn publisher(&self) -> Result<Publisher, Trouble> {
        let mut publisher = self.publisher.lock().await;
        if let Some(publisher) = publisher.as_ref().filter(|it| !it.is_lost()) {
            return Ok(publisher.clone());
        }
        let (connection, _) = self.broker.connect(&self.label).await?;
        Ok(publisher
            .insert(Publisher::new(Arc::new(connection)))
            .clone())
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
        let kept = |why: String| Trouble::new(why + "; the message is kept");
        let until = Instant::now() + CONFIRM;
        let publisher = timeout_at(until, self.publisher()).await.map_err(|_| {
            kept(format!(
                "the broker took no connection for the dead-letter queue {queue:?} within {} s",
                CONFIRM.as_secs()
            ))
        })??;
        let letter = Letter {
            exchange: ShortString::default(),
            routing_key: short(queue, "dead_letter")?,
            properties: message::buried(&token.properties, epitaph, publisher.most()),
            body: message.body.clone(),
        };
        let left = until.saturating_duration_since(Instant::now());
        match publisher.publish(letter, left).await {
            Fate::Confirmed => Ok(()),
            Fate::Unroutable => Err(kept(format!(
                "there is no dead-letter queue {queue:?}: declare it at the broker"
            ))),
            Fate::Nacked => Err(kept(format!(
                "the dead-letter queue {queue:?} did not take a message: if it is full, make room in it"
            ))),
            Fate::Rejected(said) => Err(kept(format!(
                "the broker refuses to put a message into the dead-letter queue {queue:?}: {}",
                said.get_message()
            ))),
            Fate::TooLarge(bytes, most) => Err(kept(format!(
                "a message can't be put into the dead-letter queue {queue:?}: its properties take {bytes} bytes, and the broker takes {most}"
            ))),
            Fate::NotSent(why) | Fate::Unknown(why) => Err(kept(format!(
                "can't put a message into the dead-letter queue {queue:?}: {why}"
            ))),
        }
    }
}
