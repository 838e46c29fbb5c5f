//! What a connector does on its connection: a channel consumes, an outgoing sends.

use std::{fmt::Debug, future::Future, time::Duration};

use quorate_proto::connector::Configure;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    link::{Link, Trouble},
    progress::ProgressTracker,
    wires::{Reign, Wires},
};

/// What the connector of a channel or of an outgoing does.
pub trait Role: Sized + Send + 'static {
    /// The connection.
    type Link: Link;
    /// The part of the channel or outgoing that a session is made of; a change of it closes
    /// the session and opens another.
    type Own: DeserializeOwned + Clone + PartialEq + Send + Sync;
    /// What means the same for every kind.
    type Common: DeserializeOwned + Clone + PartialEq + Debug + Send + Sync;
    /// An open session.
    type Session: Send;

    /// Of what the connector keeps something across sessions; empty where it keeps nothing.
    fn progress_of(link: &Self::Link, settings: &Settings<Self>) -> String;
    /// Whether a session under `before` can go on under `now`.
    fn same_session(before: &Settings<Self>, now: &Settings<Self>) -> bool;
    /// Opens a session, where the one before ended. What it opens belongs to `epoch` alone;
    /// without one, to that for which it is activated, if it is.
    fn open(
        link: &Self::Link,
        settings: &Settings<Self>,
        epoch: Option<u64>,
        progress: &ProgressTracker,
    ) -> impl Future<Output = Result<Self::Session, Trouble>> + Send;
    /// Works under this reign until the session is drained or ends.
    fn serve(
        wires: &mut Wires,
        link: &Self::Link,
        session: Self::Session,
        settings: Settings<Self>,
        reign: Reign,
    ) -> impl Future<Output = Served<Self::Session>> + Send;
    /// Whether somebody else has what a session wants to have alone; `None` when only
    /// opening can tell.
    fn taken(
        link: &Self::Link,
        settings: &Settings<Self>,
    ) -> impl Future<Output = Option<bool>> + Send;
    /// Closes a session, also one that was not served.
    fn close(session: Self::Session) -> impl Future<Output = ()> + Send;
}

/// How a session ended.
pub enum Served<S> {
    /// It was asked to end, and nothing that matters is in flight. Close it.
    Drained(S),
    /// It ended by itself.
    Ended(Trouble),
}

/// How long a drain may take when nobody said (the lease was revoked under it).
pub const DRAIN: Duration = Duration::from_secs(5);

/// A configuration, read.
pub struct Settings<R: Role> {
    /// How to connect.
    pub connection: <R::Link as Link>::Connection,
    /// What to consume, or where to send.
    pub own: R::Own,
    /// What every kind has.
    pub common: R::Common,
    /// How long what is in flight may take to finish.
    pub finish: Duration,
    /// The parent's number of it.
    pub generation: u64,
}

impl<R: Role> Clone for Settings<R> {
    fn clone(&self) -> Self {
        Settings {
            connection: self.connection.clone(),
            own: self.own.clone(),
            common: self.common.clone(),
            finish: self.finish,
            generation: self.generation,
        }
    }
}

impl<R: Role> Settings<R> {
    /// Reads it.
    pub fn read(configure: &Configure) -> Result<Self, Trouble> {
        Ok(Settings {
            connection: json("connection", &configure.connection)?,
            own: json("channel or outgoing", &configure.own)?,
            common: json("common part", &configure.common)?,
            finish: Duration::from_millis(configure.drain_ms),
            generation: configure.generation,
        })
    }

    /// Whether a session under these settings can go on under `now`.
    pub fn same_session(&self, now: &Self) -> bool {
        self.connection == now.connection && self.own == now.own && R::same_session(self, now)
    }
}

fn json<'a, T: Deserialize<'a>>(what: &str, bytes: &'a [u8]) -> Result<T, Trouble> {
    serde_json::from_slice(bytes)
        .map_err(|error| Trouble::new(format!("the {what} can't be read: {error}")))
}
