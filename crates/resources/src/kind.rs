//! Kinds of resources, and the one list of them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Calls a macro with the list of kinds: of each the doc, the type and the name. The order is the
/// one in which resources can be created.
macro_rules! for_each_kind {
    ($make:ident) => {
        $make! {
            /// A password or key that others use by its name.
            Secret = "secret",
            /// A user name and password that an HTTP channel can ask for.
            BasicAuth = "basic_auth",
            /// A key in a header that an HTTP channel can ask for.
            ApiKey = "api_key",
            /// A token of an issuer that an HTTP channel can ask for.
            Jwt = "jwt",
            /// A certificate of TLS that an HTTP channel can ask for.
            ClientCertificate = "client_certificate",
            /// A signature over a request's body that an HTTP channel can ask for.
            Hmac = "hmac",
            /// Something that handles a request or a message.
            Service = "service",
            /// A URL path that leads to a service.
            HttpChannel = "http_channel",
            /// An AMQP broker's address and credentials.
            AmqpConnection = "amqp_connection",
            /// A queue whose messages go to a service.
            AmqpChannel = "amqp_channel",
            /// An exchange that messages are published to.
            AmqpOutgoing = "amqp_outgoing",
            /// The address of an IBM MQ queue manager, and credentials.
            IbmMqConnection = "ibm_mq_connection",
            /// A queue of IBM MQ whose messages go to a service.
            IbmMqChannel = "ibm_mq_channel",
            /// A queue of IBM MQ that messages are put to.
            IbmMqOutgoing = "ibm_mq_outgoing",
            /// A ZeroMQ socket whose messages go to a service.
            ZmqChannel = "zmq_channel",
            /// A ZeroMQ socket that messages are sent with.
            ZmqOutgoing = "zmq_outgoing",
            /// What those may do who have the role.
            AccessRole = "role",
            /// Someone, or a program, that may ask at the admin port.
            Identity = "identity",
        }
    };
}
pub(crate) use for_each_kind;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $name:literal,)+) => {
        /// Kind of a resource.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Kind {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $kind,)+
        }

        impl Kind {
            /// Every kind, in the order in which resources can be created.
            pub const ALL: [Kind; [$($name),+].len()] = [$(Kind::$kind),+];

            /// Returns the name used in REST, on the command line and in files.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)+
                }
            }
        }
    };
}

for_each_kind!(kinds);

impl Kind {
    /// Returns the names of all kinds, for people.
    pub fn names() -> String {
        Kind::ALL.map(Kind::as_str).join(", ")
    }

    /// Returns `true` if a resource of this kind may be without its secret.
    pub fn may_lack_its_secret(self) -> bool {
        matches!(self, Kind::IbmMqConnection | Kind::Jwt | Kind::Service)
    }

    /// Returns `true` if its resources say who may do what: no grant on all kinds reaches them.
    pub fn is_security(self) -> bool {
        matches!(self, Kind::AccessRole | Kind::Identity)
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
