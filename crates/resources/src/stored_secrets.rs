//! Secrets as they stand in the log: sealed by the cluster's key, or by the name of a `secret`.
//!
//! Who puts a resource gives a text, or `{"secret": NAME}`. The member that takes the put seals
//! the text (`{"$sealed": {...}}`) once it was checked, and only that is proposed. A resource that
//! is read from the log is therefore read in two parts: what may be known of it, as ever, and its
//! [`StoredSecrets`] beside it. The fields of these are empty in the resource itself, or have the
//! part that may be shown.
//!
//! Logs of before have texts in clear, which are read as they always were.

use std::{collections::BTreeMap, iter};

use quorate_proto::command::FieldError;
use serde_json::{Map, Value, json};
use url::Url;

use crate::{
    Kind, Resource,
    declaration::{FieldNature, FieldSecrecy},
    text_rules,
};

/// The key of the object in which a sealed text stands.
const SEALED: &str = "$sealed";
/// The key of the object that names a `secret`.
const NAMED: &str = "secret";
/// The form of a sealed text.
const FORM: u64 = 1;

/// A sealed text: who has no key learns its length, roughly, and whether another one at its
/// place means the same.
#[derive(Clone, Debug)]
pub struct SealedText {
    /// Version of the cluster's key.
    pub key_version: u32,
    /// Salt, in base64.
    pub salt: String,
    /// Encrypted text, in base64.
    pub ciphertext: String,
    /// Fingerprint, in base64: equal for equal texts at one place under one version of the key.
    pub fingerprint: String,
    /// The part that may be shown, if there is one.
    pub shown: Option<String>,
}

/// Equal if they mean the same, whatever the salt.
impl PartialEq for SealedText {
    fn eq(&self, other: &Self) -> bool {
        (self.key_version, &self.fingerprint, &self.shown)
            == (other.key_version, &other.fingerprint, &other.shown)
    }
}

impl Eq for SealedText {}

impl SealedText {
    /// Returns its JSON form.
    pub fn json(&self) -> Value {
        let mut fields = json!({
            "v": FORM,
            "k": self.key_version,
            "s": self.salt,
            "c": self.ciphertext,
            "f": self.fingerprint,
        });
        if let Some(shown) = &self.shown {
            fields["p"] = shown.as_str().into();
        }
        json!({SEALED: fields})
    }

    /// Reads its fields; `None` where one is missing, another one is there, or the form is newer.
    fn read(fields: &Value) -> Option<SealedText> {
        let fields = fields.as_object()?;
        let text = |key: &str| fields.get(key)?.as_str().map(str::to_owned);
        let shown = text("p");
        let known = 5 + usize::from(shown.is_some());
        if fields.get("v")?.as_u64()? != FORM || fields.len() != known {
            return None;
        }
        Some(SealedText {
            key_version: fields.get("k")?.as_u64()?.try_into().ok()?,
            salt: text("s")?,
            ciphertext: text("c")?,
            fingerprint: text("f")?,
            shown,
        })
    }
}

/// One secret of a stored resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredSecret {
    /// A text, sealed.
    Sealed(SealedText),
    /// The value of the `secret` of this name.
    Named(String),
}

impl StoredSecret {
    /// Returns its JSON form.
    pub fn json(&self) -> Value {
        match self {
            StoredSecret::Sealed(sealed) => sealed.json(),
            StoredSecret::Named(name) => json!({NAMED: name}),
        }
    }
}

/// The secrets of a resource that are not in clear, by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredSecrets(BTreeMap<&'static str, StoredSecret>);

impl StoredSecrets {
    /// Returns true when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the secret of a field.
    pub fn get(&self, field: &str) -> Option<&StoredSecret> {
        self.0.get(field)
    }

    /// Lists the fields with their secrets.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &StoredSecret)> {
        self.0.iter().map(|(field, secret)| (*field, secret))
    }

    /// Lists the names of the `secret`s that are used, each with the field.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.iter().filter_map(|(field, secret)| match secret {
            StoredSecret::Named(name) => Some((field, name.as_str())),
            StoredSecret::Sealed(_) => None,
        })
    }

    /// Lists the sealed texts, each with the field.
    pub fn sealed(&self) -> impl Iterator<Item = (&'static str, &SealedText)> {
        self.iter().filter_map(|(field, secret)| match secret {
            StoredSecret::Sealed(sealed) => Some((field, sealed)),
            StoredSecret::Named(_) => None,
        })
    }
}

impl Kind {
    /// Returns the field that is never shown again; left out of a put it stays as it is. A kind has
    /// one at most.
    pub fn secret_field(self) -> Option<&'static str> {
        let whole = |(field, secrecy)| (secrecy == FieldSecrecy::Secret).then_some(field);
        self.secret_fields().into_iter().find_map(whole)
    }

    /// Returns the fields that hold a secret, or a secret in part: they are sealed.
    pub fn sealed_fields(self) -> impl Iterator<Item = &'static str> {
        self.secret_fields().into_iter().map(|(field, _)| field)
    }
}

impl Resource {
    /// Reads the JSON form as it stands in the log, with the secrets that are not in clear apart.
    /// As with [`Resource::read`], no rule of values counts.
    pub fn read_stored(
        kind: Kind,
        spec: &Value,
    ) -> Result<(Resource, StoredSecrets), Vec<FieldError>> {
        let mut unknown = Vec::new();
        let (rest, secrets) = split(kind, spec, &mut unknown);
        match Resource::read_clear(kind, rest.as_ref().unwrap_or(spec)) {
            Ok(resource) if unknown.is_empty() => return Ok((resource, secrets)),
            Ok(_) => {}
            Err(others) => unknown.extend(others),
        }
        Err(unknown)
    }

