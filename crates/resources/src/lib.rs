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

mod amqp;
mod declaration;
mod delivery_policy;
mod field_reader;
mod field_rules;
mod http;
mod ibm_mq;
pub mod json;
mod kind;
mod path_template;
mod security;
mod sending;
mod text_rules;
pub mod zeromq;

use std::sync::Arc;

use serde_json::Value;

pub use amqp::{AmqpChannel, AmqpConnection, AmqpOutgoing, BrokerFence};
pub use declaration::{FieldDeclaration, FieldDescription};
pub use delivery_policy::{DeliveryPolicy, StandbyMode};
pub use http::{HostHeader, HttpChannel, Service, UpstreamUrls};
pub use ibm_mq::{CCSIDS, IbmMqChannel, IbmMqConnection, IbmMqOutgoing};
pub use kind::{Kind, UnknownKind};
pub use path_template::ShapeOverlap;
pub use path_template::{PathSegment, PathTemplate};
pub use security::{ApiKey, BasicAuth};
pub use text_rules::name as check_name;
pub use zeromq::{ZmqChannel, ZmqChannelSocket, ZmqMethod, ZmqOutgoing, ZmqOutgoingSocket};

use declaration::Declared;
use field_reader::ParseOutcome;
use quorate_proto::command::FieldError;

macro_rules! resources {
    ($($kind:ident),+ $(,)?) => {
        /// Any resource.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Resource {
            $($kind(Arc<$kind>),)+
        }

        impl Resource {
            fn reading(kind: Kind, spec: &Value) -> ParseOutcome<Resource> {
                match kind {
                    $(Kind::$kind => {
                        let ParseOutcome { value: it, errors, unknown } = $kind::read(spec);
                        ParseOutcome { value: Resource::$kind(Arc::new(it)), errors, unknown }
                    })+
                }
            }

            /// Returns the kind.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Resource::$kind(_) => Kind::$kind,)+
                }
            }

            /// Returns the name.
            pub fn name(&self) -> &str {
                match self {
                    $(Resource::$kind(it) => &it.name,)+
                }
            }

            /// Returns the secret, where there is one.
            pub fn secret(&self) -> Option<&str> {
                match self {
                    $(Resource::$kind(it) => it.secret(),)+
                }
            }

            /// Returns the references in the resource, ordered by field.
            pub fn references(&self) -> Vec<ResourceReference<'_>> {
                let mut references = match self {
                    $(Resource::$kind(it) => it.references(),)+
                };
                references.sort_by_key(|it| it.field);
                references
            }

            fn json(&self) -> Value {
                let json = match self {
                    $(Resource::$kind(it) => serde_json::to_value(it),)+
                };
                json.expect("invariant: resources are maps with text keys")
            }

            /// As serde reads it, which must be as [`Resource::parse`] does.
            #[cfg(test)]
            fn by_serde(kind: Kind, spec: &Value) -> serde_json::Result<Resource> {
                Ok(match kind {
                    $(Kind::$kind => Resource::$kind(serde_json::from_value(spec.clone())?),)+
                })
            }
        }

        impl Kind {
            /// Returns the fields, in the order in which they are read.
            pub fn fields(self) -> &'static [FieldDeclaration] {
                match self {
                    $(Kind::$kind => $kind::FIELDS,)+
                }
            }
        }
    };
}

resources!(
    BasicAuth,
    ApiKey,
    Service,
    HttpChannel,
    AmqpConnection,
    AmqpChannel,
    AmqpOutgoing,
    IbmMqConnection,
    IbmMqChannel,
    IbmMqOutgoing,
    ZmqChannel,
    ZmqOutgoing,
);

impl Resource {
    /// Reads the JSON form; every bad field is named. A secret may be missing.
    pub fn parse(kind: Kind, spec: &Value) -> Result<Resource, Vec<FieldError>> {
        let ParseOutcome {
            value: it,
            mut errors,
            ..
        } = Resource::reading(kind, spec);
        if !spec.is_object() {
            // That its fields are missing goes without saying.
            errors.truncate(1);
        }
        if errors.is_empty() {
            Ok(it)
        } else {
            Err(errors)
        }
    }

    /// Reads the JSON form as it stands in the log, whatever the rules of this program say of
    /// its values. The errors name, by field, what this program does not know.
    pub fn read(kind: Kind, spec: &Value) -> Result<Resource, Vec<FieldError>> {
        let ParseOutcome {
            value: it, unknown, ..
        } = Resource::reading(kind, spec);
        if unknown.is_empty() {
            Ok(it)
        } else {
            Err(unknown)
        }
    }

    /// Returns a warning for the user who declares the resource; `service` is the one it names.
    pub fn warning(&self, service: Option<&Service>) -> Option<String> {
        match self {
            Resource::AmqpChannel(it) => it.warning(service),
            Resource::ZmqChannel(it) => it.warning().map(str::to_owned),
            Resource::ZmqOutgoing(it) => it.warning().map(str::to_owned),
            _ => None,
        }
    }

    /// Returns `true` if the JSON form has a secret in it, or a URL with credentials.
    pub fn gives_secret(&self) -> bool {
        let in_url = matches!(self, Resource::AmqpConnection(it)
            if it.management_url != it.management_url_shown());
        self.secret().is_some() || in_url
    }

    /// Returns `true` if a secret that is left out stays the one that is stored.
    pub fn keeps_its_secret(&self) -> bool {
        match self {
            Resource::IbmMqConnection(it) => it.username.is_some(),
            _ => true,
        }
    }

    /// Returns the fields that say where its secret is sent to, or how, and that are others in
    /// `before`.
    pub fn changed_target_fields(&self, before: &Resource) -> Vec<&'static str> {
        let fields: &[&str] = match self.kind() {
            Kind::AmqpConnection => &[
                "host",
                "port",
                "vhost",
                "username",
                "tls",
                "tls_ca",
                "management_url",
            ],
            Kind::IbmMqConnection => &[
                "host",
                "port",
                "queue_manager",
                "channel",
                "username",
                "ssl",
                "ssl_cipher_spec",
                "ssl_key_repository",
                "library",
            ],
            _ => &[],
        };
        let (now, before) = (self.json(), before.json());
        let is_other = |field: &&str| match *field {
            // Without one nothing is shown to anybody.
            "management_url" if now.get(*field).is_none() => false,
            _ => now.get(*field) != before.get(*field),
        };
        fields.iter().copied().filter(is_other).collect()
    }

    /// Returns the JSON form that may be shown: with defaults filled in and without the secret.
    pub fn without_secret(&self) -> Value {
        let mut json = self.json();
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

/// Reference to another resource in a field.
pub struct ResourceReference<'a> {
    /// The name of the field.
    pub field: &'static str,
    /// The text in the field.
    pub text: &'a str,
    /// The kind of the resource that is named.
    pub kind: Kind,
    /// The name of the resource that is named.
    pub name: &'a str,
}

#[cfg(test)]
mod tests;
