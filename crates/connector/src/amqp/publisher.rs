//! Publisher that waits for the broker's confirm of each message.
//!
//! Each message has a channel of the broker to itself while it is under way. So the broker's
//! answers there (a confirm, a returned message, a closed channel) are about this message and no
//! other: a wrong exchange of one caller, which closes the channel, is nothing to another caller,
//! and a confirm of many at a time can't be taken for that of a returned one. Channels are kept and
//! used again; there are at most [`CHANNELS`] of them, and a caller that finds none free waits
//! within its own time.
//!
//! # Why each caller learns what is true
//!
//! A message is given to lapin only after its stage went from waiting to begun, and a caller that
//! gives up before that moves the stage to given up: only one of the two succeeds, so "surely not
//! sent" is never reported of a message that is sent later. From then on nothing but the broker's
//! own answer decides: its confirm without the message coming back, its refusal, or that neither is
//! known. A channel is used again only after its message was answered: a channel with a late answer
//! is kept busy by it, even if nobody waits for it any more.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, Error, ErrorKind,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    protocol::{AMQPError, AMQPErrorKind},
    types::ShortString,
};
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout_at,
};

use super::{
    frame_size,
    returned_message::{self, ReturnOutcome},
};

/// Upper bound of messages under way at a time.
const CHANNELS: usize = 64;
/// Channels of the same connection that are not for publishing.
const OTHERS: usize = 4;
/// Time without use after which a channel is closed.
const IDLE: Duration = Duration::from_secs(60);
/// Upper bound of exchanges whose type is remembered.
const TYPES: usize = 256;

/// Message and its address.
pub(super) struct PublishRequest {
    pub exchange: ShortString,
    pub routing_key: ShortString,
    pub properties: BasicProperties,
    pub body: Bytes,
    /// True if a queue must take the message. Otherwise it is the exchange's, whatever that does.
    pub mandatory: bool,
}

/// Outcome of publishing a message.
#[derive(Debug, PartialEq)]
pub(super) enum PublishOutcome {
    /// The broker has the message.
    Confirmed,
    /// The message came back: no queue takes it.
    Unroutable,
    /// The message came back, and the exchange, described here, may have handed it over by itself.
    MaybeHandedOver(String),
    /// The message is a reply that nobody waits for any more.
    ReplyNotAwaited,
    /// A queue refused: it is full and its overflow policy is to reject, or it failed.
    Nacked,
    /// The broker closed the channel because of the message.
    Rejected(AMQPError),
    /// Headers and properties take so many bytes, more than so many.
    TooLarge(usize, usize),
    /// Surely not sent.
    NotSent(String),
    /// Perhaps sent.
    Unknown(String),
}

/// Publisher over one connection.
#[derive(Clone)]
pub(super) struct ConfirmPublisher {
    connection: Arc<Connection>,
    places: Arc<Semaphore>,
    /// Channels in confirm mode with nothing under way; the one used last is the last.
    idle: Arc<Mutex<VecDeque<(Instant, Channel)>>>,
    /// Types of exchanges that have returned something, as far as the broker reports them.
    types: Arc<Mutex<BTreeMap<ShortString, Option<String>>>>,
}

/// Stage of a message; see above.
#[derive(Default)]
struct PublishStage(AtomicU8);

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl PublishStage {
    fn leave_waiting_for(&self, next: u8) -> bool {
        self.0
            .compare_exchange(WAITING, next, SeqCst, SeqCst)
            .is_ok()
    }
}

