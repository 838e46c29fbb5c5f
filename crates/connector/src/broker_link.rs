//! What the run loop needs of a kind of broker. Another kind is another folder beside
//! `amqp` and a line for each of its connectors in `start.rs`.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::{Header, HeaderType, Reply};
use serde::de::DeserializeOwned;

/// Something is wrong with the broker, or with what was asked of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectorError {
    /// What is wrong and what would be right.
    pub text: String,
    /// Expected for a moment and over by itself: another consumer that has yet to go.
    pub transient: bool,
    /// Likely to come again although the session can be opened anew at once, so it is told
    /// until a message was handled.
    pub until_handled: bool,
}

impl ConnectorError {
    /// Something that somebody should see to.
    pub fn new(text: impl Into<String>) -> Self {
        ConnectorError {
            text: text.into(),
            ..ConnectorError::default()
        }
    }

    /// Something that may end the next session as well, for the same reason.
    pub fn until_handled(text: impl Into<String>) -> Self {
        ConnectorError {
            until_handled: true,
            ..ConnectorError::new(text)
        }
    }

    /// Something that is likely to be over soon.
    pub fn transient(text: impl Into<String>) -> Self {
        ConnectorError {
            transient: true,
            ..ConnectorError::new(text)
        }
    }
}

/// A message as it came from the broker.
#[derive(Clone, Debug, Default)]
pub struct IncomingMessage {
    /// The broker's or the sender's id of it; empty when it has none.
    pub id: String,
    /// Empty when the sender didn't say.
    pub content_type: String,
    /// The sender's headers.
    pub headers: Vec<Header>,
    /// The types of those whose values are no text.
    pub types: Vec<HeaderType>,
    /// How many more there are, which can't be told.
    pub headers_left_out: u32,
    /// What the protocol says of it.
    pub properties: Vec<Header>,
    /// The body.
    pub body: Bytes,
    /// Whether the broker has handed it out before.
    pub redelivered: bool,
    /// How often it has, where the broker counts that; otherwise 0.
    pub delivery_count: u32,
    /// Where in its stream it is, if it came from one.
    pub offset: Option<u64>,
    /// Why no service can be asked to handle it: what the protocol says of it can't be read.
    pub unreadable: Option<String>,
}

/// Why a message is dead-lettered; written beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterInfo {
    /// The last failure.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Its correlation id.
    pub cid: String,
    /// The channel's name.
    pub channel: String,
}

/// A message to be sent.
#[derive(Clone, Debug, Default)]
pub struct OutgoingMessage {
    /// Its id; one is made up where it is empty.
    pub message_id: String,
    /// Empty when the sender didn't say.
    pub content_type: String,
    /// The sender's headers.
    pub headers: Vec<Header>,
    /// The types of those whose values are no text, where the protocol has types.
    pub types: Vec<HeaderType>,
    /// What the protocol is to say of it, in the same names as [`IncomingMessage::properties`]: it
    /// overrides what the outgoing says.
    pub properties: Vec<Header>,
    /// The body.
    pub body: Bytes,
    /// Its correlation id.
    pub cid: String,
    /// After so long nobody waits for the outcome any more.
    pub within: Duration,
}

/// A connection to a broker, connected and authenticated, doing nothing.
pub trait BrokerLink: Sized + Send + Sync + 'static {
    /// What the connection is made of; a change of it reconnects.
    type Connection: DeserializeOwned + Clone + PartialEq + Send + Sync;

    /// Connects and authenticates. `label` is shown by the broker.
    fn connect(
        to: &Self::Connection,
        label: &str,
    ) -> impl Future<Output = Result<Self, ConnectorError>> + Send;
    /// What the broker calls the connection, for whoever may have to close it there; empty
    /// when that can't be known.
    fn name(&self) -> String;
    /// What this side called it.
    fn label(&self) -> String;
    /// Returns when the connection is lost.
    fn wait_lost(&self) -> impl Future<Output = ConnectorError> + Send;
    /// Whether it is lost already.
    fn is_lost(&self) -> bool;
    /// Closes the connection in order.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// A connection that messages come by.
pub trait InboundLink: BrokerLink {
    /// What consuming is made of; a change of it closes and reopens the session.
    type Source: DeserializeOwned + Clone + PartialEq + Send + Sync;
    /// Consuming under one epoch.
    type ConsumerSession: Session;