    /// Lists the targets that its secret is sent to, in the form in which
    /// [`crate::Secret::allowed_targets`] names them; none where it is sent nowhere.
    pub fn secret_targets(&self) -> Vec<String> {
        match self {
            Resource::AmqpConnection(it) => {
                let scheme = if it.tls { "amqps" } else { "amqp" };
                let broker = format!("{scheme}://{}:{}", it.host, it.port);
                let management = it.management_url.as_deref().map(url_target);
                iter::once(broker).chain(management).collect()
            }
            Resource::IbmMqConnection(it) => vec![format!("ibm-mq://{}:{}", it.host, it.port)],
            Resource::Service(it) => it.upstreams().iter().map(|it| url_target(it)).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the form that may be shown: without secrets, and with the names of those that are
    /// used by name.
    pub fn shown_with(&self, secrets: &StoredSecrets) -> Value {
        let mut shown = self.without_secret();
        for (field, name) in secrets.named() {
            shown[field] = json!({NAMED: name});
        }
        shown
    }

    /// Returns the texts to be sealed, each with its field and the part of it that may be shown.
    pub fn texts_to_seal(&self) -> Vec<(&'static str, &str, Option<String>)> {
        let natures = self.natures().into_iter();
        let texts = natures.filter_map(|(field, nature)| match nature {
            FieldNature::Secret(text) => Some((field, text, None)),
            FieldNature::InPart(shown, text) => {
                let shown = shown(text);
                (shown != text).then_some((field, text, Some(shown)))
            }
            _ => None,
        });
        texts.collect()
    }
}

/// Returns scheme, host and port of a URL; a text that is none counts as it stands.
fn url_target(text: &str) -> String {
    let target = |url: Url| {
        let (host, port) = (url.host_str()?, url.port_or_known_default()?);
        Some(format!("{}://{host}:{port}", url.scheme()))
    };
    let url = Url::parse(text).ok();
    url.and_then(target).unwrap_or_else(|| text.to_owned())
}

/// Takes the secrets that are not in clear out of a spec, and what is there instead and not known.
/// Without any the spec is left as it is.
fn split(
    kind: Kind,
    spec: &Value,
    unknown: &mut Vec<FieldError>,
) -> (Option<Value>, StoredSecrets) {
    let mut secrets = StoredSecrets::default();
    let mut rest = None;
    for field in kind.sealed_fields() {
        let Some(object) = spec.get(field).and_then(Value::as_object) else {
            continue;
        };
        let secret = read_secret(kind, field, object);
        let rest = rest.get_or_insert_with(|| spec.clone());
        rest[field] = match &secret {
            Some(StoredSecret::Sealed(sealed)) => sealed.shown.clone().into(),
            _ => Value::Null,
        };
        match secret {
            Some(secret) => {
                secrets.0.insert(field, secret);
            }
            None => unknown.push(FieldError {
                field: field.to_owned(),
                value: String::new(),
                problem: wanted(kind, field).to_owned(),
            }),
        }
    }
    (rest, secrets)
}

fn read_secret(kind: Kind, field: &str, object: &Map<String, Value>) -> Option<StoredSecret> {
    let is_whole = kind.secret_field() == Some(field);
    let mut entries = object.iter();
    let (key, value) = entries.next().filter(|_| object.len() == 1)?;
    match key.as_str() {
        SEALED => {
            let sealed = SealedText::read(value)?;
            (is_whole == sealed.shown.is_none()).then_some(StoredSecret::Sealed(sealed))
        }
        // A secret that is another one's value would make a chain of them.
        NAMED if is_whole && kind != Kind::Secret => {
            Some(StoredSecret::Named(value.as_str()?.to_owned()))
        }
        _ => None,
    }
}

fn wanted(kind: Kind, field: &str) -> &'static str {
    if kind.secret_field() == Some(field) && kind != Kind::Secret {
        "must be a text, or {\"secret\": NAME}"
    } else {
        "must be a text"
    }
}

/// Checks what a client gives in place of secrets: no sealed form, and names that can be names.
pub(crate) fn check_given(kind: Kind, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in kind.sealed_fields() {
        let Some(object) = spec.get(field).and_then(Value::as_object) else {
            continue;
        };
        let problem = match read_secret(kind, field, object) {
            Some(StoredSecret::Named(name)) => match text_rules::name(&name) {
                Ok(()) => continue,
                Err(problem) => format!("names a secret, whose name {problem}"),
            },
            _ if object.contains_key(SEALED) => {
                "is sealed by a cluster, and is not taken from outside: give the text, or leave it out to keep the one that is set".to_owned()
            }
            _ => wanted(kind, field).to_owned(),
        };
        errors.push(FieldError {
            field: field.to_owned(),
            value: String::new(),
            problem,
        });
    }
    errors
}

/// Returns the spec without the names that a client gives in place of secrets.
pub(crate) fn without_names(kind: Kind, spec: &Value) -> Option<Value> {
    let is_object = |field: &&str| spec.get(*field).is_some_and(Value::is_object);
    let mut rest = None;
    for field in kind.sealed_fields().filter(is_object) {
        rest.get_or_insert_with(|| spec.clone())[field] = Value::Null;
    }
    rest
}