impl ConfirmPublisher {
    /// Returns a publisher over this connection. Opens nothing yet.
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        // Some are for other users of this connection, where the broker allows few.
        let allowed = usize::from(connection.configuration().channel_max());
        let places = CHANNELS.min(allowed.saturating_sub(OTHERS)).max(1);
        ConfirmPublisher {
            connection,
            places: Arc::new(Semaphore::new(places)),
            idle: Arc::default(),
            types: Arc::default(),
        }
    }

    /// Publishes a message that must reach a queue, and waits for the broker's answer within this
    /// time.
    pub(super) async fn publish(
        &self,
        request: PublishRequest,
        within: Duration,
    ) -> PublishOutcome {
        let deadline = Instant::now() + within;
        let (bytes, most) = (
            frame_size::header(&request.properties),
            self.header_bytes_max(),
        );
        if bytes > most {
            return PublishOutcome::TooLarge(bytes, most);
        }
        if let Some(outcome) = self.unable() {
            return outcome;
        }
        let place = match timeout_at(deadline, self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return PublishOutcome::NotSent("the connector is stopping".to_owned()),
            Err(_) => {
                return PublishOutcome::NotSent(format!(
                    "too many messages wait for the broker's confirm already{}",
                    self.perhaps_blocked()
                ));
            }
        };
        let stage = Arc::new(PublishStage::default());
        // The attempt goes on when the caller doesn't, so that channels are never left half-used.
        let attempt = tokio::spawn(self.clone().attempt(request, stage.clone(), place));
        match timeout_at(deadline, attempt).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panicked)) => PublishOutcome::Unknown(panicked.to_string()),
            // The text has no time: the caller's deadline is longer, and this is the rest of it.
            Err(_) if stage.leave_waiting_for(GIVEN_UP) => {
                PublishOutcome::NotSent("the broker opened no channel in time".to_owned())
            }
            Err(_) => PublishOutcome::Unknown(format!(
                "the broker did not confirm in time that it has the message{}",
                self.perhaps_blocked()
            )),
        }
    }

    /// Returns true if the connection is lost.
    pub(super) fn is_lost(&self) -> bool {
        !self.connection.status().connected()
    }

    /// Closes the publisher: no message begins after this.
    pub(super) fn close(&self) {
        self.places.close();
        // Dropping a channel closes it.
        self.idle.lock().clear();
    }

    /// Returns the largest header that is sent, in bytes: it must fit into one frame, or the broker
    /// would end the connection, with everything that is under way on it.
    pub(super) fn header_bytes_max(&self) -> usize {
        let frame = self.connection.configuration().frame_max() as usize;
        frame.saturating_sub(frame_size::FRAME_OVERHEAD_BYTES)
    }

    fn unable(&self) -> Option<PublishOutcome> {
        let status = self.connection.status();
        let why = match (status.connected(), status.blocked()) {
            (false, _) => "the connection to the broker is lost".to_owned(),
            (_, true) => format!("nothing is sent now{}", self.perhaps_blocked()),
            _ => return None,
        };
        Some(PublishOutcome::NotSent(why))
    }

    fn perhaps_blocked(&self) -> &'static str {
        if self.connection.status().blocked() {
            ": the broker has blocked the connection, as it does while its memory or disk is short (see `rabbitmqctl status`, Alarms)"
        } else {
            ""
        }
    }

    async fn attempt(
        self,
        request: PublishRequest,
        stage: Arc<PublishStage>,
        _place: OwnedSemaphorePermit,
    ) -> PublishOutcome {
        let channel = match self.channel().await {
            Ok(channel) => channel,
            Err(error) => return PublishOutcome::NotSent(format!("can't open a channel: {error}")),
        };
        let outcome = if stage.leave_waiting_for(BEGUN) {
            self.deliver(&channel, request).await
        } else {
            PublishOutcome::NotSent("given up".to_owned())
        };
        self.keep(channel);
        outcome
    }

    async fn deliver(&self, channel: &Channel, mut request: PublishRequest) -> PublishOutcome {
        let (exchange, key) = (request.exchange.clone(), &request.routing_key);
        let any = planted(Mutant::ReturnToldAsRefused);
        if returned_message::is_direct_reply(&exchange, key) && !any {
            match returned_message::is_awaited(channel, key).await {
                Ok(true) => request.mandatory = false,
                Ok(false) => return PublishOutcome::ReplyNotAwaited,
                Err(error) => {
                    return PublishOutcome::NotSent(format!(
                        "can't find out whether the reply is still waited for: {error}"
                    ));
                }
            }
        }
        let properties = request.properties.clone();
        let outcome = publish_over(channel, request).await;
        // Nothing is bound to the default exchange but queues.
        if outcome != PublishOutcome::Unroutable || exchange.as_str().is_empty() || any {
            return outcome;
        }
        let returned = if exchange.as_str().starts_with("amq.") {
            // Every broker has this exchange, which does nothing but route.
            ReturnOutcome::routed(&properties)
        } else {
            match self.type_of(&exchange).await {
                Ok(kind) => ReturnOutcome::from_exchange_type(kind.as_deref(), &properties),
                Err(error) => {
                    ReturnOutcome::Unknown(format!("is of a type that was not found out ({error})"))
                }
            }
        };
        match returned {
            ReturnOutcome::Unroutable => PublishOutcome::Unroutable,
            ReturnOutcome::Kept => PublishOutcome::Confirmed,
            ReturnOutcome::Unknown(kind) => PublishOutcome::MaybeHandedOver(kind),
        }
    }

    async fn type_of(&self, exchange: &ShortString) -> Result<Option<String>, Error> {
        if let Some(known) = self.types.lock().get(exchange) {
            return Ok(known.clone());
        }
        let kind = returned_message::exchange_type(&self.connection, exchange).await?;
        let mut types = self.types.lock();
        if types.len() >= TYPES {
            types.clear();
        }
        types.insert(exchange.clone(), kind.clone());
        Ok(kind)
    }

    async fn channel(&self) -> Result<Channel, Error> {
        loop {
            let Some((_, channel)) = self.idle.lock().pop_back() else {
                break;
            };
            if channel.status().connected() {
                return Ok(channel);
            }
        }
        let channel = self.connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(channel)
    }

    fn keep(&self, channel: Channel) {
        if self.places.is_closed() || !channel.status().connected() {
            return;
        }
        let now = Instant::now();
        let mut idle = self.idle.lock();
        idle.push_back((now, channel));
        while idle.front().is_some_and(|(since, _)| now - *since > IDLE) {
            idle.pop_front();
        }
    }
}

async fn publish_over(channel: &Channel, request: PublishRequest) -> PublishOutcome {
    let options = BasicPublishOptions {
        mandatory: request.mandatory,
        immediate: false,
    };
    let published = channel
        .basic_publish(
            request.exchange,
            request.routing_key,
            options,
            &request.body,
            request.properties,
        )
        .await;
    let confirmed = match published {
        Ok(confirm) => confirm.await,
        Err(error) => Err(error),
    };
    match confirmed {
        Ok(Confirmation::Ack(None)) => PublishOutcome::Confirmed,
        Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => PublishOutcome::Unroutable,
        Ok(Confirmation::Nack(None)) => PublishOutcome::Nacked,
        Ok(Confirmation::NotRequested) => {
            PublishOutcome::Unknown("the broker was not asked for a confirm".to_owned())
        }
        Err(error) => match error.kind() {
            // The error closes this channel, so it is about this message.
            ErrorKind::ProtocolError(refusal)
                if matches!(refusal.kind(), AMQPErrorKind::Soft(_)) =>
            {
                PublishOutcome::Rejected(refusal.clone())
            }
            _ => PublishOutcome::Unknown(format!(
                "the connection was lost before the broker confirmed: {error}"
            )),
        },
    }
}
