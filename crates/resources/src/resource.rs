//! Resource of any kind: its JSON form both ways, its secret, its references, its warnings.

use std::sync::Arc;

use quorate_proto::command::FieldError;
use serde_json::Value;

use crate::{
    AccessRole, AmqpChannel, AmqpConnection, AmqpOutgoing, ApiKey, BasicAuth, ClientCertificate,
    Hmac, HttpChannel, IbmMqChannel, IbmMqConnection, IbmMqOutgoing, Identity, Jwt, Kind, Secret,
    Service, ZmqChannel, ZmqOutgoing,
    declaration::{DeclaredKind, FieldNature, FieldSecrecy},
    field_reader::ParseOutcome,
    kind::for_each_kind,
    stored_secrets,
};

macro_rules! resource {
    ($($(#[doc = $doc:literal])+ $kind:ident = $name:literal,)+) => {
        /// Any resource.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Resource {
            $($(#[doc = $doc])+ $kind(Arc<$kind>),)+
        }

        impl Kind {
            /// Returns the fields of which something is secret, as they are declared.
            pub(crate) fn secret_fields(self) -> Vec<(&'static str, FieldSecrecy)> {
                match self {
                    $(Kind::$kind => $kind::secret_fields(),)+
                }
            }
        }

        impl Resource {
            pub(crate) fn reading(kind: Kind, spec: &Value) -> ParseOutcome<Resource> {
                match kind {
                    $(Kind::$kind => $kind::read(spec).map(|it| Resource::$kind(it.into())),)+
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

            pub(crate) fn natures(&self) -> Vec<(&'static str, FieldNature<'_>)> {
                match self {
                    $(Resource::$kind(it) => it.natures(),)+
                }
            }

            pub(crate) fn json(&self) -> Value {
                let json = match self {
                    $(Resource::$kind(it) => serde_json::to_value(it),)+
                };
                json.expect("invariant: resources are maps with text keys")
            }
        }
    };
}

for_each_kind!(resource);

impl Resource {
    /// Reads the JSON form that a client gives; every bad field is named. A secret may be missing,
    /// and is in the resource where it is given as a text. A sealed one is refused.
    pub fn parse(kind: Kind, spec: &Value) -> Result<Resource, Vec<FieldError>> {
        let given = stored_secrets::check_given(kind, spec);
        let rest = stored_secrets::without_names(kind, spec);
        let mut read = Resource::reading(kind, rest.as_ref().unwrap_or(spec));
        read.errors.extend(given);
        if !spec.is_object() {
            // That its fields are missing goes without saying.
            read.errors.truncate(1);
        }
        if read.errors.is_empty() {
            return Ok(read.value);
        }
        Err(read.errors)
    }

    /// Reads the JSON form as it stands in the log, whatever the rules of this program say of
    /// its values. The errors name, by field, what this program does not know. Secrets are in the
    /// resource only where they stand there in clear.
    pub fn read(kind: Kind, spec: &Value) -> Result<Resource, Vec<FieldError>> {
        Resource::read_stored(kind, spec).map(|(resource, _)| resource)
    }

    pub(crate) fn read_clear(kind: Kind, spec: &Value) -> Result<Resource, Vec<FieldError>> {
        let read = Resource::reading(kind, spec);
        if read.unknown.is_empty() {
            return Ok(read.value);
        }
        Err(read.unknown)
    }

    /// Returns the secret, where there is one.
    pub fn secret(&self) -> Option<&str> {
        let mut natures = self.natures().into_iter();
        natures.find_map(|(_, nature)| match nature {
            FieldNature::Secret(secret) => Some(secret),
            _ => None,
        })
    }

    /// Returns the references in the resource, ordered by field.
    pub fn references(&self) -> Vec<ResourceReference<'_>> {
        let natures = self.natures().into_iter();
        let references = natures.flat_map(|(field, nature)| {
            let named = match nature {
                FieldNature::Reference { text, kind, name } => vec![(text, kind, name)],
                FieldNature::References(named) => named,
                _ => Vec::new(),
            };
            let named = named.into_iter();
            named.map(move |(text, kind, name)| ResourceReference {
                field,
                text,
                kind,
                name,
            })
        });
        let mut references: Vec<_> = references.collect();
        references.sort_by_key(|it| it.field);
        references
    }

    /// Returns a warning for the user who declares the resource; `service` is the one it names.
    pub fn warning(&self, service: Option<&Service>) -> Option<String> {
        match self {
            Resource::AmqpChannel(it) => it.warning(service),
            Resource::Service(it) => it.warning(),
            Resource::ZmqChannel(it) => it.warning().map(str::to_owned),
            Resource::ZmqOutgoing(it) => it.warning().map(str::to_owned),
            _ => None,
        }
    }

    /// Returns `true` if the JSON form has a secret in it, or a URL with credentials.
    pub fn gives_secret(&self) -> bool {
        !self.texts_to_seal().is_empty()
    }

    /// Returns `true` if a secret that is left out stays the one that is stored.
    pub fn keeps_its_secret(&self) -> bool {
        match self {
            Resource::IbmMqConnection(it) => it.username.is_some(),
            Resource::Jwt(it) => it.is_shared(),
            Resource::Service(it) => it.auth.is_some(),
            _ => true,
        }
    }

    /// Returns the field that a secret of it needs, of kinds that may be without both.
    pub fn secret_goes_with(&self) -> &'static str {
        match self.kind() {
            Kind::Jwt => "`algorithms: [HS256]`",
            Kind::Service => "`auth`",
            _ => "`username`",
        }
    }

    /// Returns `true` if there is a place for a secret in it.
    pub fn takes_a_secret(&self) -> bool {
        match self {
            Resource::Jwt(it) => it.is_shared(),
            Resource::Service(it) => it.auth.is_some(),
            _ => self.kind().secret_field().is_some(),
        }
    }

    /// Returns `true` if it may be without a secret.
    pub fn may_lack_its_secret(&self) -> bool {
        match self {
            Resource::Jwt(it) => !it.is_shared(),
            Resource::Service(it) => it.auth.is_none(),
            _ => self.kind().may_lack_its_secret(),
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
            Kind::Service => &["upstream", "tls", "auth"],
            Kind::Secret => &["allowed_targets"],
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
        let (now, then) = (self.json(), before.json());
        let is_other = |field: &&str| match *field {
            // Other paths are at the same host.
            "upstream" => match (self, before) {
                (Resource::Service(now), Resource::Service(before)) => {
                    let before = before.origins();
                    now.origins().iter().any(|it| !before.contains(it))
                }
                _ => true,
            },
            // Fewer than before are no new target.
            "allowed_targets" => match (self, before) {
                (Resource::Secret(now), Resource::Secret(before)) => now.allows_more_than(before),
                _ => true,
            },
            // Without one nothing is shown to anybody.
            "management_url" if now.get(*field).is_none() => false,
            _ => now.get(*field) != then.get(*field),
        };
        fields.iter().copied().filter(is_other).collect()
    }

    /// Returns the JSON form that may be shown: with defaults filled in and without the secret.
    pub fn without_secret(&self) -> Value {
        let mut json = self.json();
        for (field, nature) in self.natures() {
            match nature {
                FieldNature::Secret(_) => {
                    json.as_object_mut().and_then(|map| map.remove(field));
                }
                FieldNature::InPart(shown, text) => json[field] = shown(text).into(),
                _ => {}
            }
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
