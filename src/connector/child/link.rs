//! What the run loop needs of a kind of broker. Another kind is another file beside
//! `amqp.rs` and one line in `start.rs`.

use std::future::Future;

use bytes::Bytes;
use quorate_proto::connector::Header;
use serde::de::DeserializeOwned;

/// Something is wrong with the broker, or with what was asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong and what would be right.
    pub text: String,
    /// Expected for a moment and over by itself: another consumer that has yet to go.
    pub passing: bool,
}

impl Trouble {
    /// Something that somebody should see to.
    pub fn new(text: impl Into<String>) -> Self {
        Trouble {
            text: text.into(),
            passing: false,
        }
    }

    /// Something that is likely to be over soon.
    pub fn passing(text: impl Into<String>) -> Self {
        Trouble {
            text: text.into(),
            passing: true,
        }
    }
}

/// A message as it came from the broker.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The broker's or the sender's id of it; empty when it has none.
    pub id: String,
    /// Empty when the sender didn't say.
    pub content_type: String,
    /// The sender's headers.
    pub headers: Vec<Header>,
    /// What the protocol says of it.
    pub properties: Vec<Header>,
    /// The body.
    pub body: Bytes,
    /// Whether the broker has handed it out before.
    pub redelivered: bool,
}

/// Why a message is dead-lettered; written beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epitaph {
    /// The last failure.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Its correlation id.
    pub cid: String,
    /// The channel's name.
    pub channel: String,
}

/// A connection to a broker, connected and authenticated, consuming nothing.
pub trait Link: Sized + Send + Sync + 'static {
    /// What the connection is made of; a change of it reconnects.
    type Connection: DeserializeOwned + Clone + PartialEq + Send + Sync;
    /// What consuming is made of; a change of it closes and reopens the session.
    type Consumer: DeserializeOwned + Clone + PartialEq + Send + Sync;
    /// Consuming under one epoch.
    type Session: Session;

    /// Connects and authenticates. `label` is shown by the broker.
    fn connect(
        to: &Self::Connection,
        label: &str,
    ) -> impl Future<Output = Result<Self, Trouble>> + Send;
    /// What the broker calls the connection, for whoever may have to close it there; empty
    /// when that can't be known.
    fn name(&self) -> String;
    /// What this side called it.
    fn label(&self) -> String;
    /// Returns when the connection is lost.
    fn lost(&self) -> impl Future<Output = Trouble> + Send;
    /// Whether it is lost already.
    fn is_lost(&self) -> bool;
    /// Begins to consume, `prefetch` unsettled messages at a time. What it opens here
    /// belongs to `epoch` alone; without one, to that for which it is activated, if it is.
    fn open(
        &self,
        consumer: &Self::Consumer,
        prefetch: u16,
        epoch: Option<u64>,
    ) -> impl Future<Output = Result<Self::Session, Trouble>> + Send;
    /// Whether anybody consumes what `consumer` wants to have alone; `None` when only
    /// opening can tell. Cheap, and leaves no trace at the broker.
    fn taken(&self, consumer: &Self::Consumer) -> impl Future<Output = Option<bool>> + Send;
    /// Closes the connection in order.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Consuming under one epoch. Closing it gives back what was not acked.
pub trait Session: Send + 'static {
    /// How the broker knows a message of this session.
    type Token: Clone + Send + Sync + 'static;
    /// A handle that settles messages; it outlives no session.
    type Settler: Settler<Token = Self::Token>;

    /// A settler.
    fn settler(&self) -> Self::Settler;
    /// The next message. Can be dropped and called again. An error ends the session.
    fn next(&mut self) -> impl Future<Output = Result<(Self::Token, Message), Trouble>> + Send;
    /// Stops consuming; what is unacked stays so.
    fn cancel(&mut self) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// Closes the session.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Settles messages of a session.
pub trait Settler: Clone + Send + Sync + 'static {
    /// As in [`Session`].
    type Token: Clone + Send + Sync + 'static;

    /// It was handled.
    fn ack(&self, token: &Self::Token) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// It was not, and comes again.
    fn requeue(&self, token: &Self::Token) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// It was not, and the broker does with it what the queue says.
    fn reject(&self, token: &Self::Token) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// Puts a copy of it into `queue`; returns once the broker has it for sure.
    fn bury(
        &self,
        token: &Self::Token,
        message: &Message,
        queue: &str,
        epitaph: &Epitaph,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;
}
