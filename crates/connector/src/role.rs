//! Role of a connector on its connection: a channel consumes, an outgoing sends.

use std::{future::Future, time::Duration};

use quorate_ipc::{ConnectorResource, ConnectorSettings};
use quorate_proto::connector::Configure;

use super::{
    broker_link::{BrokerLink, ConnectorError},
    process_context::{ProcessContext, ProcessReign},
    progress::ProgressTracker,
};

/// Role of a connector: that of a channel or of an outgoing.
pub(crate) trait ConnectorRole: Sized + Send + 'static {
    /// Connection that the role works on.
    type Link: BrokerLink;
    /// Channel or outgoing.
    type Resource: ConnectorResource<Connection = <Self::Link as BrokerLink>::Connection>;
    type Session: Send;

    /// Returns the name of the source whose progress is kept across sessions; empty where none is
    /// kept.
    fn progress_of(link: &Self::Link, settings: &RoleSettings<Self>) -> String;
    /// Returns true if a session under `before` can go on under `now`, on the same connection.
    fn same_session(
        before: &ConnectorSettings<Self::Resource>,
        now: &ConnectorSettings<Self::Resource>,
    ) -> bool;
    /// Opens a session, where the one before ended. The session belongs to `epoch` alone; without
    /// an epoch, to the one for which it is activated later, if it is.
    fn open(
        link: &Self::Link,
        settings: &RoleSettings<Self>,
        epoch: Option<u64>,
        progress: &ProgressTracker,
    ) -> impl Future<Output = Result<Self::Session, ConnectorError>> + Send;
    /// Works under this reign until the session is drained or ends.
    fn serve(
        context: &mut ProcessContext,
        link: &Self::Link,
        session: Self::Session,
        settings: RoleSettings<Self>,
        reign: ProcessReign,
    ) -> impl Future<Output = ServeOutcome<Self::Session>> + Send;
    /// Returns true if another consumer holds what a session needs alone; `None` when only opening
    /// can find out.
    fn is_taken(
        link: &Self::Link,
        settings: &RoleSettings<Self>,
    ) -> impl Future<Output = Option<bool>> + Send;
    /// Closes a session, also one that was not served.
    fn close(session: Self::Session) -> impl Future<Output = ()> + Send;
}

/// End of a session.
pub(crate) enum ServeOutcome<S> {
    /// The session was asked to end, and has nothing in flight that matters. Close it.
    Drained(S),
    /// The session ended by itself.
    Ended(ConnectorError),
}

/// Time for a drain that nobody has set a time for: the lease was revoked under it.
pub(crate) const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Settings of a role, with the number of their configuration.
pub(crate) struct RoleSettings<R: ConnectorRole> {
    /// Settings from the parent.
    pub connector: ConnectorSettings<R::Resource>,
    /// Time for messages in flight to finish.
    pub drain_timeout: Duration,
    /// Parent's number of the configuration.
    pub generation: u64,
}

impl<R: ConnectorRole> Clone for RoleSettings<R> {
    fn clone(&self) -> Self {
        RoleSettings {
            connector: self.connector.clone(),
            ..*self
        }
    }
}

impl<R: ConnectorRole> RoleSettings<R> {
    /// Reads a configuration.
    pub(crate) fn read(configure: &Configure) -> Result<Self, ConnectorError> {
        let connector = ConnectorSettings::decode(&configure.settings);
        Ok(RoleSettings {
            connector: connector.map_err(|error| {
                ConnectorError::new(format!("its settings can't be read: {error}"))
            })?,
            drain_timeout: Duration::from_millis(configure.drain_ms),
            generation: configure.generation,
        })
    }

    /// Returns true if a connection under these settings can go on under `now`.
    pub(crate) fn same_connection(&self, now: &Self) -> bool {
        let key = R::Link::connection_key;
        key(&self.connector.connection) == key(&now.connector.connection)
    }

    /// Returns true if a session under these settings can go on under `now`.
    pub(crate) fn same_session(&self, now: &Self) -> bool {
        self.same_connection(now) && R::same_session(&self.connector, &now.connector)
    }
}
