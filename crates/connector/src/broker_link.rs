//! Traits that a kind of broker implements for the run loop.
//!
//! Another kind is another folder beside `amqp` and a line for each of its connectors in
//! `entry_point.rs`.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use quorate_ipc::{
    ConnectorResource, DeliverySettings, SendOutcome, SendSettings, SettingsPart,
    local_rules::LocalRuleError,
};
use quorate_proto::connector::{Header, HeaderType, Reply};

/// Failure of the broker, or of a request to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct ConnectorError {
    /// Text that says what is wrong and what would be right.
    pub text: String,
    /// The failure is expected to end by itself soon: another consumer has yet to go, for one.
    pub transient: bool,
    /// The failure is likely to come again although the session can be reopened at once, so it is
    /// reported until a message was handled.
    pub until_handled: bool,
}

impl ConnectorError {
    /// Returns a permanent failure, which somebody has to see to.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        ConnectorError {
            text: text.into(),
            ..ConnectorError::default()
        }
    }

    /// Returns a failure that may end the next session as well, for the same reason.
    pub(crate) fn until_handled(text: impl Into<String>) -> Self {
        ConnectorError {
            until_handled: true,
            ..ConnectorError::new(text)
        }
    }

    /// Returns a failure that is likely to be over soon.
    pub(crate) fn transient(text: impl Into<String>) -> Self {
        ConnectorError {
            transient: true,
            ..ConnectorError::new(text)
        }
    }
}

impl From<LocalRuleError> for ConnectorError {
    fn from(error: LocalRuleError) -> Self {
        ConnectorError::new(error.to_string())
    }
}

/// Message as it came from the broker.
#[derive(Clone, Debug, Default)]
pub(crate) struct IncomingMessage {
    /// Id that the broker or the sender gave the message; empty when there is none.
    pub id: String,
    /// Content type; empty when the sender gave none.
    pub content_type: String,
    pub headers: Vec<Header>,
    /// Types of the headers whose values are no text.
    pub types: Vec<HeaderType>,
    /// Number of further headers, whose values have no text form.
    pub headers_left_out: u32,
    /// Properties of the protocol.
    pub properties: Vec<Header>,
    pub body: Bytes,
    /// True if the broker has handed the message out before.
    pub redelivered: bool,
    /// Number of earlier deliveries, where the broker counts them; otherwise 0.
    pub delivery_count: u32,
    /// Position in the stream that the message came from, if any.
    pub offset: Option<u64>,
    /// Reason why no service can handle the message: its properties can't be read.
    pub unreadable: Option<String>,
}

/// Reason why a message is dead-lettered, written beside the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetterInfo {
    pub reason: String,
    pub attempts: u32,
    pub cid: String,
    pub channel: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct OutgoingMessage {
    /// Message id; a new one is made where it is empty.
    pub message_id: String,
    /// Content type; empty when the sender gave none.
    pub content_type: String,
    pub headers: Vec<Header>,
    /// Types of the headers whose values are no text, where the protocol has types.
    pub types: Vec<HeaderType>,
    /// Properties of the protocol, under the names of [`IncomingMessage::properties`]; they
    /// override those of the outgoing.
    pub properties: Vec<Header>,
    pub body: Bytes,
    pub cid: String,
    /// Time after which nobody waits for the outcome any more.
    pub within: Duration,
}

/// Connection to a broker: connected and authenticated, otherwise idle.
pub(crate) trait BrokerLink: Sized + Send + Sync + 'static {
    /// Settings of the connection.
    type Connection: SettingsPart;

    /// Returns the part of the settings whose change reconnects.
    fn connection_key(of: &Self::Connection) -> impl PartialEq;

    /// Connects and authenticates. The broker shows `label`.
    fn connect(
        to: &Self::Connection,
        label: &str,
    ) -> impl Future<Output = Result<Self, ConnectorError>> + Send;
    /// Returns the broker's name of the connection, by which an operator can close it there; empty
    /// when it can't be known.
    fn name(&self) -> String;
    /// Returns the label that the connection was opened with.
    fn label(&self) -> String;
    /// Waits until the connection is lost. Cancel safe.
    fn wait_lost(&self) -> impl Future<Output = ConnectorError> + Send;
    /// Returns true once the connection is lost.
    fn is_lost(&self) -> bool;
    /// Closes the connection in order.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Connection that messages come in by.
pub(crate) trait InboundLink: BrokerLink {
    /// Channel to consume for.
    type Source: ConnectorResource<Connection = Self::Connection, Shared = DeliverySettings>;
    /// Session that consumes under one epoch.
    type Session: ConsumerSession;