    /// Begins to consume, `prefetch` unsettled messages at a time; of a stream, at this
    /// offset. What it opens here belongs to `epoch` alone; without one, to that for which it
    /// is activated, if it is.
    fn open(
        &self,
        source: &Self::Source,
        prefetch: u16,
        epoch: Option<u64>,
        offset: Option<u64>,
    ) -> impl Future<Output = Result<Self::ConsumerSession, ConnectorError>> + Send;
    /// What is consumed, in words: what is kept of another source means nothing.
    fn source_name(&self, source: &Self::Source) -> String;
    /// Whether anybody consumes what this wants to have alone; `None` when only opening can
    /// tell. Cheap, and leaves no trace at the broker.
    fn is_taken(&self, source: &Self::Source) -> impl Future<Output = Option<bool>> + Send;
    /// How many messages wait there; `None` when that can't be known. Cheap.
    fn waiting_count(&self, source: &Self::Source) -> impl Future<Output = Option<u64>> + Send;
}

/// A connection that messages go by.
pub trait OutboundLink: BrokerLink {
    /// What sending is made of; a change of it closes and reopens the sender.
    type Target: DeserializeOwned + Clone + PartialEq + Send + Sync;
    /// Sends.
    type MessageProducer: Sender;

    /// Makes ready to send.
    fn open(
        &self,
        target: &Self::Target,
    ) -> impl Future<Output = Result<Self::MessageProducer, ConnectorError>> + Send;
}

/// Consuming under one epoch. Closing it gives back what was not acked.
pub trait Session: Send + 'static {
    /// Whether a message that failed is given back at once and comes again, its tries counted
    /// by the broker. Otherwise it stays in the process until its next try.
    const RETRIED_BY_BROKER: bool = false;
    /// Whether a message that was not settled comes again in the next session, so that its
    /// tries are to be kept until then.
    const COMES_AGAIN: bool = false;
    /// How the broker knows a message of this session.
    type Token: Clone + Send + Sync + 'static;
    /// A handle that settles messages; it outlives no session.
    type MessageAcknowledger: Settler<Token = Self::Token>;

    /// A settler.
    fn acknowledger(&self) -> Self::MessageAcknowledger;
    /// The next message. Can be dropped and called again. An error ends the session.
    fn next(
        &mut self,
    ) -> impl Future<Output = Result<(Self::Token, IncomingMessage), ConnectorError>> + Send;
    /// Stops consuming; what is unacked stays so.
    fn cancel(&mut self) -> impl Future<Output = Result<(), ConnectorError>> + Send;
    /// Closes the session.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Settles messages of a session.
pub trait Settler: Clone + Send + Sync + 'static {
    /// As in [`ConsumerSession`].
    type Token: Clone + Send + Sync + 'static;

    /// It was handled, and this was the service's answer.
    fn ack(
        &self,
        token: &Self::Token,
        reply: &Reply,
    ) -> impl Future<Output = Result<(), ConnectorError>> + Send;
    /// It was not, and comes again; where tries are counted by the broker, not before `wait`
    /// is over.
    fn requeue(
        &self,
        token: &Self::Token,
        wait: Duration,
    ) -> impl Future<Output = Result<(), ConnectorError>> + Send;
    /// It failed for good, and the broker does with it what the queue says.
    fn reject(
        &self,
        token: &Self::Token,
        epitaph: &DeadLetterInfo,
    ) -> impl Future<Output = Result<(), ConnectorError>> + Send;
    /// Puts a copy of it into `queue`. Once it is acked after that, the broker has the copy
    /// for sure and the original no more.
    fn dead_letter(
        &self,
        token: &Self::Token,
        message: &IncomingMessage,
        queue: &str,
        epitaph: &DeadLetterInfo,
    ) -> impl Future<Output = Result<(), ConnectorError>> + Send;
}

/// Sends messages, many at a time.
pub trait Sender: Clone + Send + Sync + 'static {
    /// Sends one. Returns within `parcel.within`, or soon after the connection is lost.
    fn send(&self, parcel: &OutgoingMessage) -> impl Future<Output = SendOutcome> + Send;
    /// Closes it: sends that have not begun end at once, and were not sent. Closing it again
    /// does nothing.
    fn close(self) -> impl Future<Output = ()> + Send;
}
