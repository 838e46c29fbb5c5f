//! Kinds of resources.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Kind of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A user name and password that an HTTP channel can ask for.
    BasicAuth,
    /// A key in a header that an HTTP channel can ask for.
    ApiKey,
    /// Something that handles a request or a message.
    Service,
    /// A URL path that leads to a service.
    HttpChannel,
    /// An AMQP broker's address and credentials.
    AmqpConnection,
    /// A queue whose messages go to a service.
    AmqpChannel,
    /// An exchange that messages are published to.
    AmqpOutgoing,
    /// The address of an IBM MQ queue manager, and credentials.
    IbmMqConnection,
    /// A queue of IBM MQ whose messages go to a service.
    IbmMqChannel,
    /// A queue of IBM MQ that messages are put to.
    IbmMqOutgoing,
    /// A ZeroMQ socket whose messages go to a service.
    ZmqChannel,
    /// A ZeroMQ socket that messages are sent with.
    ZmqOutgoing,
}

impl Kind {
    /// Every kind, in the order in which resources can be created.
    pub const ALL: [Kind; 12] = [
        Kind::BasicAuth,
        Kind::ApiKey,
        Kind::Service,
        Kind::HttpChannel,
        Kind::AmqpConnection,
        Kind::AmqpChannel,
        Kind::AmqpOutgoing,
        Kind::IbmMqConnection,
        Kind::IbmMqChannel,
        Kind::IbmMqOutgoing,
        Kind::ZmqChannel,
        Kind::ZmqOutgoing,
    ];

    /// Returns the name used in REST, on the command line and in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::BasicAuth => "basic_auth",
            Kind::ApiKey => "api_key",
            Kind::Service => "service",
            Kind::HttpChannel => "http_channel",
            Kind::AmqpConnection => "amqp_connection",
            Kind::AmqpChannel => "amqp_channel",
            Kind::AmqpOutgoing => "amqp_outgoing",
            Kind::IbmMqConnection => "ibm_mq_connection",
            Kind::IbmMqChannel => "ibm_mq_channel",
            Kind::IbmMqOutgoing => "ibm_mq_outgoing",
            Kind::ZmqChannel => "zmq_channel",
            Kind::ZmqOutgoing => "zmq_outgoing",
        }
    }

    /// Returns the names of all kinds, for people.
    pub fn names() -> String {
        Kind::ALL.map(Kind::as_str).join(", ")
    }

    /// Returns the field that is never shown again; left out of a put it stays as it is.
    pub fn secret_field(self) -> Option<&'static str> {
        let mut fields = self.fields().iter();
        fields.find(|it| it.is_secret()).map(|it| it.name)
    }

    /// Returns `true` if a resource of this kind may be without its secret.
    pub fn may_lack_its_secret(self) -> bool {
        self == Kind::IbmMqConnection
    }

    /// Returns `true` if its resources take messages in, by a connector.
    pub fn is_inbound(self) -> bool {
        matches!(
            self,
            Kind::AmqpChannel | Kind::IbmMqChannel | Kind::ZmqChannel
        )
    }

    /// Returns `true` if its resources send messages, by a connector.
    pub fn is_outgoing(self) -> bool {
        matches!(
            self,
            Kind::AmqpOutgoing | Kind::IbmMqOutgoing | Kind::ZmqOutgoing
        )
    }

    /// Returns `true` if each of its resources has a connector: a process of its own.
    pub fn has_connector(self) -> bool {
        self.is_inbound() || self.is_outgoing()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Error of a kind that does not exist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no resource kind {0:?}; the kinds are {kinds}", kinds = Kind::names())]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}