    /// Returns the part of the settings whose change closes and reopens the session.
    fn session_key(of: &Self::Source) -> impl PartialEq;

    /// Begins to consume, with at most `prefetch` unsettled messages; of a stream, at `offset`. The
    /// session belongs to `epoch` alone; without an epoch, to the one for which it is activated
    /// later, if it is.
    fn open(
        &self,
        source: &Self::Source,
        prefetch: u16,
        epoch: Option<u64>,
        offset: Option<u64>,
    ) -> impl Future<Output = Result<Self::Session, ConnectorError>> + Send;
    /// Returns the name of the source: progress that was kept under another name is void.
    fn source_name(&self, source: &Self::Source) -> String;
    /// Returns true if another consumer holds a source that this session needs alone; `None` when
    /// only opening can find out. Cheap, and leaves no trace at the broker.
    fn is_taken(&self, source: &Self::Source) -> impl Future<Output = Option<bool>> + Send;
    /// Returns the number of messages that wait at the source; `None` when it can't be known.
    /// Cheap.
    fn waiting_count(&self, source: &Self::Source) -> impl Future<Output = Option<u64>> + Send;
}

/// Connection that messages go out by.
pub(crate) trait OutboundLink: BrokerLink {
    /// Outgoing to send for.
    type Target: ConnectorResource<Connection = Self::Connection, Shared = SendSettings>;
    /// Producer that sends.
    type Producer: MessageProducer;

    /// Returns the part of the settings whose change closes and reopens the sender.
    fn session_key(of: &Self::Target) -> impl PartialEq;

    /// Opens a producer.
    fn open(
        &self,
        target: &Self::Target,
    ) -> impl Future<Output = Result<Self::Producer, ConnectorError>> + Send;
}

/// Session that consumes under one epoch. Closing it gives back all that was not acknowledged.
pub(crate) trait ConsumerSession: Send + 'static {
    /// True if a failed message is requeued at once and comes again, its tries counted by the
    /// broker. Otherwise it stays in the process until its next try.
    const RETRIED_BY_BROKER: bool = false;
    /// True if a message that was not settled comes again in the next session, so that its tries
    /// have to be kept until then.
    const COMES_AGAIN: bool = false;
    /// Token by which the broker knows a message of this session.
    type Token: Clone + Send + Sync + 'static;
    /// Handle that settles messages; it outlives no session.
    type Acknowledger: MessageAcknowledger<Token = Self::Token>;

    /// Returns a handle that settles messages.
    fn acknowledger(&self) -> Self::Acknowledger;
    /// Returns the next message. An error ends the session. Cancel safe.
    fn next(
        &mut self,
    ) -> impl Future<Output = Result<(Self::Token, IncomingMessage), ConnectorError>> + Send;
    /// Stops consuming; unacknowledged messages stay so.
    fn cancel(&mut self) -> impl Future<Output = Result<(), ConnectorError>> + Send;
    /// Closes the session.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Handle that settles messages of a session.
pub(crate) trait MessageAcknowledger: Clone + Send + Sync + 'static {
    /// Token of [`ConsumerSession`].
    type Token: Clone + Send + Sync + 'static;

    /// Acknowledges a handled message; `reply` is the service's answer.
    fn ack(
        &self,
        token: &Self::Token,
        reply: &Reply,
    ) -> impl Future<Output = Result<(), ConnectorError>> + Send;
    /// Gives back a message that was not handled and comes again; where the broker counts tries,
    /// not before `wait` is over.
    fn requeue(
        &self,
        token: &Self::Token,
        wait: Duration,
    ) -> impl Future<Output = Result<(), ConnectorError>> + Send;
    /// Rejects a message that failed for good; the queue's own rules apply to it.
    fn reject(
        &self,
        token: &Self::Token,
        info: &DeadLetterInfo,
    ) -> impl Future<Output = Result<(), ConnectorError>> + Send;
    /// Puts a copy of the message into `queue`. Once the message is acknowledged after that, the
    /// broker has the copy for sure and the original no more.
    fn dead_letter(
        &self,
        token: &Self::Token,
        message: &IncomingMessage,
        queue: &str,
        info: &DeadLetterInfo,
    ) -> impl Future<Output = Result<(), ConnectorError>> + Send;
}

/// Producer that sends messages, many at a time.
pub(crate) trait MessageProducer: Clone + Send + Sync + 'static {
    /// Sends a message. Returns within `message.within`, or soon after the connection is lost.
    fn send(&self, message: &OutgoingMessage) -> impl Future<Output = SendOutcome> + Send;
    /// Closes the producer: sends that have not begun end at once, unsent. Closing again does
    /// nothing.
    fn close(self) -> impl Future<Output = ()> + Send;
}
