//! The resources that users declare. Their JSON form is public: snake_case,
//! defaults as documented, unknown fields refused.
//!
//! What is stored is the JSON that the user wrote, in canonical form and without
//! defaults; this program's reading of it is derived. So a snapshot is the same on
//! members of different versions, as long as two rules are kept: a default never
//! changes once released (a new field's default means what its absence meant
//! before), and what was valid once stays valid.

mod amqp;
mod fields;
mod http;
mod path;
mod rules;
mod security;

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use amqp::{AmqpChannel, AmqpConnection, Fence, OnFailure, Standby};
pub use http::{HttpChannel, Service, Urls};
pub use path::Template;
pub use rules::name as check_name;
pub use security::{ApiKey, BasicAuth};

use super::FieldError;

/// A kind of resource.
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
}

impl Kind {
    /// Every kind, in the order in which resources can be created.
    pub const ALL: [Kind; 6] = [
        Kind::BasicAuth,
        Kind::ApiKey,
        Kind::Service,
        Kind::HttpChannel,
        Kind::AmqpConnection,
        Kind::AmqpChannel,
    ];

    /// The name used in REST, on the command line and in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Service => "service",
            Kind::HttpChannel => "http_channel",
            Kind::AmqpConnection => "amqp_connection",
            Kind::AmqpChannel => "amqp_channel",
            Kind::BasicAuth => "basic_auth",
            Kind::ApiKey => "api_key",
        }
    }

    /// The field that is never shown again; left out of a put it stays as it is.
    pub fn secret_field(self) -> Option<&'static str> {
        match self {
            Kind::AmqpConnection | Kind::BasicAuth => Some("password"),
            Kind::ApiKey => Some("key"),
            Kind::Service | Kind::HttpChannel | Kind::AmqpChannel => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind that does not exist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "there is no resource kind {0:?}; the kinds are basic_auth, api_key, service, http_channel, amqp_connection, amqp_channel"
)]
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

/// Any resource.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Resource {
    Service(Arc<Service>),
    HttpChannel(Arc<HttpChannel>),
    AmqpConnection(Arc<AmqpConnection>),
    AmqpChannel(Arc<AmqpChannel>),
    BasicAuth(Arc<BasicAuth>),
    ApiKey(Arc<ApiKey>),
}

impl Resource {
    /// Reads the JSON form; every bad field is named. A secret may be missing.
    pub fn parse(kind: Kind, spec: &Value) -> Result<Resource, Vec<FieldError>> {
        Ok(match kind {
            Kind::Service => Resource::Service(Arc::new(Service::parse(spec)?)),
            Kind::HttpChannel => Resource::HttpChannel(Arc::new(HttpChannel::parse(spec)?)),
            Kind::AmqpConnection => {
                Resource::AmqpConnection(Arc::new(AmqpConnection::parse(spec)?))
            }
            Kind::AmqpChannel => Resource::AmqpChannel(Arc::new(AmqpChannel::parse(spec)?)),
            Kind::BasicAuth => Resource::BasicAuth(Arc::new(BasicAuth::parse(spec)?)),
            Kind::ApiKey => Resource::ApiKey(Arc::new(ApiKey::parse(spec)?)),
        })
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Resource::Service(_) => Kind::Service,
            Resource::HttpChannel(_) => Kind::HttpChannel,
            Resource::AmqpConnection(_) => Kind::AmqpConnection,
            Resource::AmqpChannel(_) => Kind::AmqpChannel,
            Resource::BasicAuth(_) => Kind::BasicAuth,
            Resource::ApiKey(_) => Kind::ApiKey,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Resource::Service(it) => &it.name,
            Resource::HttpChannel(it) => &it.name,
            Resource::AmqpConnection(it) => &it.name,
            Resource::AmqpChannel(it) => &it.name,
            Resource::BasicAuth(it) => &it.name,
            Resource::ApiKey(it) => &it.name,
        }
    }

    /// Its secret, where the kind has one.
    pub fn secret(&self) -> Option<&str> {
        match self {
            Resource::AmqpConnection(it) => it.password.as_deref(),
            Resource::BasicAuth(it) => it.password.as_deref(),
            Resource::ApiKey(it) => it.key.as_deref(),
            Resource::Service(_) | Resource::HttpChannel(_) | Resource::AmqpChannel(_) => None,
        }
    }

    /// The JSON form with defaults filled in and without its secret: what may be shown.
    pub fn shown(&self) -> Value {
        let json = match self {
            Resource::Service(it) => serde_json::to_value(it),
            Resource::HttpChannel(it) => serde_json::to_value(it),
            Resource::AmqpConnection(it) => serde_json::to_value(it),
            Resource::AmqpChannel(it) => serde_json::to_value(it),
            Resource::BasicAuth(it) => serde_json::to_value(it),
            Resource::ApiKey(it) => serde_json::to_value(it),
        };
        let mut json = json.expect("invariant: resources are maps with text keys");
        if let (Some(field), Some(map)) = (self.kind().secret_field(), json.as_object_mut()) {
            map.remove(field);
        }
        if let Resource::AmqpConnection(it) = self
            && let Some(url) = it.management_url_shown()
        {
            json["management_url"] = url.into();
        }
        json
    }
}

/// How a secret is written where it must not be seen.
struct Hidden(bool);

impl Hidden {
    fn of(secret: &Option<String>) -> Hidden {
        Hidden(secret.is_some())
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "(hidden)" } else { "(none)" })
    }
}

#[cfg(test)]
mod tests;
