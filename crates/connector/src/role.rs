//! What a connector does on its connection: a channel consumes, an outgoing sends.

use std::{fmt::Debug, future::Future, time::Duration};

use quorate_proto::connector::Configure;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    broker_link::{BrokerLink, ConnectorError},
    process_context::{ProcessContext, ProcessReign},
    progress::ProgressTracker,
};

/// What the connector of a channel or of an outgoing does.
pub trait ConnectorRole: Sized + Send + 'static {
    /// The connection.
    type Link: BrokerLink;
    /// The part of the channel or outgoing that a session is made of; a change of it closes
    /// the session and opens another.
    type SpecificSettings: DeserializeOwned + Clone + PartialEq + Send + Sync;
    /// What means the same for every kind.
    type SharedSettings: DeserializeOwned + Clone + PartialEq + Debug + Send + Sync;
    /// An open session.
    type Session: Send;

    /// Of what the connector keeps something across sessions; empty where it keeps nothing.
    fn progress_of(link: &Self::Link, settings: &ConnectorSettings<Self>) -> String;
    /// Whether a session under `before` can go on under `now`.
    fn same_session(before: &ConnectorSettings<Self>, now: &ConnectorSettings<Self>) -> bool;
    /// Opens a session, where the one before ended. What it opens belongs to `epoch` alone;
    /// without one, to that for which it is activated, if it is.
    fn open(
        link: &Self::Link,
        settings: &ConnectorSettings<Self>,
        epoch: Option<u64>,
        progress: &ProgressTracker,
    ) -> impl Future<Output = Result<Self::Session, ConnectorError>> + Send;
    /// Works under this reign until the session is drained or ends.
    fn serve(
        wires: &mut ProcessContext,
        link: &Self::Link,
        session: Self::Session,
        settings: ConnectorSettings<Self>,
        reign: ProcessReign,
    ) -> impl Future<Output = ServeOutcome<Self::Session>> + Send;
    /// Whether somebody else has what a session wants to have alone; `None` when only
    /// opening can tell.
    fn is_taken(
        link: &Self::Link,
        settings: &ConnectorSettings<Self>,
    ) -> impl Future<Output = Option<bool>> + Send;
    /// Closes a session, also one that was not served.
    fn close(session: Self::Session) -> impl Future<Output = ()> + Send;
}

/// How a session ended.
pub enum ServeOutcome<S> {
    /// It was asked to end, and nothing that matters is in flight. Close it.
    Drained(S),
    /// It ended by itself.
    Ended(ConnectorError),
}

/// How long a drain may take when nobody said (the lease was revoked under it).
pub const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// A configuration, read.
pub struct ConnectorSettings<R: ConnectorRole> {
    /// How to connect.
    pub connection: <R::Link as BrokerLink>::Connection,
    /// What to consume, or where to send.
    pub specific: R::SpecificSettings,
    /// What every kind has.
    pub shared: R::SharedSettings,
    /// How long what is in flight may take to finish.
    pub drain_timeout: Duration,
    /// The parent's number of it.
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
    /// Reads it.
    pub fn parse(configure: &Configure) -> Result<Self, ConnectorError> {
        Ok(ConnectorSettings {
            connection: json("connection", &configure.connection)?,
            specific: json("channel or outgoing", &configure.own)?,
            shared: json("common part", &configure.common)?,
            drain_timeout: Duration::from_millis(configure.drain_ms),
            generation: configure.generation,
        })
    }

    /// Whether a session under these settings can go on under `now`.
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
