//! Role of a connector on its connection: a channel consumes, an outgoing sends.

use std::{fmt::Debug, future::Future, time::Duration};

use quorate_proto::connector::Configure;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    broker_link::{BrokerLink, ConnectorError},
    process_context::{ProcessContext, ProcessReign},
    progress::ProgressTracker,
};

/// Role of a connector: that of a channel or of an outgoing.
pub trait ConnectorRole: Sized + Send + 'static {
    /// Connection that the role works on.
    type Link: BrokerLink;
    /// Settings of the session, of this kind of broker; a change closes the session and opens
    /// another.
    type SpecificSettings: DeserializeOwned + Clone + PartialEq + Send + Sync;
    /// Settings that every kind of broker has.
    type SharedSettings: DeserializeOwned + Clone + PartialEq + Debug + Send + Sync;
    type Session: Send;

    /// Returns the name of the source whose progress is kept across sessions; empty where none is
    /// kept.
    fn progress_of(link: &Self::Link, settings: &ConnectorSettings<Self>) -> String;
    /// Returns true if a session under `before` can go on under `now`.
    fn same_session(before: &ConnectorSettings<Self>, now: &ConnectorSettings<Self>) -> bool;
    /// Opens a session, where the one before ended. The session belongs to `epoch` alone; without
    /// an epoch, to the one for which it is activated later, if it is.
    fn open(
        link: &Self::Link,
        settings: &ConnectorSettings<Self>,
        epoch: Option<u64>,
        progress: &ProgressTracker,
    ) -> impl Future<Output = Result<Self::Session, ConnectorError>> + Send;
    /// Works under this reign until the session is drained or ends.
    fn serve(
        context: &mut ProcessContext,
        link: &Self::Link,
        session: Self::Session,
        settings: ConnectorSettings<Self>,
        reign: ProcessReign,
    ) -> impl Future<Output = ServeOutcome<Self::Session>> + Send;
    /// Returns true if another consumer holds what a session needs alone; `None` when only opening
    /// can find out.
    fn is_taken(
        link: &Self::Link,
        settings: &ConnectorSettings<Self>,
    ) -> impl Future<Output = Option<bool>> + Send;
    /// Closes a session, also one that was not served.
    fn close(session: Self::Session) -> impl Future<Output = ()> + Send;
}

/// End of a session.
pub enum ServeOutcome<S> {
    /// The session was asked to end, and has nothing in flight that matters. Close it.
    Drained(S),
    /// The session ended by itself.
    Ended(ConnectorError),
}

/// Time for a drain that nobody has set a time for: the lease was revoked under it.
pub const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

pub struct ConnectorSettings<R: ConnectorRole> {
    pub connection: <R::Link as BrokerLink>::Connection,
    /// Source to consume, or target to send to.
    pub specific: R::SpecificSettings,
    /// Settings that every kind of broker has.
    pub shared: R::SharedSettings,
    /// Time for messages in flight to finish.
    pub drain_timeout: Duration,
    /// Parent's number of the configuration.
    pub generation: u64,
}

impl<R: ConnectorRole> Clone for ConnectorSettings<R> {
    fn clone(&self) -> Self {
        ConnectorSettings {
            connection: self.connection.clone(),
            specific: self.specific.clone(),
            shared: self.shared.clone(),
            drain_timeout: self.drain_timeout,
            generation: self.generation,
        }
    }
}

impl<R: ConnectorRole> ConnectorSettings<R> {
    /// Parses a configuration.
    pub fn parse(configure: &Configure) -> Result<Self, ConnectorError> {
        Ok(ConnectorSettings {
            connection: json("connection", &configure.connection)?,
            specific: json("channel or outgoing", &configure.own)?,
            shared: json("common part", &configure.common)?,
            drain_timeout: Duration::from_millis(configure.drain_ms),
            generation: configure.generation,
        })
    }

    /// Returns true if a session under these settings can go on under `now`.
    pub fn same_session(&self, now: &Self) -> bool {
        self.connection == now.connection
            && self.specific == now.specific
            && R::same_session(self, now)
    }
}

fn json<'a, T: Deserialize<'a>>(what: &str, bytes: &'a [u8]) -> Result<T, ConnectorError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ConnectorError::new(format!("the {what} can't be read: {error}")))
}
