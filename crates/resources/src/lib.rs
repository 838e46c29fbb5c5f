//! Resources that users declare, each kind with its fields and rules.
//!
//! The JSON form is public: snake_case, defaults as documented, unknown fields refused. A new
//! field is one line in the declaration of its kind (see `declaration`); the fields of a
//! connection that say where its secret goes stand in [`Resource::changed_target_fields`] too.
//!
//! The state stores the JSON that the user wrote, in canonical form and without defaults; the
//! reading of this program is derived. So a snapshot is the same on members of different
//! versions, as long as one rule is kept: a default never changes once released (a new field's
//! default means what its absence meant before). The allowed values may change: the rules bind
//! the member that proposes a resource, and not those that apply it (see `Command::check` in
//! the state). Fields and values that a program can't read at all end the member that is to
//! apply them, as a command does that it does not know: a field that one member honours and
//! another passes over makes two states of one.

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

mod amqp;
mod declaration;
mod delivery_policy;
mod field_reader;
mod field_rules;
mod http;
mod ibm_mq;
mod identity;
pub mod json;
mod kind;
mod one_or_many;
mod path_template;
mod resource;
mod secret;
mod security;
mod sending;
mod stored_secrets;
mod text_rules;
mod upstream;
pub mod zeromq;

pub use amqp::{AmqpChannel, AmqpConnection, AmqpOutgoing, BrokerFence};
pub use delivery_policy::{DeliveryPolicy, StandbyMode};
pub use http::{ChannelRateLimit, HostHeader, HttpChannel, RateScope, Service};
pub use ibm_mq::{CCSIDS, IbmMqChannel, IbmMqConnection, IbmMqOutgoing};
pub use identity::{AccessGrant, AccessRole, AccessVerb, BUILT_IN_ROLES, Identity};
pub use kind::{Kind, UnknownKind};
pub use one_or_many::OneOrMany;
pub use path_template::{PathSegment, PathTemplate, ShapeOverlap};
pub use resource::{Resource, ResourceReference};
pub use secret::Secret;
pub use security::{
    ApiKey, BasicAuth, ClientCertificate, Hmac, HmacAlgorithm, Jwt, JwtAlgorithm, SignatureEncoding,
};
pub use stored_secrets::{SealedText, StoredSecret, StoredSecrets};
pub use text_rules::{InvalidText, name as check_name};
pub use upstream::{AuthScheme, UpstreamAuth, UpstreamTls};
pub use zeromq::{ZmqChannel, ZmqChannelSocket, ZmqMethod, ZmqOutgoing, ZmqOutgoingSocket};

#[cfg(test)]
mod tests;
